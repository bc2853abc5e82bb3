"""Prompt checks: dependence of zero-shot explanations on their prompt.

Every clip is explained for every prompt. Three checks: masks are larger for prompts
more similar to the clip, nearly empty for absent classes, and differ between prompts.
Masks that ignore the prompt fail all three.
"""

import math
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from speechbrain_lmac.data.dataset import ClipBatch, lens_on
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.evaluation.statistics import CLIP, clips_of
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.similarity import (
    jaccard_distance,
    rank_correlation,
    shape_distance,
)
from speechbrain_lmac.metrics.sparsity import empty, mask_mean
from speechbrain_lmac.types import Explainer, Explanation, MaskDomain
from speechbrain_lmac.utils.errors import InputError

if TYPE_CHECKING:
    from tqdm import tqdm

    from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier

MIN_PROMPTS = 3  # two prompts form a single pair: no rank correlation

RISES = Score(
    name="size by similarity",
    higher_is_better=True,
    unit="",
    description="rank correlation of mask mean and clip-prompt similarity, over the "
    "prompts of a clip",
)
OVERALL = Score(
    name="the same, overall",
    higher_is_better=True,
    unit="",
    description="rank correlation over all clips and prompts together; its interval is "
    "a bootstrap over clips, each with all its prompts",
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
        description="mean of the mask means for the prompts of all other classes, "
        "which are absent",
    ),
    Score(
        name="right less absent",
        higher_is_better=True,
        unit="",
        description="MM right minus MM absent, per clip: 0 if the mask has the same "
        "size for every prompt",
    ),
    Score(
        name="right larger",
        higher_is_better=True,
        unit="%",
        description="share of the other prompts whose mask mean is below that of the "
        "right prompt",
    ),
)
SWAP = (
    Score(
        name="swap distance",
        higher_is_better=True,
        unit="",
        description="Jaccard distance of the masks for two prompts, 1 - sum of minima "
        "/ sum of maxima, mean over pairs of prompts: 0 if the mask ignores the prompt",
    ),
    Score(
        name="shape distance",
        higher_is_better=True,
        unit="",
        description="swap distance of masks divided by their sums: 0 if prompts only "
        "scale the mask",
    ),
    Score(
        name="swap by text",
        higher_is_better=True,
        unit="",
        description="rank correlation of the swap distance and the text distance, "
        "1 - cosine, over the pairs of prompts of a clip",
    ),
)
SCORES = (RISES, *ABSENT, *SWAP)


