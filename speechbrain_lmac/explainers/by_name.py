"""The explainers of a block of a table, by the names of its rows.

A row is a line of YAML:

    SmoothGrad: {n_samples: 20}        # a method of `METHODS`; overrides its settings
    L-MAC: results/esc10_lmac/1234     # the results folder of a training run
    L2I, RT=0.4: {folder: results/esc10_l2i/1234, relevance_threshold: 0.4}
    random blocks: {reference: L-MAC}  # a control: random masks with that row's means
    Mine: !new:mine.MyExplainer {}     # any object with `explain`, or with `attribute`

and `null` removes a row.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeGuard

from speechbrain_lmac.domains import ClapMelDomain, LearnedDomain, MelDomain
from speechbrain_lmac.explainers.attribution import AttributionExplainer, Background
from speechbrain_lmac.explainers.cam import GradCAM, GradCAMPlusPlus
from speechbrain_lmac.explainers.controls import (
    AllOnesExplainer,
    RandomExplainer,
    Remembered,
)
from speechbrain_lmac.explainers.gradients import (
    GradientShap,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
)
from speechbrain_lmac.explainers.guided_backprop import GuidedBackprop, GuidedGradCAM
from speechbrain_lmac.explainers.to_mask import absolute, positive
from speechbrain_lmac.explainers.trained import TrainedExplainer
from speechbrain_lmac.types import Classifier, Explainer, MaskDomain
from speechbrain_lmac.utils.errors import InputError, check_arguments

ABSOLUTE: dict[str, Any] = {"to_mask": partial(absolute, quantile=1.0)}
POSITIVE: dict[str, Any] = {"to_mask": partial(positive, quantile=1.0)}
DRAWN: dict[str, Any] = {"n_samples": 50, "samples_per_batch": 10, "seed": 1234}
# The papers' methods, in the order of their tables, and our settings of them
# (docs/methods.md, baselines).
METHODS: dict[str, partial] = {
    "Saliency": partial(Saliency, **ABSOLUTE),
    "SmoothGrad": partial(SmoothGrad, **DRAWN, noise=0.15, **ABSOLUTE),
    "IG": partial(IntegratedGradients, n_steps=50, internal_batch_size=10, **ABSOLUTE),
    "GradCAM": partial(GradCAM, **POSITIVE),
    "GradCAM++": partial(GradCAMPlusPlus, **POSITIVE),
    "Guided GradCAM": partial(GuidedGradCAM, **ABSOLUTE),
    "Guided Backprop": partial(GuidedBackprop, **ABSOLUTE),
    "SHAP": partial(GradientShap, **DRAWN, **ABSOLUTE),
}
RANDOM = ("random cells", "random blocks")
CONTROLS = (*RANDOM, "all ones")
# Frames and bins of a random block, by domain. A block lasts about 0.19 s, and covers
# 8 channels of a codec, a tenth of the mel bands, or (`BLOCK`) 500 Hz of the STFT.
BLOCKS = ((LearnedDomain, (186, 8)), ((MelDomain, ClapMelDomain), (16, 8)))
BLOCK = (16, 32)


def open_explainers(
    rows: Mapping[str, Any],
    classifier: Classifier,
    domain: MaskDomain | None = None,
    background: Background | None = None,
    seed: int = 1234,
    only: str | Sequence[str] | None = None,
) -> tuple[dict[str, Explainer], MaskDomain | None]:
    """Open the rows of a block.

    Arguments
    ---------
    rows : dict
        Row name to value, see the module docstring.
    classifier : Classifier
        The frozen classifier to explain.
    domain : MaskDomain, optional
        The domain of all masks. Default: that of the first trained explainer.
    background : callable, optional
        Returns waveforms (K, N), the background of SHAP.
    seed : int
        Seed of the random masks.
    only : str or list of str, optional
        Names of the rows to open, with `*` as a wildcard. Default: all.

    Returns
    -------
    explainers : dict
        Name to Explainer, in the order of the rows.
    domain : MaskDomain or None
        None if no row is opened and no domain was passed.

    Raises
    ------
    InputError
        For an unknown name whose value is not an explainer, for an unknown setting of a
        method, and in the cases of `TrainedExplainer.open`.
    """
    rows = {name: _row(name, row) for name, row in rows.items() if row is not None}
    patterns = [only] if isinstance(only, str) else only
    names = [
        name
        for name in rows
        if patterns is None or any(fnmatchcase(name, p) for p in patterns)
    ]
    opening = _Opening(rows, classifier, domain, background, seed)
    return opening.explainers(names), opening.domain


class _Opening:
    """The rows of a block, each opened once, on demand."""

    def __init__(
        self,
        rows: dict[str, Any],
        classifier: Classifier,
        domain: MaskDomain | None,
        background: Background | None,
        seed: int,
    ) -> None:
        self.rows = rows
        self.classifier = classifier
        self.domain = domain
        self.background = background
        self.seed = seed
        self._opened: dict[str, Explainer] = {}

    def explainers(self, names: list[str]) -> dict[str, Explainer]:
        """Return the explainers of rows, by their names."""
        random = {
            name: self._reference(name) for name in names if self._is_random(name)
        }
        if names and self.domain is None:
            self._take_domain([*names, *random.values(), *self.rows])
        for reference in random.values():  # cache: explain each batch only once
            explainer = self._open(reference)
            if not isinstance(explainer, Remembered):
                self._opened[reference] = Remembered(explainer)
        return {name: self._open(name) for name in names}

    def _open(self, name: str) -> Explainer:
        if name not in self._opened:
            self._opened[name] = self._made(name, self.rows[name])
        return self._opened[name]

    def _made(self, name: str, row: Any) -> Explainer:
        if isinstance(row, TrainedExplainer):
            return row.open(self.classifier, self.domain)
        if hasattr(row, "explain"):
            return row
        assert self.domain is not None  # set by `explainers`
        ours = (self.domain, self.classifier)
        if name in METHODS:
            row = _method(name, row) if is_settings(row) else row
        if hasattr(row, "attribute"):
            return AttributionExplainer(*ours, row, self.background)
        if name == "all ones":
            return _with_settings(partial(AllOnesExplainer, *ours), row)
        settings: dict[str, Any] = {"seed": self.seed}
        if name == "random blocks":
            sizes = (size for kind, size in BLOCKS if isinstance(self.domain, kind))
            settings["block"] = next(sizes, BLOCK)
        settings |= row
        settings["reference"] = self._open(self._reference(name))
        return _with_settings(RandomExplainer, settings)

    def _is_random(self, name: str) -> bool:
        return name in RANDOM and is_settings(self.rows[name])

    def _reference(self, name: str) -> str:
        """Return the row whose mask means a random row copies.

        Default: the first row that is an explainer, not a method or control by name.
        """
        reference = self.rows[name].get("reference")
        if reference is None:
            reference = next((n for n, r in self.rows.items() if _explains(r)), None)
        if not _explains(self.rows.get(reference)):
            available = ", ".join(n for n, row in self.rows.items() if _explains(row))
            raise InputError(
                f"`reference` of {name!r} must be the name of a row with the results "
                f"folder of a training run, or with an object with `explain`; got "
                f"{reference!r}, available: {available or 'none'}"
            )
        return reference

    def _take_domain(self, names: list[str]) -> None:
        """Set the domain to that of the first of these rows that has one."""
        for name in names:
            row = self.rows[name]
            if isinstance(row, TrainedExplainer):
                row = self._opened[name] = row.open(self.classifier)
            self.domain = getattr(row, "domain", None)
            if self.domain is not None:
                return
        raise InputError("missing `domain`: set it, as no row is a trained explainer")


def is_settings(row: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a row holds settings for the method it is named after."""
    return isinstance(row, Mapping)


