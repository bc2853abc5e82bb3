"""Does an explanation of a zero-shot classifier follow its prompt?

Every clip is explained for every prompt. Then three things can be seen: whether the
mask grows with the similarity of clip and prompt, whether it is nearly empty for a
sound that is not there, and whether it is another one for another prompt. A map that
does not listen to its prompt does none of this.
"""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import torch

from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.similarity import (
    jaccard_distance,
    rank_correlation,
    shape_distance,
)
from speechbrain_lmac.metrics.sparsity import empty, mask_mean
from speechbrain_lmac.utils.errors import InputError

FEWEST_PROMPTS = 3  # with two there is one pair, and no order of pairs

RISES = Score(
    name="size by similarity",
    higher_is_better=True,
    unit="",
    description="rank correlation, over the prompts of a clip, of the mask mean and of "
    "the similarity of the whole clip and the prompt",
)
OVERALL = Score(
    name="the same, overall",
    higher_is_better=True,
    unit="",
    description="one rank correlation over all clips and prompts; its interval is a "
    "bootstrap over clips, which keeps the prompts of a clip together",
)
ABSENT = (
    Score(
        name="MM right",
        higher_is_better=None,
        unit="",
        description="mask mean for the prompt of the clip's class",
    ),
    Score(
        name="MM absent",
        higher_is_better=None,
        unit="",
        description="mask mean for the prompts of the other classes, which are not "
        "there: the mean of them",
    ),
    Score(
        name="right less absent",
        higher_is_better=True,
        unit="",
        description="their difference, clip by clip: 0 for a mask that is as large for "
        "any prompt",
    ),
    Score(
        name="right larger",
        higher_is_better=True,
        unit="%",
        description="share of the other prompts whose mask has a smaller mean than "
        "that of the right prompt",
    ),
)
SWAP = (
    Score(
        name="swap distance",
        higher_is_better=True,
        unit="",
        description="how little the masks of two prompts overlap, 1 - sum of minima / "
        "sum of maxima, the mean over the pairs of prompts: 0 for a map that is the "
        "same for any prompt",
    ),
    Score(
        name="shape distance",
        higher_is_better=True,
        unit="",
        description="the same of masks that are divided by their sums: 0 where only "
        "the size changes",
    ),
    Score(
        name="swap by text",
        higher_is_better=True,
        unit="",
        description="rank correlation, over the pairs of prompts of a clip, of the "
        "swap distance and of the distance of both texts, 1 - cosine",
    ),
)
SCORES = (RISES, *ABSENT, *SWAP)


