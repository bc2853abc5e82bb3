"""Metrics: functions of `Evidence` with a name and a direction.

The arithmetic is in `faithfulness` and `sparsity`. A metric returns one score per clip;
`speechbrain_lmac.evaluation.evaluate` averages.
"""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.metrics import faithfulness, sparsity
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError


@dataclass(frozen=True)
class Score:
    """What a table says about a column of scores, one per clip."""

    name: str  # of the column in tables
    higher_is_better: bool | None = None  # None: no direction, or none is known
    unit: str = ""  # "%", "dB", or "" for a plain number
    description: str = ""  # one line, for the reader of a table


@dataclass(frozen=True)
class EvidenceMetric(Score):
    """A score per clip, (B,), computed from `Evidence`.

    Arguments
    ---------
    name : str
        Of the column in tables.
    higher_is_better : bool, optional
        Without: a table has no arrow, and no method is said to lead.
    unit : str
        "%", "dB", or "" for a plain number.
    description : str
        One line. Without: the first line of the function's docstring.
    function : callable
        From `Evidence` to one number per clip, (B,).

    Example
    -------
    >>> ones = Evidence(torch.ones(1, 2, 2), torch.tensor([0]), *torch.zeros(3, 1, 5))
    >>> MM(ones)
    tensor([1.], dtype=torch.float64)
    """

    function: Callable[[Evidence], torch.Tensor] = field(kw_only=True)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputError(
                f"metric {self.name!r}: function must be callable, got "
                f"{self.function!r}"
            )
        if not self.description:
            object.__setattr__(self, "description", _first_line(self.function))

    def __call__(self, evidence: Evidence) -> torch.Tensor:
        """Score each item of the batch, shape (B,).

        Raises
        ------
        InputError
            When the function returns anything but one real number per clip.
        """
        values = self.function(evidence)
        wanted = (len(evidence.target),)
        if not torch.is_tensor(values) or values.is_complex():
            got = f"a {values.dtype}" if torch.is_tensor(values) else repr(values)
        elif tuple(values.shape) != wanted:
            got = f"the shape {tuple(values.shape)}"
        else:
            return values if values.is_floating_point() else values.double()
        raise InputError(
            f"metric {self.name!r} must return one number per clip, a tensor of the "
            f"shape {wanted}, got {got}"
        )


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
        sparsity.sparseness, e.masked_audio.frames, e.masked_audio.map
    ),
    higher_is_better=True,
    unit="",
    description="SPS of what is heard, |STFT(explanation)| / |STFT(clip)| up to 1: the "
    "same kind of map in every domain",
)
COMP_HEARD = EvidenceMetric(
    name="COMP-heard",
    function=lambda e: score_recordings(
        sparsity.complexity, e.masked_audio.frames, e.masked_audio.map
    ),
    higher_is_better=False,
    unit="",
    description="COMP of what is heard, the map of SPS-heard",
)
MM_HEARD = EvidenceMetric(
    name="MM-heard",
    function=lambda e: score_recordings(
        sparsity.mask_mean, e.masked_audio.frames, e.masked_audio.map
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


# Columns that a table has anyway.
TAKEN = (
    *("condition", "block", "id", "method", "label", "predicted", "correct", "p"),
    *("p_in", "p_out", "empty_mask", "saturated", "seconds", "seconds_per_clip"),
    *("n", "empty", "non_finite", "loss"),
)


def metrics_by_name(names) -> tuple[EvidenceMetric, ...]:
    """The metrics of a list, in its order, for tables and for trainings.

    Arguments
    ---------
    names : list or str
        Each one the name of a metric, a metric, or a function of `Evidence` that
        returns one number per clip, (B,): a metric that is called as the function,
        without a direction, described by the first line of its docstring. A str is a
        list with commas.

    Returns
    -------
    metrics : tuple
        Of EvidenceMetric.

    Raises
    ------
    InputError
        For a name that is not known, listing those that are; for a score that no list
        can choose; for two metrics with one name.

    Example
    -------
    >>> [metric.higher_is_better for metric in metrics_by_name(["AI", "AD"])]
    [True, False]
    >>> def keep_share(evidence):
    ...     "Share of the cells that the mask keeps by more than half."
    ...     return (evidence.mask > 0.5).double().mean((1, 2))
    >>> metrics_by_name([keep_share])[0].name
    'keep_share'
    """
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    if not isinstance(names, list | tuple):
        raise InputError(f"metrics must be a list, as [AI, AD], got {names!r}")
    known = {metric.name: metric for metric in (*ALL_METRICS, *HEARD_METRICS)}
    told = [n for n in names if not isinstance(n, Score) and not callable(n)]
    unknown = [str(n) for n in told if not isinstance(n, str) or n not in known]
    if unknown:
        raise InputError(_told(unknown, known))
    metrics = tuple(known[n] if isinstance(n, str) else _metric(n) for n in names)
    called = {}
    for metric in metrics:
        if metric.name in TAKEN:
            raise InputError(
                f"metric {metric.name!r}: tables have such a column; take another name"
            )
        if called.setdefault(metric.name, metric) != metric:
            raise InputError(f"two metrics are called {metric.name!r}")
    return metrics


def identity_of(metric: EvidenceMetric) -> str:
    """What finished scores of a metric hang on, for `fingerprint_of`.

    The name of one of ours; of a user's also the function, its settings and its code.
    """
    if any(metric is ours for ours in (*ALL_METRICS, *HEARD_METRICS)):
        return metric.name
    try:
        code = inspect.getsource(_unwrapped(metric.function))
    except (OSError, TypeError):  # an object, or a function without a file
        code = ""
    return [metric.name, metric.function, code]


def _metric(thing) -> EvidenceMetric:
    """A metric of a metric, of a function, or of any object with name and direction."""
    if isinstance(thing, EvidenceMetric):
        return thing
    if isinstance(thing, Score) and not callable(thing):
        raise InputError(f"score {thing.name!r} has no function of the evidence")
    if hasattr(thing, "name") and hasattr(thing, "higher_is_better"):
        about = (getattr(thing, key, "") for key in ("unit", "description"))
        return EvidenceMetric(
            thing.name, thing.higher_is_better, *about, function=thing
        )
    function = _unwrapped(thing)
    if isinstance(function, type):
        raise InputError(
            f"metrics: {function.__name__} is a class; write !new: in place of !name:"
        )
    return EvidenceMetric(
        name=getattr(function, "__name__", type(function).__name__), function=thing
    )


def _unwrapped(function):
    """What a `!name:` of a YAML, which is a partial, stands for."""
    while isinstance(function, partial):
        function = function.func
    return function


def _first_line(function) -> str:
    """The first line of a docstring, without its full stop; or where the code is."""
    function = _unwrapped(function)
    lines = (inspect.getdoc(function) or "").strip().splitlines()
    where = f"{function.__module__}.{getattr(function, '__qualname__', function)}"
    return lines[0].removesuffix(".") if lines else f"computed by {where}"


def _told(unknown: list[str], known: dict[str, EvidenceMetric]) -> str:
    """The message on names that are no metrics."""
    # These modules import this one.
    from speechbrain_lmac.metrics.curves import AREAS, P_IN, P_OUT
    from speechbrain_lmac.metrics.separation import (
        ARTEFACT_SCORES,
        IRM_OVERLAP_HEARD,
        SOURCE_SCORES,
    )

    truth = (*SOURCE_SCORES, IRM_OVERLAP_HEARD, *ARTEFACT_SCORES)
    by_themselves = {
        **{score.name: "in conditions whose parts are known" for score in truth},
        **{score.name: "where `curves` asks for them" for score in AREAS},
        **dict.fromkeys(("Spearman", "SSIM"), "where `sanity` asks for them"),
        **dict.fromkeys(("p", P_IN.name, P_OUT.name), "in per_clip.csv, always"),
    }
    text = f"no metric is called {', '.join(unknown)}; known: {', '.join(known)}."
    lower = {name.casefold(): name for name in known}
    for name in unknown:
        close = difflib.get_close_matches(name.casefold(), lower, n=1)
        if name in by_themselves:
            text += f" {name!r} comes by itself, {by_themselves[name]}: leave it out."
        elif "." in name:
            text += f" A function of your own is !name:{name}, not its name alone."
        elif close:
            text += f" For {name!r}, did you mean {lower[close[0]]!r}?"
    return text