def explain_prompts(
    explainer: Explainer,
    batches: Iterable[ClipBatch],
    domain: MaskDomain,
    classifier: "ClapClassifier",
    device: str | torch.device = "cpu",
    bar: "tqdm | None" = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Explain every clip for every prompt of a zero-shot classifier.

    Arguments
    ---------
    explainer : Explainer
    batches : iterable of ClipBatch
        With labels, which are indices of prompts.
    domain : MaskDomain
        Domain of the explainer's masks.
    classifier : ClapClassifier
        With C prompts, at least `MIN_PROMPTS`.
    device : str or torch.device
        Device that the models are on.
    bar : tqdm, optional
        Progress bar, advanced by one per clip.

    Returns
    -------
    prompts : pandas.DataFrame
        One row per clip and prompt: `id label prompt right similarity similarity_in
        similarity_out mask_mean empty_mask`. Similarities are cosines of the prompt
        with the whole clip, the explanation and the rest; `right` is whether the prompt
        is that of the clip's class.
    swaps : pandas.DataFrame
        One row per clip and pair of prompts: `id first second text_distance
        swap_distance shape_distance`.

    Raises
    ------
    InputError
        If there are fewer than `MIN_PROMPTS` prompts, or no clips.
    """
    labels = classifier.labels
    if len(labels) < MIN_PROMPTS:
        raise InputError(
            f"prompt checks need at least {MIN_PROMPTS} prompts, got {len(labels)}"
        )
    apart = 1 - classifier.text.double() @ classifier.text.double().T
    prompts, swaps = [], []
    for batch in batches:
        wav, lens = batch.wav.to(device), lens_on(batch, device)
        if batch.label is None:
            raise InputError("prompt checks need clips with class labels")
        own = [labels[index] for index in batch.label.tolist()]
        masks = []
        for prompt_index, prompt in enumerate(labels):
            target = torch.full((len(wav),), prompt_index, device=wav.device)
            explanation = explainer.explain(wav, target, lens)
            frames, mask = explanation.encoded.frames, explanation.mask.detach()
            columns = {
                **similarities(domain, classifier, explanation, prompt_index),
                "mask_mean": score_recordings(mask_mean, frames, mask),
                "empty_mask": score_recordings(empty, frames, mask),
            }
            row: dict[str, Any] = {"id": batch.ids, "label": own, "prompt": prompt}
            row["right"] = [name == prompt for name in own]
            prompts.append(_table(row, columns))
            masks.append(mask)
        for first, second in combinations(range(len(labels)), 2):
            pair = (masks[first], masks[second])
            columns = {
                "swap_distance": score_recordings(jaccard_distance, frames, *pair),
                "shape_distance": score_recordings(shape_distance, frames, *pair),
            }
            row = {"id": batch.ids, "first": labels[first], "second": labels[second]}
            row["text_distance"] = apart[first, second].item()
            swaps.append(_table(row, columns))
        if bar is not None:
            bar.update(len(batch.ids))
    if not prompts:
        raise InputError("nothing to check: the data contain no clips")
    return pd.concat(prompts, ignore_index=True), pd.concat(swaps, ignore_index=True)


def similarities(
    domain: MaskDomain,
    classifier: "ClapClassifier",
    explanation: Explanation,
    prompt_index: int,
) -> dict[str, torch.Tensor]:
    """Return the cosine similarities of one prompt with clip, explanation and rest.

    Arguments
    ---------
    domain : MaskDomain
    classifier : ClapClassifier
        With C prompts.
    explanation : Explanation
        Explanation of B clips.
    prompt_index : int
        Index of the prompt, 0 to C - 1.

    Returns
    -------
    cosines : dict
        "similarity", "similarity_in" and "similarity_out" to (B,), float64, -1 to 1.
    """
    evidence = gather_evidence(domain, classifier, explanation)
    scale = classifier.clap.scale.detach().double()
    parts = {"": "logits", "_in": "logits_in", "_out": "logits_out"}
    return {
        f"similarity{end}": getattr(evidence, name)[:, prompt_index].double() / scale
        for end, name in parts.items()
    }


def _table(
    columns: Mapping[str, Any], scores: Mapping[str, torch.Tensor]
) -> pd.DataFrame:
    """Return a table of B rows from columns and scores (B,), on any device."""
    return pd.DataFrame(
        {**columns, **{name: s.detach().cpu().numpy() for name, s in scores.items()}}
    )


def clip_scores(prompts: pd.DataFrame, swaps: pd.DataFrame) -> pd.DataFrame:
    """Return one row per clip, with a column for each of `SCORES`.

    Arguments
    ---------
    prompts, swaps : pandas.DataFrame
        From `explain_prompts`, of one explainer.

    Returns
    -------
    per_clip : pandas.DataFrame
        With the columns `id label` in front, and `clip` where `prompts` has it. A rank
        correlation is NaN where all mask
        means or all distances are equal, or one is not finite.

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
    for name, own in prompts.groupby("id", sort=False):
        swapped, sizes = pairs[name], own["mask_mean"]
        right = sizes[own["right"]].item()
        absent = sizes[~own["right"]]
        larger = 100.0 * (absent < right).mean() if sizes.notna().all() else math.nan
        rows.append(
            {
                "id": name,
                **({CLIP: own[CLIP].iloc[0]} if CLIP in own else {}),
                "label": own["label"].iloc[0],
                RISES.name: rank_correlation(own["similarity"], sizes),
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
    """Return `OVERALL` and its 95 % interval, by a percentile bootstrap over clips.

    Arguments
    ---------
    prompts : pandas.DataFrame
        From `explain_prompts`, of one explainer; with mixtures the column `clip`.
    n_boot : int
        Resamples of the clips, each with all its mixtures and prompts.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    correlation, low, high : float
        -1 to 1, over the ids with finite masks and similarities only; NaN where all
        mask means are equal.

    Example
    -------
    >>> rows = {"id": ["a", "a", "b", "b"], "similarity": [0.1, 0.2, 0.3, 0.4]}
    >>> found = overall_correlation(pd.DataFrame({**rows, "mask_mean": [1, 2, 4, 3]}))
    >>> [round(value, 6) for value in found]
    [0.8, -1.0, 1.0]
    """
    names = ["similarity", "mask_mean"]
    finite = np.isfinite(prompts[names].astype(float)).all(axis=1)
    valid = prompts[finite.groupby(prompts["id"]).transform("all")]
    clips = [
        own[names].to_numpy(float).T
        for _, own in valid.groupby(clips_of(valid), sort=True)
    ]
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