def _row(name: str, row: Any) -> Any:
    """Return a row as a `TrainedExplainer`, an object that explains, or settings."""
    if isinstance(row, str):
        return TrainedExplainer(row)
    if is_settings(row) and "folder" in row:
        return TrainedExplainer(**row)
    ours = is_settings(row) and (name in METHODS or name in CONTROLS)
    if ours or _explains(row) or hasattr(row, "attribute"):
        return row
    lower = {known.casefold(): known for known in (*METHODS, *CONTROLS)}
    close = difflib.get_close_matches(str(name).casefold(), lower, n=1)
    hint = f" Did you mean {lower[close[0]]!r}?" if close and is_settings(row) else ""
    raise InputError(
        f"unknown explainer '{name}': {row!r}. Known names are "
        f"{', '.join(lower.values())}; other rows need the results folder of a "
        f"training run, or an object with `explain`.{hint}"
    )


def _explains(row: object) -> bool:
    """Return whether a row is an explainer, or can be opened as one."""
    return isinstance(row, TrainedExplainer) or hasattr(row, "explain")


def _method(name: str, settings: Mapping[str, Any]) -> Any:
    """Build a method; `to_mask` may be a dict of settings of its default function."""
    kind, rule = METHODS[name], settings.get("to_mask")
    if is_settings(rule):
        settings = {**settings, "to_mask": partial(kind.keywords["to_mask"], **rule)}
    return _with_settings(kind, settings)


def _with_settings(kind: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
    """Build a method or control, with settings that override the defaults."""
    made = partial(kind, **settings)
    check_arguments(made)
    return made()
