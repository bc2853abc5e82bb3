"""Explainers loaded from the results folder of a training run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from speechbrain_lmac.config.rebuilding import build_keys
from speechbrain_lmac.domains.codec import WEIGHTS_FILE
from speechbrain_lmac.explainers.amortized import AmortizedExplainer
from speechbrain_lmac.hub.weights import load_weights
from speechbrain_lmac.interpreters.trained import INTERPRETER_FILE, TrainedInterpreter
from speechbrain_lmac.types import Classifier, Explainer, MaskDomain
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import fingerprint_of

SETTINGS_FILE = "hyperparams.yaml"
PARTS = ("domain", "interpreter", "explainer")
ADVICE = """
  Train one (the command is at the top of its YAML in hparams/), or, in the table's
  YAML, set the row to the results folder of another training run, or to null."""


class TrainedExplainer:
    """A trained explainer (L-MAC, LMAC-TD, LMAC-ZS or L2I), loaded from its folder.

    Domain, interpreter and explainer class are defined by `hyperparams.yaml` of the
    training run; weights are loaded from its `interpreter.ckpt` and, if a codec was
    trained jointly, from `codec`. The classifier is an argument of `open`: all
    explainers of a table share one.

    Arguments
    ---------
    folder : str or Path
        The output folder of the training run, e.g. "results/esc10_lmac/1234".
    **settings
        Arguments of the explainer that override those of the training run, e.g.
        `relevance_threshold` of `L2IExplainer`.
    """

    def __init__(self, folder: Path | str, **settings: Any) -> None:
        self.folder = Path(folder).expanduser()
        self.settings = settings

    def open(
        self, classifier: Classifier, domain: MaskDomain | None = None
    ) -> Explainer:
        """Build the explainer and load its weights.

        Arguments
        ---------
        classifier : Classifier
            The frozen classifier that the interpreter was trained for.
        domain : MaskDomain, optional
            Domain of the other explainers; it must equal that of the training run.

        Returns
        -------
        explainer : Explainer
            With `domain`, `classifier` and `interpreter`.

        Raises
        ------
        InputError
            When the training run is missing, unfinished, or used a different classifier
            or domain, and for an unknown setting of its explainer.
        """
        own, interpreter, kind = self._built(classifier)
        if domain is None:
            domain = own
        elif fingerprint_of(domain) != fingerprint_of(own):
            raise InputError(
                f"{self.folder} was trained in a different domain ({_named(own)}) from "
                f"the rest of its block ({_named(domain)}): move it to another block"
            )
        try:
            return kind(domain, classifier, interpreter, **self.settings)
        except TypeError as error:
            names = ", ".join(self.settings)
            raise InputError(
                f"invalid explainer settings {names} for {self.folder} ({error})"
            ) from error

    def _built(
        self, classifier: Classifier
    ) -> tuple[MaskDomain, TrainedInterpreter, Callable[..., Explainer]]:
        """Return domain, interpreter with its weights, and explainer class."""
        path, checkpoint = self.folder / SETTINGS_FILE, self.folder / INTERPRETER_FILE
        if not path.is_file():
            raise InputError(f"no trained interpreter at {self.folder}.{ADVICE}")
        if not checkpoint.is_file():
            raise InputError(
                f"no trained interpreter at {self.folder}: missing file "
                f"{INTERPRETER_FILE}, which is written at the end of training.{ADVICE}"
            )
        parts = build_keys(path, PARTS, _parts_of(classifier))
        missing = [name for name in ("domain", "interpreter") if name not in parts]
        if missing:
            raise InputError(
                f"{path} does not define an interpreter, missing keys: {missing}."
                f"{ADVICE}"
            )
        domain = parts["domain"]
        if (self.folder / "codec" / WEIGHTS_FILE).is_file():  # trained jointly
            load_weights(domain.codec, self.folder / "codec" / WEIGHTS_FILE)
            domain.codec.requires_grad_(False)
        interpreter = TrainedInterpreter(parts["interpreter"], checkpoint)
        return domain, interpreter, parts.get("explainer", AmortizedExplainer)


def _parts_of(classifier: Classifier) -> dict[str, Any]:
    """Return a classifier and its parts, by their keys in YAML files."""
    parts: dict[str, Any] = {"classifier": classifier}
    if hasattr(classifier, "model"):
        parts["model"] = classifier.model
    clap = getattr(classifier, "clap", None)
    while clap is not None:  # MelClap wraps a CLAP
        parts["clap"], clap = clap, getattr(clap, "clap", None)
    return parts


def _named(domain: MaskDomain) -> str:
    """Return class and sample rate of a domain, for error messages."""
    rate = getattr(domain, "sample_rate", None)
    return type(domain).__name__ + (f" at {rate} Hz" if rate else "")
