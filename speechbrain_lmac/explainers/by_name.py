"""The explainers of a block of a table, by the names of its rows.

A row is a line of YAML:

    SmoothGrad: {n_samples: 20}        # a method of `METHODS`; overrides its settings
    L-MAC: results/esc10_lmac/1234     # the results folder of a training run
    L2I, RT=0.4: {folder: results/esc10_l2i/1234, relevance_threshold: 0.4}
    random blocks: {reference: L-MAC}  # a control: random masks with that row's means
    GradCAM, block 3: {kind: GradCAM, layer: 3}  # a second row of a method or control
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
from speechbrain_lmac.explainers.bounds import (
    EnergyExplainer,
    IdealMask,
    OtherClipMask,
    log_magnitude,
    magnitude,
)
from speechbrain_lmac.explainers.cam import GradCAM, GradCAMPlusPlus, LayerCAM
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
from speechbrain_lmac.explainers.optimised import BestMask, WrongClassMask
from speechbrain_lmac.explainers.perturbation import Lime, Occlusion, Rise
from speechbrain_lmac.explainers.to_mask import absolute, positive
from speechbrain_lmac.explainers.trained import TrainedExplainer
from speechbrain_lmac.types import Classifier, Explainer, MaskDomain
from speechbrain_lmac.utils.errors import InputError, check_arguments

ABSOLUTE: dict[str, Any] = {"to_mask": partial(absolute, quantile=1.0)}
POSITIVE: dict[str, Any] = {"to_mask": partial(positive, quantile=1.0)}
DRAWN: dict[str, Any] = {"n_samples": 50, "samples_per_batch": 10, "seed": 1234}
PATCHES: dict[str, Any] = {"patch": (32, 16), "masks_per_batch": 16}
# The papers' methods, in the order of their tables, then others, and our settings
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
    "LayerCAM": partial(LayerCAM, **POSITIVE),
    "Occlusion": partial(Occlusion, **PATCHES, **POSITIVE),
    "LIME": partial(Lime, **PATCHES, n_samples=200, seed=1234, **POSITIVE),
    "RISE": partial(Rise, **PATCHES, n_samples=500, share=0.5, seed=1234, **POSITIVE),
}
RANDOM = ("random cells", "random blocks")
# Controls made from the mask of another row, their `reference`.
OF_REFERENCE: dict[str, Callable[..., Explainer]] = {
    "random cells": RandomExplainer,
    "random blocks": RandomExplainer,
    "energy": partial(EnergyExplainer, representation=log_magnitude),
    "energy of magnitudes": partial(EnergyExplainer, representation=magnitude),
    "other clip, same class": partial(OtherClipMask, same_class=True),
    "other clip, any class": partial(OtherClipMask, same_class=False),
    "wrong class": partial(WrongClassMask, equal_size=False),
    "wrong class, equal size": WrongClassMask,
    "equal-size optimum": BestMask,
}
OTHER_CLIPS = ("other clip, same class", "other clip, any class")
WRONG_CLASS = ("wrong class", "wrong class, equal size")
OPTIMISED = (*WRONG_CLASS, "equal-size optimum")
SEEDED = (*RANDOM, *OTHER_CLIPS, *WRONG_CLASS)
# Controls of their own.
OF_CLIPS: dict[str, Callable[..., Explainer]] = {
    "all ones": AllOnesExplainer,
    "ideal mask": partial(IdealMask, exponent=1),
    "ideal ratio mask": partial(IdealMask, exponent=2),
}
CONTROLS = (*OF_REFERENCE, *OF_CLIPS)
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
        references = {
            name: self._reference(name) for name in names if self._has_reference(name)
        }
        if names and self.domain is None:
            self._take_domain([*names, *references.values(), *self.rows])
        for reference in references.values():  # cache: explain each batch only once
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
            return self._open_trained(name, row)
        if hasattr(row, "explain"):
            return row
        assert self.domain is not None  # set by `explainers`
        ours = (self.domain, self.classifier)
        kind = _kind(name, row)
        if is_settings(row):
            row = {key: value for key, value in row.items() if key != "kind"}
            if kind in METHODS:
                row = _method(kind, row)
        if hasattr(row, "attribute"):
            return AttributionExplainer(*ours, row, self.background)
        if kind in OF_CLIPS:
            return _with_settings(partial(OF_CLIPS[kind], *ours), row)
        settings: dict[str, Any] = {"seed": self.seed} if kind in SEEDED else {}
        if kind == "random blocks":
            sizes = (size for kind, size in BLOCKS if isinstance(self.domain, kind))
            settings["block"] = next(sizes, BLOCK)
        if kind in OTHER_CLIPS:
            settings["clips"] = row.get("clips", self.background)
            if settings["clips"] is None:
                raise InputError(
                    f"{name!r} needs other clips: set `background` "
                    "(speechbrain_lmac.data.background.TrainingClips)"
                )
        if kind in OPTIMISED:
            settings |= {"domain": self.domain, "classifier": self.classifier}
        settings |= row
        settings["reference"] = self._open(self._reference(name))
        return _with_settings(OF_REFERENCE[kind], settings)

    def _open_trained(self, name: str, row: TrainedExplainer) -> Explainer:
        """Open a row with a training's results; errors begin with its name."""
        try:
            return row.open(self.classifier, self.domain)
        except InputError as error:
            raise InputError(f"row {name!r}: {error}") from error

    def _has_reference(self, name: str) -> bool:
        row = self.rows[name]
        return is_settings(row) and _kind(name, row) in OF_REFERENCE

    def _reference(self, name: str) -> str:
        """Return the row that a control refers to.

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
                row = self._opened[name] = self._open_trained(name, row)
            self.domain = getattr(row, "domain", None)
            if self.domain is not None:
                return
        raise InputError("missing `domain`: set it, as no row is a trained explainer")


def is_settings(row: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a row holds settings for the method it is named after."""
    return isinstance(row, Mapping)


def _kind(name: str, row: Any) -> str:
    """Return the name of the method or control of a row of settings."""
    return row.get("kind", name) if is_settings(row) else name


def _row(name: str, row: Any) -> Any:
    """Return a row as a `TrainedExplainer`, an object that explains, or settings."""
    if isinstance(row, str):
        return TrainedExplainer(row)
    if is_settings(row) and "folder" in row:
        return TrainedExplainer(**row)
    kind = _kind(name, row)
    ours = is_settings(row) and (kind in METHODS or kind in CONTROLS)
    if ours or _explains(row) or hasattr(row, "attribute"):
        return row
    lower = {known.casefold(): known for known in (*METHODS, *CONTROLS)}
    close = difflib.get_close_matches(str(kind).casefold(), lower, n=1)
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
