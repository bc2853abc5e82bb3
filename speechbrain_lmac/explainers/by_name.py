"""The explainers of a block of a table, by the names of its rows.

A row says what it is in a line of YAML:

    SmoothGrad: {n_samples: 20}        # a method of the papers; what differs from ours
    L-MAC: results/esc10_lmac/1234     # the folder of a training
    L2I, RT=0.4: {folder: results/esc10_l2i/1234, relevance_threshold: 0.4}
    random blocks: {reference: L-MAC}  # a control: masks as large as those of that row
    Mine: !new:mine.MyExplainer {}     # any object with `explain`, or with `attribute`

and `null` leaves a row out.
"""

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial

from speechbrain_lmac.domains import ClapMelDomain, LearnedDomain, MelDomain
from speechbrain_lmac.explainers.attribution import AttributionExplainer
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
from speechbrain_lmac.utils.errors import InputError, check_arguments

ABSOLUTE = {"to_mask": partial(absolute, quantile=1.0)}
POSITIVE = {"to_mask": partial(positive, quantile=1.0)}
DRAWN = {"n_samples": 50, "samples_per_batch": 10, "seed": 1234}
# The papers' methods, in the order of their tables, and our settings of them
# (docs/methods.md, baselines).
METHODS = {
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
# Frames and bins of a random block: 0.19 s by 500 Hz, by a tenth of the mel bands, by 8
# channels of a codec.
BLOCKS = ((LearnedDomain, (186, 8)), ((MelDomain, ClapMelDomain), (16, 8)))
BLOCK = (16, 32)


def open_explainers(
    rows: dict,
    classifier,
    domain=None,
    background=None,
    seed: int = 1234,
    only: list[str] | None = None,
) -> tuple:
    """Open the rows of a block.

    Arguments
    ---------
    rows : dict
        Name to what it is, see the head of the module.
    classifier : Classifier
        Frozen.
    domain : MaskDomain, optional
        Where all masks live. Without: that of the first training among the rows.
    background : callable, optional
        Waveforms (n, N) that SHAP compares with.
    seed : int
        Of the random masks.
    only : list of str, optional
        Names of rows that are wanted, also with `*` for any letters. Without: all.

    Returns
    -------
    explainers : dict
        Name to Explainer, in the order of the rows.
    domain : MaskDomain or None
        None where no row is wanted and none was given.

    Raises
    ------
    InputError
        For a name that is none of ours and has nothing that explains, a setting that a
        method does not have, and whatever `TrainedExplainer.open` refuses.
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
    """Rows, of which each is opened once, when it is needed."""

    def __init__(
        self,
        rows: dict[str, AllOnesExplainer | Saliency],
        classifier,
        domain,
        background,
        seed: int,
    ):
        self.rows = rows
        self.classifier = classifier
        self.domain = domain
        self.background = background
        self.seed = seed
        self._opened = {}

    def explainers(self, names: list[str]) -> dict:
        """Name to Explainer, of these rows."""
        random = {
            name: self._reference(name) for name in names if self._is_random(name)
        }
        if names and self.domain is None:
            self._take_domain([*names, *random.values(), *self.rows])
        for reference in random.values():  # a batch explained once for all
            if not isinstance(self._open(reference), Remembered):
                self._opened[reference] = Remembered(self._open(reference))
        return {name: self._open(name) for name in names}

    def _open(self, name: str):
        if name not in self._opened:
            self._opened[name] = self._made(name, self.rows[name])
        return self._opened[name]

    def _made(self, name: str, row):
        ours = (self.domain, self.classifier)
        if isinstance(row, TrainedExplainer):
            return row.open(self.classifier, self.domain)
        if hasattr(row, "explain"):
            return row
        if name in METHODS:
            row = _method(name, row) if is_settings(row) else row
        if hasattr(row, "attribute"):
            return AttributionExplainer(*ours, row, self.background)
        if name == "all ones":
            return _with_settings(partial(AllOnesExplainer, *ours), row)
        settings = {"seed": self.seed}
        if name == "random blocks":
            sizes = (size for kind, size in BLOCKS if isinstance(self.domain, kind))
            settings["block"] = next(sizes, BLOCK)
        settings |= row
        settings["reference"] = self._open(self._reference(name))
        return _with_settings(RandomExplainer, settings)

    def _is_random(self, name: str) -> bool:
        return name in RANDOM and is_settings(self.rows[name])

    def _reference(self, name: str) -> str:
        """The row that a random one is as large as: what it says, or the first one."""
        reference = self.rows[name].get("reference")
        if reference is None:
            reference = next((n for n, r in self.rows.items() if _explains(r)), None)
        if not _explains(self.rows.get(reference)):
            there = ", ".join(n for n, row in self.rows.items() if _explains(row))
            raise InputError(
                f"{name!r} needs the masks of another explainer as its reference, got "
                f"{reference!r}; there are: {there or 'none'}"
            )
        return reference

    def _take_domain(self, names: list[str]) -> None:
        """Take the domain of the first of these rows that has one."""
        for name in names:
            row = self.rows[name]
            if isinstance(row, TrainedExplainer):
                row = self._opened[name] = row.open(self.classifier)
            self.domain = getattr(row, "domain", None)
            if self.domain is not None:
                return
        raise InputError(
            "explainers without a training need the `domain` of their masks"
        )


def is_settings(row: dict | AllOnesExplainer | None) -> bool:
    """Whether a row has nothing but settings for what its name says."""
    return isinstance(row, Mapping)


def _row(name: str, row):
    """A row as what opens it: a trained one, an object, or the settings of ours."""
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
        f"'{name}' explains nothing, it is {row!r}; by their names there are "
        f"{', '.join(lower.values())}; others need the folder of a training, or "
        f"an object with `explain`.{hint}"
    )


def _explains(row) -> bool:
    """Whether a row is an explainer, or opens as one."""
    return isinstance(row, TrainedExplainer) or hasattr(row, "explain")


def _method(name: str, settings: dict[str, int]):
    """A method of the papers; of its rule for masks some settings may be others."""
    kind, rule = METHODS[name], settings.get("to_mask")
    if is_settings(rule):
        settings = {**settings, "to_mask": partial(kind.keywords["to_mask"], **rule)}
    return _with_settings(kind, settings)


def _with_settings(kind, settings: dict):
    """The method or control with these settings in place of ours."""
    made = partial(kind, **settings)
    check_arguments(made)
    return made()
