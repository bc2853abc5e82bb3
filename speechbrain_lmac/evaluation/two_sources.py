"""Two sounds at once: does an explanation follow the class that it is asked for?

Every mixture of a clip of class A with one of class B is explained for A, for B, and
for a class that is not there. Both sources are known, so it can be told which of them
an explanation lies nearer to. A method that does not listen to the question gives one
answer to both, and cannot be right twice.
"""

import json
import time
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.faithfulness import (
    saturated,
    target_fidelity,
    target_probability,
)
from speechbrain_lmac.metrics.separation import si_sdr
from speechbrain_lmac.metrics.sparsity import empty, mask_mean
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

QUESTIONS = ("A", "B", "absent")
SOURCES = QUESTIONS[:2]

NEARER = tuple(
    Score(
        name=f"nearer {own}",
        higher_is_better=True,
        unit="dB",
        description=f"asked for the class of source {own}: SI-SDR of the explanation "
        f"against source {own} less that against source {other}",
    )
    for own, other in (SOURCES, SOURCES[::-1])
)
BOTH = Score(
    name="both nearer",
    higher_is_better=True,
    unit="%",
    description="share of mixtures on which both differences are above 0; an "
    "explanation that is silent, and so near to nothing, is not right",
)
TARGET = tuple(
    score
    for name in SOURCES
    for score in (
        Score(
            name=f"p_in {name}",
            higher_is_better=True,
            unit="",
            description=f"asked for {name}: probability of its class for the "
            "explanation alone",
        ),
        Score(
            name=f"Target-In {name}",
            higher_is_better=True,
            unit="",
            description=f"asked for {name}: share of mixtures whose explanation alone "
            "gets its class",
        ),
    )
)
SIZE = tuple(
    Score(
        name=f"MM {name}",
        higher_is_better=False if name == "absent" else None,
        unit="",
        description="mask mean when asked for "
        + ("a class that is not there" if name == "absent" else f"class {name}"),
    )
    for name in QUESTIONS
)
ABSENT = Score(
    name="Target-In absent",
    higher_is_better=False,
    unit="",
    description="share of mixtures whose explanation alone gets a class that is not "
    "there, asked for that class",
)
SCORES = (*NEARER, BOTH, *TARGET, *SIZE, ABSENT)


def classes_of(entries: dict, manifest: Path, labels: list[str]) -> dict:
    """The classes of both sources of mixtures that a manifest has frozen.

    Arguments
    ---------
    entries : dict
        Id to entry (`speechbrain_lmac.data.mixtures`) with another clip as background.
    manifest : str or Path
        Of the split that the clips are from, `OUTPUT_FOLDER/manifest/SPLIT.json`.
    labels : list
        Class names in the order of the logits.

    Returns
    -------
    classes : dict
        Id to the indices of A, the foreground, and B, the background.

    Raises
    ------
    InputError
        When a background is no clip of this manifest.
    """
    clips = json.loads(Path(manifest).read_text(encoding="utf-8")).values()
    category = {clip["wav"]: clip["category"] for clip in clips}
    classes = {}
    for name, entry in entries.items():
        pieces = (entry["background"] or {}).get("pieces", ())
        found = {category.get(piece["wav"]) for piece in pieces}
        if len(found) != 1 or None in found:
            raise InputError(
                f"mixture {name}: what was added is no clip of {manifest}; two sources "
                "are the mixtures of contaminants.OtherClips, protocol own"
            )
        pair = (entry["category"], *found)
        classes[name] = tuple(labels.index(label) for label in pair)
    return classes


def absent_class(name: str, present: tuple[int, int], n_classes: int, seed: int) -> int:
    """A class that is in neither source, drawn for a mixture.

    Example
    -------
    >>> absent_class("1-100032-A-0+0", (0, 2), 3, seed=1234)
    1
    """
    others = [index for index in range(n_classes) if index not in present]
    if not others:
        raise InputError(
            "to ask for a class that is not there takes more than two classes"
        )
    draw = generator("absent class", seed, name)
    return others[torch.randint(len(others), (), generator=draw).item()]


def nearness(
    estimate: torch.Tensor, own: torch.Tensor, other: torch.Tensor
) -> torch.Tensor:
    """How much nearer an estimate lies to one source than to the other, in dB.

    SI-SDR(estimate, own) - SI-SDR(estimate, other)

    With sources of equal energy this compares two correlations: the size of the
    estimate does not count, and the difference changes its sign with the sources.

    Arguments
    ---------
    estimate, own, other : torch.Tensor
        Waveforms, shape (B, N).

    Returns
    -------
    difference : torch.Tensor
        Shape (B,), dB, float64; NaN where any is silent. Higher is nearer.

    Example
    -------
    Of the estimate 4/5 of the energy are the one source, 1/5 the other:

    >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> nearness(2 * one + other, one, other)
    tensor([12.0412], dtype=torch.float64)
    """
    return si_sdr(estimate, own) - si_sdr(estimate, other)


