"""Loading and saving of trained interpreters, checked against their classifier."""

from pathlib import Path
from typing import cast

import torch

from speechbrain_lmac.hub.weights import fetch, load_weights, save_weights
from speechbrain_lmac.interpreters.l2i import Interpretation
from speechbrain_lmac.interpreters.nmf import Dictionary
from speechbrain_lmac.types import Classifier, Encoded, Interpreter
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import weights_hash

INTERPRETER_FILE = "interpreter.ckpt"
ADVICE = """\
  Train one with the script named in its YAML (train_lmac.py, ...), or set
  --{option} to a file, a folder that contains {filename}, or a hub id."""


def save_interpreter(
    interpreter: torch.nn.Module, path: Path | str, classifier: str
) -> None:
    """Write the weights of an interpreter, with the hash of its classifier.

    Arguments
    ---------
    interpreter : torch.nn.Module
    path : str or Path
        The file to write.
    classifier : str
        `hash_of_classifier` of the classifier that the interpreter was trained for.
    """
    save_weights(interpreter, path, classifier=classifier)


def hash_of_classifier(classifier: Classifier) -> str:
    """Return a hash of a classifier's weights; of a CLAP, the prompts do not count.

    Arguments
    ---------
    classifier : Classifier
        As loaded: `batch_norm_folding.fold_batch_norms` would change the hash.

    Returns
    -------
    fingerprint : str
        16 hexadecimal digits.
    """
    module = getattr(classifier, "clap", classifier)  # a CLAP without its prompts
    assert isinstance(module, torch.nn.Module)
    return weights_hash(module)


def check_classifier(interpreter: Interpreter, classifier: Classifier) -> None:
    """Raise InputError if an interpreter was trained for a different classifier.

    Arguments
    ---------
    interpreter : Interpreter
        Checked if it is a `TrainedInterpreter` whose checkpoint stores the hash of its
        classifier; any other passes.
    classifier : Classifier
        The classifier to explain.

    Raises
    ------
    InputError
        Names the checkpoint.
    """
    if isinstance(interpreter, TrainedInterpreter):
        interpreter.check_classifier(classifier)


def check_trained_for(
    expected: str | None, checkpoint: Path | str, classifier: Classifier
) -> None:
    """Raise `InputError` unless a classifier has the expected hash.

    Arguments
    ---------
    expected : str or None
        `hash_of_classifier` of the classifier that an interpreter was trained for;
        None if unknown: any classifier passes.
    checkpoint : str or Path
        Checkpoint of the interpreter, for the error message.
    classifier : Classifier
    """
    got = expected if expected is None else hash_of_classifier(classifier)
    if got != expected:
        raise InputError(
            f"{checkpoint} was trained for a different classifier: expected weights "
            f"with hash {expected}, got {got}. Set --classifier_source or "
            "--clap_source to that classifier, or retrain the interpreter"
        )


def load_interpreter(
    interpreter: torch.nn.Module,
    source: Path | str,
    option: str = "interpreter_checkpoint",
    classifier: Classifier | None = None,
) -> str | None:
    """Load the weights of a trained interpreter, in place.

    Arguments
    ---------
    interpreter : torch.nn.Module
        With the architecture of the checkpoint.
    source : str or Path
        `interpreter.ckpt` of train_lmac.py or train_l2i.py, a folder that contains one,
        or a hub id ("user/name").
    option : str
        YAML key of the source, for the error message.
    classifier : Classifier, optional
        The classifier to explain, checked against the checkpoint.

    Returns
    -------
    trained_for : str or None
        `hash_of_classifier` of the classifier that it was trained for; None if unknown.

    Raises
    ------
    InputError
        When the file is missing or does not fit the interpreter, or the weights were
        trained for a different classifier.
    """
    advice = ADVICE.replace("{option}", option)
    path = Path(source)
    if path.suffix != ".ckpt":
        path = fetch(source, INTERPRETER_FILE, advice)
    elif not path.is_file():
        raise InputError(
            f"no trained interpreter at {source}.\n"
            + advice.format(filename=INTERPRETER_FILE)
        )
    trained_for: str | None = getattr(
        load_weights(interpreter, path), "classifier", None
    )
    if classifier is not None:
        check_trained_for(trained_for, source, classifier)
    return trained_for


class TrainedInterpreter(torch.nn.Module):
    """An interpreter with the weights of a checkpoint, in eval mode, frozen.

    Arguments
    ---------
    interpreter : torch.nn.Module
        With the architecture of the checkpoint.
    checkpoint : str or Path
        `interpreter.ckpt`, a folder that contains one, or a hub id; see
        `load_interpreter`.

    Raises
    ------
    InputError
        When the file is missing or does not fit.
    """

    def __init__(self, interpreter: torch.nn.Module, checkpoint: Path | str) -> None:
        super().__init__()
        self._checkpoint = str(checkpoint)  # not a setting: not in fingerprints
        self._trained_for = load_interpreter(interpreter, checkpoint)
        self.interpreter = interpreter.requires_grad_(False)
        self.eval()

    def check_classifier(self, classifier: Classifier) -> None:
        """Raise InputError if it was trained for a different classifier."""
        check_trained_for(self._trained_for, self._checkpoint, classifier)

    @property
    def dictionary(self) -> Dictionary:
        """Dictionary of an L2I interpreter; AttributeError for other interpreters."""
        return cast(Dictionary, self.interpreter.dictionary)

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded: Encoded,
        condition: torch.Tensor | None = None,
    ) -> torch.Tensor | Interpretation:
        """Call the interpreter.

        Arguments
        ---------
        hidden : tuple of torch.Tensor
            Maps (B, C', T', F') of the classifier, the shallowest first.
        encoded : Encoded
            With `rep` (B, T, F).
        condition : torch.Tensor, optional
            Classes (B,) or embeddings (B, D), for a conditioned interpreter.

        Returns
        -------
        result : torch.Tensor or Interpretation
            A mask (B, T, F) in 0..1; of L2I an `Interpretation`.
        """
        return self.interpreter(hidden, encoded, condition)
