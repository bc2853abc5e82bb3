"""Metrics: functions of `Evidence` with a name and a direction.

The computations are in `faithfulness` and `sparsity`. A metric returns one score per
clip; `speechbrain_lmac.evaluation.evaluate` averages them.
"""

import difflib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.metrics import faithfulness, sparsity
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError


@dataclass(frozen=True)
class Score:
    """Name, direction, unit and description of a column of scores, one per clip."""

    name: str  # of the column in tables
    higher_is_better: bool | None = None  # None: no direction, or unknown
    unit: str = ""  # "%", "dB", or "" for a plain number
    description: str = ""  # one line, printed below tables


class PartialScore(Score):
    """A score that some methods or clips do not have: NaN there is no fault.

    Tables do not count it as non-finite.
    """


@dataclass(frozen=True)
class EvidenceMetric(Score):
    """A score per clip, (B,), computed from `Evidence`.

    Arguments
    ---------
    name : str
        Name of the column in tables.
    higher_is_better : bool, optional
        Default None: no arrow in tables, and no best method.
    unit : str
        "%", "dB", or "" for a plain number.
    description : str
        One line. Default: the first line of the docstring of `function`.
    function : callable
        `Evidence` to one real number per clip, shape (B,).

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
        """Return the score of each item of the batch, shape (B,), floating point.

        Raises
        ------
        InputError
            When the function returns anything but one real number per clip.
        """
        values = self.function(evidence)
        expected = (len(evidence.target),)
        if not torch.is_tensor(values) or values.is_complex():
            got = f"a {values.dtype}" if torch.is_tensor(values) else repr(values)
        elif tuple(values.shape) != expected:
            got = f"shape {tuple(values.shape)}"
        else:
            return values if values.is_floating_point() else values.double()
        raise InputError(
            f"metric {self.name!r} must return one number per clip, shape {expected}, "
            f"got {got}"
        )


def _on_masked_audio(
    score: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[Evidence], torch.Tensor]:
    """Return a function that scores `MaskedAudio.map` of the evidence, (B,)."""

    def scored(evidence: Evidence) -> torch.Tensor:
        audio = evidence.masked_audio
        if audio is None:
            raise ValueError("evidence has no masked_audio")
        return score_recordings(score, audio.frames, audio.map)

    return scored


AI = EvidenceMetric(
    name="AI",
    function=lambda e: faithfulness.average_increase(e.logits, e.logits_in, e.target),
    higher_is_better=True,
    unit="%",
    description="average increase: share of clips with a higher confidence for the "
    f"explanation alone, p_in - p > {faithfulness.AI_TOLERANCE:g}",
)
AD = EvidenceMetric(
    name="AD",
    function=lambda e: faithfulness.average_drop(e.logits, e.logits_in, e.target),
    higher_is_better=False,
    unit="%",
    description="average drop: relative loss of confidence for the explanation alone, "
    "max(0, p - p_in) / p",
)
AD_DOUBLE_SOFTMAX = EvidenceMetric(
    name="AD-double-softmax",
    function=lambda e: faithfulness.average_drop_double_softmax(
        e.logits, e.logits_in, e.target
    ),
    higher_is_better=False,
    unit="%",
    description="average drop with the softmax applied twice, as in the papers' code "
    "and tables; at most 63.2",
)
AG = EvidenceMetric(
    name="AG",
    function=lambda e: faithfulness.average_gain(e.logits, e.logits_in, e.target),
    higher_is_better=True,
    unit="%",
    description="average gain: relative gain of confidence for the explanation alone, "
    "max(0, p_in - p) / (1 - p); 0 for saturated clips, "
    f"1 - p < {faithfulness.SATURATION:g}",
)
FF = EvidenceMetric(
    name="FF",
    function=lambda e: faithfulness.faithfulness(e.logits, e.logits_out, e.target),
    higher_is_better=True,
    unit="",
    description="faithfulness: drop of confidence without the explanation, p - p_out",
)
FID_IN = EvidenceMetric(
    name="Fid-In",
    function=lambda e: faithfulness.input_fidelity(e.logits, e.logits_in),
    higher_is_better=True,
    unit="",
    description="input fidelity: share of clips whose explanation alone gets the class "
    "of the whole clip",
)
TARGET_IN = EvidenceMetric(
    name="Target-In",
    function=lambda e: faithfulness.target_fidelity(e.logits_in, e.target),
    higher_is_better=True,
    unit="",
    description="target fidelity: share of clips whose explanation alone is classified "
    "as the explained class; Fid-In where that is the predicted class",
)
SPS = EvidenceMetric(
    name="SPS",
    function=lambda e: score_recordings(sparsity.sparseness, e.frames, e.mask),
    higher_is_better=True,
    unit="",
    description="sparseness: Gini index of the mask; undefined for an empty mask",
)
COMP = EvidenceMetric(
    name="COMP",
    function=lambda e: score_recordings(sparsity.complexity, e.frames, e.mask),
    higher_is_better=False,
    unit="",
    description="complexity: entropy of the mask in nats; undefined for an empty mask",
)
MM = EvidenceMetric(
    name="MM",
    function=lambda e: score_recordings(sparsity.mask_mean, e.frames, e.mask),
    higher_is_better=None,
    unit="",
    description="mask mean: the size of the explanation; read the other scores "
    "together with it",
)

SPS_HEARD = EvidenceMetric(
    name="SPS-heard",
    function=_on_masked_audio(sparsity.sparseness),
    higher_is_better=True,
    unit="",
    description="SPS of the masked audio, min(1, |STFT(explanation)| / |STFT(clip)|), "
    "which is comparable across domains",
)
COMP_HEARD = EvidenceMetric(
    name="COMP-heard",
    function=_on_masked_audio(sparsity.complexity),
    higher_is_better=False,
    unit="",
    description="COMP of the masked audio, the map of SPS-heard",
)
MM_HEARD = EvidenceMetric(
    name="MM-heard",
    function=_on_masked_audio(sparsity.mask_mean),
    higher_is_better=None,
    unit="",
    description="MM of the masked audio, the map of SPS-heard",
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
# For listenable domains; needed to compare masks of several domains.
HEARD_METRICS = (SPS_HEARD, COMP_HEARD, MM_HEARD)


# Columns of every table: reserved names.
TAKEN = (
    *("condition", "block", "id", "method", "label", "predicted", "correct", "p"),
    *("p_in", "p_out", "empty_mask", "saturated", "seconds", "seconds_per_clip"),
    *("n", "empty", "non_finite", "loss"),
)


def metrics_by_name(
    names: str | Sequence[str | Score | Callable[[Evidence], torch.Tensor]],
) -> tuple[EvidenceMetric, ...]:
    """Return the metrics of a list, in its order, for tables and training runs.

    Arguments
    ---------
    names : list or str
        Names of metrics, metrics, or functions of `Evidence` that return one number
        per clip, shape (B,). A function becomes a metric named after it, without a
        direction, described by the first line of its docstring. A str is a
        comma-separated list of names.

    Returns
    -------
    metrics : tuple
        Of EvidenceMetric.

    Raises
    ------
    InputError
        For an unknown name, a score that is computed automatically, or two metrics with
        the same name.

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
        raise InputError(f"metrics must be a list, e.g. [AI, AD], got {names!r}")
    known = {metric.name: metric for metric in (*ALL_METRICS, *HEARD_METRICS)}
    texts = [n for n in names if not isinstance(n, Score) and not callable(n)]
    unknown = [str(n) for n in texts if not isinstance(n, str) or n not in known]
    if unknown:
        raise InputError(_unknown_metrics(unknown, known))
    metrics = tuple(known[n] if isinstance(n, str) else _metric(n) for n in names)
    by_name: dict[str, EvidenceMetric] = {}
    for metric in metrics:
        if metric.name in TAKEN:
            raise InputError(
                f"metric {metric.name!r}: this column name is reserved; choose another "
                "name"
            )
        if by_name.setdefault(metric.name, metric) != metric:
            raise InputError(f"two metrics named {metric.name!r}")
    return metrics