def judge(
    explainer,
    wav: torch.Tensor,
    classes: torch.Tensor,
    sources: list[torch.Tensor] | tuple[torch.Tensor, torch.Tensor],
    domain,
    classifier,
    lens=None,
) -> dict[str, torch.Tensor]:
    """The scores of one explainer on a batch of mixtures.

    Arguments
    ---------
    explainer : Explainer
    wav : torch.Tensor
        Mixtures, shape (B, N).
    classes : torch.Tensor
        Shape (B, 3): of source A, of source B, and one that is in neither.
    sources : tuple of torch.Tensor
        A and B, shape (B, N) each.
    domain : MaskDomain
        Listenable.
    classifier : Classifier
    lens : torch.Tensor or None
        Relative lengths (B,) of the mixtures, where they are padded.

    Returns
    -------
    columns : dict
        Each of `SCORES`, and `empty_mask` and `saturated` of any question, (B,).
    """
    columns, flaws = {}, []
    for place, name in enumerate(QUESTIONS):
        target = classes[:, place]
        explanation = explainer.explain(wav, target, lens)
        evidence = gather_evidence(domain, classifier, explanation)
        columns[f"p_in {name}"] = target_probability(evidence.logits_in, target)
        columns[f"Target-In {name}"] = target_fidelity(evidence.logits_in, target)
        masks = evidence.frames, evidence.mask
        columns[f"MM {name}"] = score_recordings(mask_mean, *masks)
        if name in SOURCES:
            with torch.no_grad():
                part = domain.apply_mask(explanation.encoded, explanation.mask)
                heard = domain.decode(part)
            own, other = sources[place], sources[1 - place]
            columns[f"nearer {name}"] = nearness(heard, own, other)
            columns[f"SI-SDRi {name}"] = si_sdr(heard, own) - si_sdr(wav, own)
            no_mask = score_recordings(empty, *masks)
            flaws.append((no_mask, saturated(evidence.logits, target)))
    right = torch.stack([columns[score.name] > 0 for score in NEARER]).all(0)
    columns[BOTH.name] = 100.0 * right
    empty_mask, is_saturated = (torch.stack(f).any(0) for f in zip(*flaws, strict=True))
    return {**columns, "empty_mask": empty_mask, "saturated": is_saturated}


def two_source_rows(
    block,
    classifier,
    opened,
    batches,
    classes: dict,
    labels: list[str],
    seed: int,
    device: str | torch.device,
    store,
    bar,
) -> pd.DataFrame:
    """A row per mixture and method.

    Arguments
    ---------
    block : evaluation.Block
        Explainers in a listenable domain.
    classifier : Classifier
    opened : conditions.ConditionClips
        With stems.
    batches : iterable
        Of ClipBatch.
    classes : dict
        From `classes_of`.
    labels : list
        Class names in the order of the logits.
    seed : int
        Of the classes that are absent.
    device : str or torch.device
    store : row_store.RowStore
        What it knows already is not computed again.
    bar : tqdm
        Moved on by one for each row.

    Returns
    -------
    rows : pandas.DataFrame
        `id method label other absent predicted correct top_two`, the columns of
        `judge`, `seconds`. `correct`: the prediction is one of both classes;
        `top_two`: both are the two likeliest.
    """
    domain, ids = block.domain, []
    for batch in batches:
        ids += batch.ids
        wav, lens = batch.wav.to(device), lens_on(batch, device)
        asked = [
            (*classes[name], absent_class(name, classes[name], len(labels), seed))
            for name in batch.ids
        ]
        sources = None  # rendered once for all methods, and only if one asks
        for method, explainer in block.explainers.items():
            if not store.has(method, batch.ids):
                if sources is None:
                    sources = [stem.to(device) for stem in opened.stems(batch.ids)]
                    with torch.no_grad():
                        whole = classify(domain, classifier, domain.encode(wav, lens))
                        top = whole.logits.topk(2).indices.tolist()
                start = time.perf_counter()
                columns = judge(
                    explainer,
                    wav,
                    torch.tensor(asked, device=device),
                    sources,
                    domain,
                    classifier,
                    lens,
                )
                seconds = time.perf_counter() - start
                table = pd.DataFrame(
                    {
                        "id": batch.ids,
                        "method": method,
                        "label": [labels[first] for first, _, _ in asked],
                        "other": [labels[second] for _, second, _ in asked],
                        "absent": [labels[third] for _, _, third in asked],
                        "predicted": [labels[likeliest] for likeliest, _ in top],
                    }
                )
                both = zip(top, asked, strict=True)
                heard = [(t[0] in a[:2], set(t) == set(a[:2])) for t, a in both]
                table["correct"] = [first for first, _ in heard]
                table["top_two"] = [pair for _, pair in heard]
                for name, values in columns.items():
                    table[name] = values.cpu().numpy()
                table["seconds"] = seconds / len(batch.ids)
                store.add(table)
            bar.update(len(batch.ids))
    store.save()
    return store.rows(product(block.explainers, ids))