def explain_prompts(
    explainer, batches, domain, classifier, device: str | torch.device = "cpu", bar=None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Explain every clip for every prompt of a zero-shot classifier.

    Arguments
    ---------
    explainer : Explainer
    batches : iterable
        Of ClipBatch with labels, which are indices of prompts.
    domain : MaskDomain
        In which its masks are.
    classifier : ClapClassifier
        With C prompts.
    device : str or torch.device
        Where the clips are explained; models are there already.
    bar : tqdm, optional
        Moved on by one for each clip.

    Returns
    -------
    prompts : pandas.DataFrame
        One row per clip and prompt: `id label prompt right similarity similarity_in
        similarity_out mask_mean empty_mask`. The similarities are cosines of the prompt
        and of the whole clip, the explanation, and the rest; `right` tells whether the
        prompt is that of the clip's class.
    swaps : pandas.DataFrame
        One row per clip and pair of prompts: `id first second text_distance
        swap_distance shape_distance`.

    Raises
    ------
    InputError
        With fewer prompts than `FEWEST_PROMPTS`, and without clips.
    """
    labels = classifier.labels
    if len(labels) < FEWEST_PROMPTS:
        raise InputError(
            f"the checks compare prompts: {FEWEST_PROMPTS} at least, got {len(labels)}"
        )
    apart = 1 - classifier.text.double() @ classifier.text.double().T
    prompts, swaps = [], []
    for batch in batches:
        wav, lens = batch.wav.to(device), lens_on(batch, device)
        own = [labels[index] for index in batch.label.tolist()]
        masks = []
        for place, prompt in enumerate(labels):
            target = torch.full((len(wav),), place, device=wav.device)
            explanation = explainer.explain(wav, target, lens)
            frames, mask = explanation.encoded.frames, explanation.mask.detach()
            columns = {
                **similarities(domain, classifier, explanation, place),
                "mask_mean": score_recordings(mask_mean, frames, mask),
                "empty_mask": score_recordings(empty, frames, mask),
            }
            table = {"id": batch.ids, "label": own, "prompt": prompt}
            table["right"] = [name == prompt for name in own]
            prompts.append(_table(table, columns))
            masks.append(mask)
        for first, second in combinations(range(len(labels)), 2):
            pair = (masks[first], masks[second])
            columns = {
                "swap_distance": score_recordings(jaccard_distance, frames, *pair),
                "shape_distance": score_recordings(shape_distance, frames, *pair),
            }
            table = {"id": batch.ids, "first": labels[first], "second": labels[second]}
            table["text_distance"] = apart[first, second].item()
            swaps.append(_table(table, columns))
        if bar is not None:
            bar.update(len(batch.ids))
    if not prompts:
        raise InputError("nothing to check: no clip in the data")
    tables = (pd.concat(tables, ignore_index=True) for tables in (prompts, swaps))
    return tuple(tables)


def similarities(
    domain, classifier, explanation, place: int
) -> dict[str, torch.Tensor]:
    """Cosines of one prompt and of the whole, the explanation and the rest, (B,)."""
    evidence = gather_evidence(domain, classifier, explanation)
    scale = classifier.clap.scale.detach().double()
    parts = {"": "logits", "_in": "logits_in", "_out": "logits_out"}
    return {
        f"similarity{end}": getattr(evidence, name)[:, place].double() / scale
        for end, name in parts.items()
    }


def _table(columns: dict, scores: dict[str, torch.Tensor]) -> pd.DataFrame:
    """Columns of text and of scores (B,) on any device."""
    return pd.DataFrame(
        {**columns, **{name: s.detach().cpu().numpy() for name, s in scores.items()}}
    )


def clip_scores(prompts: pd.DataFrame, swaps: pd.DataFrame) -> pd.DataFrame:
    """What the checks make of a clip: a row per clip with each of `SCORES`.

    Arguments
    ---------
    prompts, swaps : pandas.DataFrame
        From `explain_prompts`, of one explainer.

    Returns
    -------
    per_clip : pandas.DataFrame
        With the columns `id label` before. A rank correlation is NaN where all masks
        are equally large, all pairs equally far apart, or one is not finite.

    Example
    -------
    >>> prompts = pd.DataFrame(
    ...     {
    ...         "id": "clip",
    ...         "label": "dog",
    ...         "right": [True, False, False],
    ...         "similarity": [0.9, 0.1, 0.3],
    ...         "mask_mean": [0.4, 0.1, 0.2],
    ...     }
    ... )
    >>> swaps = pd.DataFrame(
    ...     {
    ...         "id": "clip",
    ...         "text_distance": [0.9, 0.5, 0.7],
    ...         "swap_distance": [0.75, 0.5, 0.55],
    ...         "shape_distance": [0.0, 0.0, 0.3],
    ...     }
    ... )
    >>> scores = clip_scores(prompts, swaps).iloc[0]
    >>> round(float(scores["right less absent"]), 6)  # 0.4 - (0.1 + 0.2) / 2
    0.25
    """
    pairs = dict(list(swaps.groupby("id", sort=False)))
    rows = []
    for clip, asked in prompts.groupby("id", sort=False):
        swapped, sizes = pairs[clip], asked["mask_mean"]
        right = sizes[asked["right"]].item()
        absent = sizes[~asked["right"]]
        larger = 100.0 * (absent < right).mean() if sizes.notna().all() else math.nan
        rows.append(
            {
                "id": clip,
                "label": asked["label"].iloc[0],
                RISES.name: rank_correlation(asked["similarity"], sizes),
                "MM right": right,
                "MM absent": absent.mean(skipna=False),
                "right less absent": right - absent.mean(skipna=False),
                "right larger": larger,
                "swap distance": swapped["swap_distance"].mean(skipna=False),
                "shape distance": swapped["shape_distance"].mean(skipna=False),
                "swap by text": rank_correlation(
                    swapped["text_distance"], swapped["swap_distance"]
                ),
            }
        )
    return pd.DataFrame(rows)


def overall_correlation(
    prompts: pd.DataFrame, n_boot: int = 2000, seed: int = 1234
) -> tuple[float, float, float]:
    """`OVERALL` and its interval, by a bootstrap over clips.

    Arguments
    ---------
    prompts : pandas.DataFrame
        From `explain_prompts`, of one explainer.
    n_boot : int
        Resamples of as many clips as there are, each with all its prompts.
    seed : int

    Returns
    -------
    correlation, low, high : float
        NaN where all masks are equally large. Of the clips whose masks and similarities
        are all finite.

    Example
    -------
    >>> rows = {"id": ["a", "a", "b", "b"], "similarity": [0.1, 0.2, 0.3, 0.4]}
    >>> found = overall_correlation(pd.DataFrame({**rows, "mask_mean": [1, 2, 4, 3]}))
    >>> [round(value, 6) for value in found]
    [0.8, -1.0, 1.0]
    """
    clips = [
        clip[["similarity", "mask_mean"]].to_numpy(float).T
        for _, clip in prompts.groupby("id", sort=True)
    ]
    clips = [clip for clip in clips if np.isfinite(clip).all()]
    if not clips:
        return math.nan, math.nan, math.nan
    draws = np.random.default_rng(seed).integers(len(clips), size=(n_boot, len(clips)))
    found = [
        rank_correlation(*np.concatenate([clips[i] for i in draw], axis=1))
        for draw in draws
    ]
    found = [value for value in found if math.isfinite(value)]
    low, high = np.quantile(found, [0.025, 0.975]) if found else (math.nan, math.nan)
    whole = rank_correlation(*np.concatenate(clips, axis=1))
    return whole, float(low), float(high)
