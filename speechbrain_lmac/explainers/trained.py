"""The explainer of a finished training, opened from its folder of results."""

from pathlib import Path

from speechbrain_lmac.config.rebuilding import build_keys
from speechbrain_lmac.domains.codec import WEIGHTS_FILE
from speechbrain_lmac.explainers.amortized import AmortizedExplainer
from speechbrain_lmac.hub.weights import load_weights
from speechbrain_lmac.interpreters.trained import INTERPRETER_FILE, TrainedInterpreter
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import fingerprint_of

SETTINGS_FILE = "hyperparams.yaml"
PARTS = ("domain", "interpreter", "explainer")
ADVICE = """
  Train it with the script that its YAML names (train_lmac.py, ...), or name the folder
  of results of a training."""


class TrainedExplainer:
    """What a training of L-MAC, LMAC-TD, LMAC-ZS or L2I explains with.

    Domain, interpreter and kind of explainer are built as `hyperparams.yaml` of the
    training says; the weights are those of its `interpreter.ckpt` and, where a codec
    was trained along, of `codec`. The classifier comes from outside, so that all
    explainers of a table share it.

    Arguments
    ---------
    folder : str or Path
        The output folder of the training, "results/esc10_lmac/1234".
    **settings
        Of the explainer, in place of those of the training: `relevance_threshold` of
        an `L2IExplainer`.
    """

    def __init__(self, folder: Path | str, **settings):
        self.folder = Path(folder).expanduser()
        self.settings = settings

    def open(self, classifier, domain=None):
        """Build the explainer and load its weights.

        Arguments
        ---------
        classifier : Classifier
            Frozen; the one that the training explained.
        domain : MaskDomain, optional
            That of others beside it, shared if it is the training's own.

        Returns
        -------
        explainer : Explainer
            With `domain`, `classifier` and `interpreter`.

        Raises
        ------
        InputError
            When there is no training, or none that is finished; when it was one of
            another classifier, or in another domain; and for a setting that its
            explainer does not have.
        """
        own, interpreter, kind = self._built(classifier)
        if domain is None:
            domain = own
        elif fingerprint_of(domain) != fingerprint_of(own):
            raise InputError(
                f"{self.folder} was trained in another domain ({_named(own)}) than the "
                f"others of its block ({_named(domain)}): give it another block"
            )
        try:
            return kind(domain, classifier, interpreter, **self.settings)
        except TypeError as error:
            given = ", ".join(self.settings)
            raise InputError(
                f"the explainer of {self.folder} cannot have the settings {given} "
                f"({error})"
            ) from error

    def _built(self, classifier) -> tuple:
        """Domain, interpreter with its weights, and kind of explainer."""
        path, checkpoint = self.folder / SETTINGS_FILE, self.folder / INTERPRETER_FILE
        if not path.is_file():
            raise InputError(f"no trained interpreter at {self.folder}.{ADVICE}")
        if not checkpoint.is_file():
            raise InputError(
                f"no trained interpreter at {self.folder}: there is no "
                f"{INTERPRETER_FILE}, which a training writes at its end.{ADVICE}"
            )
        parts = build_keys(path, PARTS, _parts_of(classifier))
        missing = [name for name in ("domain", "interpreter") if name not in parts]
        if missing:
            raise InputError(
                f"{path} lacks the keys {missing}: it is of no training of an "
                f"interpreter.{ADVICE}"
            )
        domain = parts["domain"]
        if (self.folder / "codec" / WEIGHTS_FILE).is_file():  # it was trained along
            load_weights(domain.codec, self.folder / "codec" / WEIGHTS_FILE)
            domain.codec.requires_grad_(False)
        interpreter = TrainedInterpreter(parts["interpreter"], checkpoint)
        return domain, interpreter, parts.get("explainer", AmortizedExplainer)


def _parts_of(classifier) -> dict:
    """A classifier, and what YAML files name of it by keys of their own."""
    parts = {"classifier": classifier}
    if hasattr(classifier, "model"):
        parts["model"] = classifier.model
    clap = getattr(classifier, "clap", None)
    while clap is not None:  # a MelClap is one around a CLAP
        parts["clap"], clap = clap, getattr(clap, "clap", None)
    return parts


def _named(domain) -> str:
    """A domain, for errors."""
    rate = getattr(domain, "sample_rate", None)
    return type(domain).__name__ + (f" at {rate} Hz" if rate else "")