def identity_of(metric: EvidenceMetric) -> str | list[Any]:
    """Return the identity of a metric for `fingerprint_of`: name, function, source.

    For metrics of this package the name alone; for user-defined ones name, function
    (with its settings) and source code.
    """
    if any(metric is ours for ours in (*ALL_METRICS, *HEARD_METRICS)):
        return metric.name
    try:
        code = inspect.getsource(_unwrapped(metric.function))
    except (OSError, TypeError):  # an object, or a function without a file
        code = ""
    return [metric.name, metric.function, code]


def _metric(thing: Any) -> EvidenceMetric:
    """Return a metric, a function, or an object with name and direction as a metric."""
    if isinstance(thing, EvidenceMetric):
        return thing
    if isinstance(thing, Score) and not callable(thing):
        raise InputError(f"score {thing.name!r} has no function of `Evidence`")
    if hasattr(thing, "name") and hasattr(thing, "higher_is_better"):
        about = (getattr(thing, key, "") for key in ("unit", "description"))
        return EvidenceMetric(
            thing.name, thing.higher_is_better, *about, function=thing
        )
    function = _unwrapped(thing)
    if isinstance(function, type):
        raise InputError(
            f"metrics: {function.__name__} is a class; use !new: instead of !name:"
        )
    return EvidenceMetric(
        name=getattr(function, "__name__", type(function).__name__), function=thing
    )


def _unwrapped(function: Any) -> Any:
    """Return the function of a `!name:` of a YAML, which is a partial."""
    while isinstance(function, partial):
        function = function.func
    return function


def _first_line(function: Callable) -> str:
    """Return a docstring's first line without its full stop, or the code's path."""
    function = _unwrapped(function)
    lines = (inspect.getdoc(function) or "").strip().splitlines()
    where = f"{function.__module__}.{getattr(function, '__qualname__', function)}"
    return lines[0].removesuffix(".") if lines else f"computed by {where}"


def _unknown_metrics(unknown: list[str], known: dict[str, EvidenceMetric]) -> str:
    """Return the message on unknown names of metrics."""
    # These modules import this one.
    from speechbrain_lmac.metrics.curves import AREAS, P_IN, P_OUT
    from speechbrain_lmac.metrics.separation import (
        ARTEFACT_SCORES,
        IRM_OVERLAP_HEARD,
        SOURCE_SCORES,
    )

    truth = (*SOURCE_SCORES, IRM_OVERLAP_HEARD, *ARTEFACT_SCORES)
    automatic = {
        **{score.name: "in conditions with known stems" for score in truth},
        **{score.name: "with the key `curves`" for score in AREAS},
        **dict.fromkeys(("Spearman", "SSIM", "overlap"), "with the key `sanity`"),
        **dict.fromkeys(("p", P_IN.name, P_OUT.name), "in per_clip.csv"),
    }
    text = f"unknown metric {', '.join(unknown)}; known: {', '.join(known)}."
    lower = {name.casefold(): name for name in known}
    for name in unknown:
        close = difflib.get_close_matches(name.casefold(), lower, n=1)
        if name in automatic:
            text += f" {name!r} is computed automatically {automatic[name]}: remove it."
        elif "." in name:
            text += f" To use a function of your own, write !name:{name}."
        elif close:
            text += f" Did you mean {lower[close[0]]!r} for {name!r}?"
    return text
