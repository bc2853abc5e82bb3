"""Mixtures of two sources: dependence of explanations on the target class.

Each mixture of a clip of class A and a clip of class B is explained for A, for B, and
for an absent class, and each explanation is compared with both known sources. A method
that ignores the target returns the same explanation for A and B, and cannot be right
for both.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import pandas as pd
import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.conditions import UNKNOWN_CLASS, ConditionClips
from speechbrain_lmac.data.dataset import ClipBatch, lens_on
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.evaluation.row_store import RowStore
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.faithfulness import (
    saturated,
    target_fidelity,
    target_probability,
)
from speechbrain_lmac.metrics.separation import si_sdr
from speechbrain_lmac.metrics.sparsity import empty, mask_mean
from speechbrain_lmac.types import Classifier, Explainer, MaskDomain
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

if TYPE_CHECKING:
    from tqdm import tqdm

ROLES = ("A", "B", "absent")  # of the explained class
SOURCES = ROLES[:2]

NEARER = tuple(
    Score(
        name=f"nearer {own}",
        higher_is_better=True,
        unit="dB",
        description=f"explanation of class {own}: its SI-SDR to source {own} minus "
        f"that to source {other}",
    )
    for own, other in (SOURCES, SOURCES[::-1])
)
BOTH = Score(
    name="both nearer",
    higher_is_better=True,
    unit="%",
    description="share of mixtures with nearer A and nearer B above 0; silent "
    "explanations count as failures",
)
TARGET = tuple(
    score
    for name in SOURCES
    for score in (
        Score(
            name=f"p_in {name}",
            higher_is_better=True,
            unit="",
            description=f"explanation of class {name}: probability of that class for "
            "the explanation alone",
        ),
        Score(
            name=f"Target-In {name}",
            higher_is_better=True,
            unit="",
            description=f"explanation of class {name}: share of mixtures whose "
            "explanation alone is classified as that class",
        ),
    )
)
SIZE = tuple(
    Score(
        name=f"MM {name}",
        higher_is_better=False if name == "absent" else None,
        unit="",
        description="mask mean of the explanation of "
        + ("an absent class" if name == "absent" else f"class {name}"),
    )
    for name in ROLES
)
ABSENT = Score(
    name="Target-In absent",
    higher_is_better=False,
    unit="",
    description="explanation of an absent class: share of mixtures whose explanation "
    "alone is classified as that class",
)
SCORES = (*NEARER, BOTH, *TARGET, *SIZE, ABSENT)


def classes_of(opened: ConditionClips) -> dict[str, tuple[int, int]]:
    """Return the classes of both sources of the mixtures of a condition.

    Arguments
    ---------
    opened : conditions.ConditionClips

    Returns
    -------
    classes : dict
        Id to the indices of A, the foreground, and B, the background.

    Raises
    ------
    InputError
        When the class of a background is unknown.
    """
    advice = (
        "use the condition hparams/parts/condition/mixtures.yaml, which mixes two clips"
    )
    if opened.truth.classes is None:
        raise InputError(f"two sources: no background is a clip of a class; {advice}")
    ids = list(opened.clips.ids)
    foreground, background = (part.tolist() for part in opened.truth.classes(ids))
    classes = dict(zip(ids, zip(foreground, background, strict=True), strict=True))
    for name, pair in classes.items():
        if UNKNOWN_CLASS in pair:
            raise InputError(
                f"mixture {name}: its background is not a clip of one class; {advice}"
            )
    return classes


def absent_class(name: str, present: Sequence[int], n_classes: int, seed: int) -> int:
    """Draw a class that is in neither source of a mixture.

    Arguments
    ---------
    name : str
        Id of the mixture, part of the seed.
    present : sequence
        Class indices of its sources.
    n_classes : int
        Number of classes, larger than the number of present ones.
    seed : int
        Seed of all draws.

    Returns
    -------
    index : int
        Class index, 0 to n_classes - 1.

    Raises
    ------
    InputError
        When all classes are present.

    Example
    -------
    >>> absent_class("1-100032-A-0+0", (0, 2), 3, seed=1234)
    1
    """
    others = [index for index in range(n_classes) if index not in present]
    if not others:
        raise InputError(f"no absent class: all {n_classes} classes are present")
    draw = generator("absent class", seed, name)
    return others[int(torch.randint(len(others), (), generator=draw))]


def nearness(
    estimate: torch.Tensor, own: torch.Tensor, other: torch.Tensor
) -> torch.Tensor:
    """Return the SI-SDR difference of an estimate between two sources, in dB.

    SI-SDR(estimate, own) - SI-SDR(estimate, other)

    Independent of the level of the estimate; swapping the sources changes the sign. For
    sources of equal energy it compares two correlations.

    Arguments
    ---------
    estimate, own, other : torch.Tensor
        Waveforms, shape (B, N).

    Returns
    -------
    difference : torch.Tensor
        Shape (B,), dB, float64; NaN where a waveform is silent. Positive: closer to
        `own`.

    Example
    -------
    4/5 of the energy of the estimate is from one source, 1/5 from the other:

    >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> nearness(2 * one + other, one, other)
    tensor([12.0412], dtype=torch.float64)
    """
    return si_sdr(estimate, own) - si_sdr(estimate, other)


def score_mixtures(
    explainer: Explainer,
    wav: torch.Tensor,
    classes: torch.Tensor,
    sources: Sequence[torch.Tensor],
    domain: MaskDomain,
    classifier: Classifier,
    lens: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Return the scores of one explainer on a batch of mixtures.

    Arguments
    ---------
    explainer : Explainer
    wav : torch.Tensor
        Mixtures, shape (B, N).
    classes : torch.Tensor
        Class indices of source A, source B and an absent class, shape (B, 3).
    sources : tuple of torch.Tensor
        Waveforms of A and B, shape (B, N) each.
    domain : MaskDomain
        Must be listenable.
    classifier : Classifier
    lens : torch.Tensor or None
        Relative lengths (B,) of padded mixtures, in (0, 1].

    Returns
    -------
    columns : dict
        Each of `SCORES`, `SI-SDRi A`, `SI-SDRi B`, and `empty_mask` and `saturated`
        (true if either A or B is), shape (B,).
    """
    columns: dict[str, torch.Tensor] = {}
    flaws: list[tuple[torch.Tensor, torch.Tensor]] = []
    for index, name in enumerate(ROLES):
        target = classes[:, index]
        explanation = explainer.explain(wav, target, lens)
        evidence = gather_evidence(domain, classifier, explanation)
        columns[f"p_in {name}"] = target_probability(evidence.logits_in, target)
        columns[f"Target-In {name}"] = target_fidelity(evidence.logits_in, target)
        masks = evidence.frames, evidence.mask
        columns[f"MM {name}"] = score_recordings(mask_mean, *masks)
        if name in SOURCES:
            with torch.no_grad():
                masked = domain.apply_mask(explanation.encoded, explanation.mask)
                part = domain.decode(masked)
            own, other = sources[index], sources[1 - index]
            columns[f"nearer {name}"] = nearness(part, own, other)
            columns[f"SI-SDRi {name}"] = si_sdr(part, own) - si_sdr(wav, own)
            no_mask = score_recordings(empty, *masks)
            flaws.append((no_mask, saturated(evidence.logits, target)))
    right = torch.stack([columns[score.name] > 0 for score in NEARER]).all(0)
    columns[BOTH.name] = 100.0 * right
    empty_mask, is_saturated = (torch.stack(f).any(0) for f in zip(*flaws, strict=True))
    return {**columns, "empty_mask": empty_mask, "saturated": is_saturated}


