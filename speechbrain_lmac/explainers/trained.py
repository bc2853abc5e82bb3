"""Explainers opened from the results folder of a training."""

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
  Train it with the script named in its YAML (train_lmac.py, ...), or name the results
  folder of a training."""


class TrainedExplainer:
    """The explainer of a training of L-MAC, LMAC-TD, LMAC-ZS or L2I.

    Domain, interpreter and kind of explainer are those of the training's
    `hyperparams.yaml`; the weights are those of its `interpreter.ckpt` and, where a
    codec was trained along, of `codec`. The classifier is an argument of `open`, so
    that all explainers of a table share it.

    Arguments
    ---------
    folder : str or Path
        The output folder of the training, "results/esc10_lmac/1234".
    **settings
        Settings of the explainer that replace those of the training:
        `relevance_threshold` of an `L2IExplainer`.
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
            Frozen; the one that the training explained.
        domain : MaskDomain, optional
            Of the other explainers; it must equal that of the training.

        Returns
        -------
        explainer : Explainer
            With `domain`, `classifier` and `interpreter`.

        Raises
        ------
        InputError
            When the training is missing or unfinished, or was for another classifier
            or in another domain; and for an unknown setting of its explainer.
        """
        own, interpreter, kind = self._built(classifier)
        if domain is None:
            domain = own
        elif fingerprint_of(domain) != fingerprint_of(own):
            raise InputError(
                f"{self.folder} was trained in another domain ({_named(own)}) than the "
                f"others of its block ({_named(domain)}): move it to another block"
            )
        try:
            return kind(domain, classifier, interpreter, **self.settings)
        except TypeError as error:
            names = ", ".join(self.settings)
            raise InputError(
                f"invalid settings of the explainer of {self.folder}: {names} ({error})"
            ) from error

    def _built(
        self, classifier: Classifier
    ) -> tuple[MaskDomain, TrainedInterpreter, Callable[..., Explainer]]:
        """Build domain, interpreter with its weights, and kind of explainer."""
        path, checkpoint = self.folder / SETTINGS_FILE, self.folder / INTERPRETER_FILE
        if not path.is_file():
            raise InputError(f"no trained interpreter at {self.folder}.{ADVICE}")
        if not checkpoint.is_file():
            raise InputError(
                f"no trained interpreter at {self.folder}: missing file "
                f"{INTERPRETER_FILE}, written at the end of a training.{ADVICE}"
            )
        parts = build_keys(path, PARTS, _parts_of(classifier))
        missing = [name for name in ("domain", "interpreter") if name not in parts]
        if missing:
            raise InputError(
                f"{path} is not of an interpreter's training, missing keys: {missing}."
                f"{ADVICE}"
            )
        domain = parts["domain"]
        if (self.folder / "codec" / WEIGHTS_FILE).is_file():  # trained along
            load_weights(domain.codec, self.folder / "codec" / WEIGHTS_FILE)
            domain.codec.requires_grad_(False)
        interpreter = TrainedInterpreter(parts["interpreter"], checkpoint)
        return domain, interpreter, parts.get("explainer", AmortizedExplainer)


def _parts_of(classifier: Classifier) -> dict[str, Any]:
    """Return a classifier and the parts of it that have own keys in YAML files."""
    parts: dict[str, Any] = {"classifier": classifier}
    if hasattr(classifier, "model"):
        parts["model"] = classifier.model
    clap = getattr(classifier, "clap", None)
    while clap is not None:  # a MelClap has a CLAP inside
        parts["clap"], clap = clap, getattr(clap, "clap", None)
    return parts


def _named(domain: MaskDomain) -> str:
    """Describe a domain, for errors."""
    rate = getattr(domain, "sample_rate", None)
    return type(domain).__name__ + (f" at {rate} Hz" if rate else "")
