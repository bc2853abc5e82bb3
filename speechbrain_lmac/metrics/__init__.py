"""Metrics: functions of `Evidence` with a name and a direction.

The arithmetic is in `faithfulness` and `sparsity`. A metric returns one score per clip;
`speechbrain_lmac.evaluation.evaluate` averages.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.metrics import faithfulness, sparsity
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError


@dataclass(frozen=True)
class Score:
    """What a table says about a column of scores, one per clip."""

    name: str  # of the column in tables
    higher_is_better: bool | None  # None: no direction
    unit: str  # "%", "dB", or "" for a plain number
    description: str  # one line, for the reader of a table


@dataclass(frozen=True)
class EvidenceMetric(Score):
    """A score per clip, (B,), computed from `Evidence`.

    Example
    -------
    >>> ones = Evidence(torch.ones(1, 2, 2), torch.tensor([0]), *torch.zeros(3, 1, 5))
    >>> MM(ones)
    tensor([1.], dtype=torch.float64)
    """

    function: Callable[[Evidence], torch.Tensor]

    def __call__(self, evidence):
        """Score each item of the batch, shape (B,)."""
        return self.function(evidence)


AI = EvidenceMetric(
    name="AI",
    function=lambda e: faithfulness.average_increase(e.logits, e.logits_in, e.target),
    higher_is_better=True,
    unit="%",
    description="average increase: clips where the explanation alone raises the "
    f"confidence, p_in - p > {faithfulness.AI_TOLERANCE:g}",
)
AD = EvidenceMetric(
    name="AD",
    function=lambda e: faithfulness.average_drop(e.logits, e.logits_in, e.target),
    higher_is_better=False,
    unit="%",
    description="average drop: confidence that the explanation alone loses, "
    "max(0, p - p_in) / p",
)
AD_DOUBLE_SOFTMAX = EvidenceMetric(
    name="AD-double-softmax",
    function=lambda e: faithfulness.average_drop_double_softmax(
        e.logits, e.logits_in, e.target
    ),
    higher_is_better=False,
    unit="%",
    description="average drop with the softmax applied twice, as the papers' code "
    "and tables have it; at most 63.2",
)
AG = EvidenceMetric(
    name="AG",
    function=lambda e: faithfulness.average_gain(e.logits, e.logits_in, e.target),
    higher_is_better=True,
    unit="%",
    description="average gain: missing confidence that the explanation alone "
    "regains, max(0, p_in - p) / (1 - p); 0 for a saturated clip, which has "
    f"1 - p < {faithfulness.SATURATION:g}",
)
FF = EvidenceMetric(
    name="FF",
    function=lambda e: faithfulness.faithfulness(e.logits, e.logits_out, e.target),
    higher_is_better=True,
    unit="",
    description="faithfulness: confidence that goes with the explanation, p - p_out",
)
FID_IN = EvidenceMetric(
    name="Fid-In",
    function=lambda e: faithfulness.input_fidelity(e.logits, e.logits_in),
    higher_is_better=True,
    unit="",
    description="input fidelity: share of clips of which the explanation alone gets "
    "the class of the whole",
)
TARGET_IN = EvidenceMetric(
    name="Target-In",
    function=lambda e: faithfulness.target_fidelity(e.logits_in, e.target),
    higher_is_better=True,
    unit="",
    description="target fidelity: share of clips whose explanation alone gets the "
    "class that was asked for; Fid-In where that is the predicted class",
)
SPS = EvidenceMetric(
    name="SPS",
    function=lambda e: score_recordings(sparsity.sparseness, e.frames, e.mask),
    higher_is_better=True,
    unit="",
    description="sparseness: Gini index of the mask; none for an empty mask",
)
COMP = EvidenceMetric(
    name="COMP",
    function=lambda e: score_recordings(sparsity.complexity, e.frames, e.mask),
    higher_is_better=False,
    unit="",
    description="complexity: entropy of the mask in nats; none for an empty mask",
)
MM = EvidenceMetric(
    name="MM",
    function=lambda e: score_recordings(sparsity.mask_mean, e.frames, e.mask),
    higher_is_better=None,
    unit="",
    description="mask mean: the size of the explanation, without which the others "
    "cannot be compared",
)

SPS_HEARD = EvidenceMetric(
    name="SPS-heard",
    function=lambda e: score_recordings(
        sparsity.sparseness, e.heard.frames, e.heard.map
    ),
    higher_is_better=True,
    unit="",
    description="SPS of what is heard, |STFT(explanation)| / |STFT(clip)| up to 1: the "
    "same kind of map in every domain",
)
COMP_HEARD = EvidenceMetric(
    name="COMP-heard",
    function=lambda e: score_recordings(
        sparsity.complexity, e.heard.frames, e.heard.map
    ),
    higher_is_better=False,
    unit="",
    description="COMP of what is heard, the map of SPS-heard",
)
MM_HEARD = EvidenceMetric(
    name="MM-heard",
    function=lambda e: score_recordings(
        sparsity.mask_mean, e.heard.frames, e.heard.map
    ),
    higher_is_better=None,
    unit="",
    description="MM of what is heard, the map of SPS-heard",
)

# The order of the papers' tables, then the size of the mask.
PAPER_METRICS = (AI, AD, AG, FF, FID_IN, SPS, COMP, MM)
ALL_METRICS = (
    AI,
    AD,
    AD_DOUBLE_SOFTMAX,
    AG,
    FF,
    FID_IN,
    TARGET_IN,
    SPS,
    COMP,
    MM,
)
# For domains that can be listened to; needed where masks of several are compared.
HEARD_METRICS = (SPS_HEARD, COMP_HEARD, MM_HEARD)


def metrics_by_name(names):
    """The metrics of these names, in this order; metrics stay as they are. For YAML.

    Raises
    ------
    InputError
        For a name that is not known, listing those that are.

    Example
    -------
    >>> [metric.higher_is_better for metric in metrics_by_name(["AI", "AD"])]
    [True, False]
    """
    known = {metric.name: metric for metric in (*ALL_METRICS, *HEARD_METRICS)}
    unknown = [str(n) for n in names if not isinstance(n, Score) and n not in known]
    if unknown:
        raise InputError(
            f"no metric is called {', '.join(unknown)}; known: {', '.join(known)}"
        )
    return tuple(n if isinstance(n, Score) else known[n] for n in names)