def two_source_rows(
    block: Block,
    classifier: Classifier,
    opened: ConditionClips,
    batches: Iterable[ClipBatch],
    classes: Mapping[str, tuple[int, int]],
    labels: Sequence[str],
    seed: int,
    device: str | torch.device,
    store: RowStore,
    bar: "tqdm",
) -> pd.DataFrame:
    """Return a row per mixture and method.

    Arguments
    ---------
    block : evaluation.Block
        Explainers in a listenable domain.
    classifier : Classifier
    opened : conditions.ConditionClips
        With stems, the waveforms of both sources.
    batches : iterable of ClipBatch
    classes : dict
        From `classes_of`.
    labels : list
        Class names in the order of the logits.
    seed : int
        Seed of the absent classes.
    device : str or torch.device
        Device of the models.
    store : row_store.RowStore
        Its rows are reused.
    bar : tqdm
        Progress bar, advanced by one per row.

    Returns
    -------
    rows : pandas.DataFrame
        `id method label other absent predicted correct top_two`, the columns of
        `score_mixtures`, `seconds` (per mixture). `correct`: the prediction is one of
        the two classes; `top_two`: the two classes are the two most probable ones.

    Raises
    ------
    InputError
        When the condition has no stems.
    """
    if opened.truth.stems is None:
        raise InputError(
            "two sources: the condition has no stems (waveforms of both sources); use "
            "the condition hparams/parts/condition/mixtures.yaml, which mixes two clips"
        )
    domain = block.domain
    ids: list[str] = []
    for batch in batches:
        ids += batch.ids
        wav, lens = batch.wav.to(device), lens_on(batch, device)
        triples = [
            (*classes[name], absent_class(name, classes[name], len(labels), seed))
            for name in batch.ids
        ]
        sources = None  # rendered once for all methods if needed
        for method, explainer in block.explainers.items():
            if not store.has(method, batch.ids):
                if sources is None:
                    sources = [
                        stem.to(device) for stem in opened.truth.stems(batch.ids)
                    ]
                    with torch.no_grad():
                        whole = classify(domain, classifier, domain.encode(wav, lens))
                        top = whole.logits.topk(2).indices.tolist()
                start = time.perf_counter()
                columns = score_mixtures(
                    explainer,
                    wav,
                    torch.tensor(triples, device=device),
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
                        "label": [labels[first] for first, _, _ in triples],
                        "other": [labels[second] for _, second, _ in triples],
                        "absent": [labels[third] for _, _, third in triples],
                        "predicted": [labels[likeliest] for likeliest, _ in top],
                    }
                )
                pairs = [triple[:2] for triple in triples]
                both = list(zip(top, pairs, strict=True))
                table["correct"] = [best[0] in pair for best, pair in both]
                table["top_two"] = [set(best) == set(pair) for best, pair in both]
                for name, values in columns.items():
                    table[name] = values.cpu().numpy()
                table["seconds"] = seconds / len(batch.ids)
                store.add(table)
            bar.update(len(batch.ids))
    store.save()
    return store.rows(product(block.explainers, ids))
