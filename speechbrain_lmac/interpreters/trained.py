"""A trained interpreter, ready to explain."""

from pathlib import Path

import torch

from speechbrain_lmac.hub.weights import fetch, load_weights, save_weights
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import weights_hash

INTERPRETER_FILE = "interpreter.ckpt"
ADVICE = """\
  Train it with the script that its YAML names (train_lmac.py, ...), or name a file,
  a folder with {filename} in it, or a hub id: --{option} SOURCE."""


def save_interpreter(interpreter, path: Path | str, classifier: str) -> None:
    """Write the weights of an interpreter, and for which classifier they are.

    Arguments
    ---------
    interpreter : torch.nn.Module
    path : str or Path
    classifier : str
        `hash_of_classifier` of the one that it was trained for.
    """
    save_weights(interpreter, path, classifier=classifier)


def hash_of_classifier(classifier) -> str:
    """A hash of a classifier's weights; of a CLAP's, whatever its prompts are.

    Arguments
    ---------
    classifier : Classifier
        As it was loaded: `batch_norm_folding.fold_batch_norms` gives it other weights.

    Returns
    -------
    fingerprint : str
        16 hexadecimal digits.
    """
    return weights_hash(getattr(classifier, "clap", classifier))


def check_classifier(interpreter, classifier) -> None:
    """Refuse a classifier that an interpreter was not trained for.

    Arguments
    ---------
    interpreter : torch.nn.Module
        A `TrainedInterpreter` knows its classifier, if its checkpoint says so; others
        pass.
    classifier : Classifier
        The one to be explained.

    Raises
    ------
    InputError
        Naming the checkpoint.
    """
    if isinstance(interpreter, TrainedInterpreter):
        interpreter.check_classifier(classifier)


def check_trained_for(expected: str | None, checkpoint: Path | str, classifier) -> None:
    """Raise `InputError` unless a classifier has the expected hash; None: any has.

    Arguments
    ---------
    expected : str or None
        `hash_of_classifier` of the one that an interpreter was trained for.
    checkpoint : str or Path
        Of the interpreter, for the error.
    classifier : Classifier
    """
    got = expected if expected is None else hash_of_classifier(classifier)
    if got != expected:
        raise InputError(
            f"{checkpoint} was trained for another classifier: weights {expected} "
            f"expected, got {got}. Name that classifier (--classifier_source, "
            "--clap_source), or train the interpreter again"
        )


def load_interpreter(
    interpreter,
    source: Path | str,
    option: str = "interpreter_checkpoint",
    classifier=None,
) -> str:
    """Load the weights of a trained interpreter in place.

    Arguments
    ---------
    interpreter : torch.nn.Module
        As it was trained.
    source : str
        `interpreter.ckpt` as train_lmac.py and train_l2i.py write it, a folder that
        holds it, or a hub id ("user/name").
    option : str
        The key that names the source, for the error.
    classifier : Classifier, optional
        The one to be explained: refused where the weights are known to be for another.

    Returns
    -------
    trained_for : str or None
        `hash_of_classifier` of the classifier that it was trained for, if known.

    Raises
    ------
    InputError
        When there is no such file, or it does not fit.
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
    trained_for = getattr(load_weights(interpreter, path), "classifier", None)
    if classifier is not None:
        check_trained_for(trained_for, source, classifier)
    return trained_for


class TrainedInterpreter(torch.nn.Module):
    """An interpreter with the weights of a checkpoint, in eval mode, frozen.

    Arguments
    ---------
    interpreter : torch.nn.Module
        As it was trained.
    checkpoint : str
        `interpreter.ckpt`, a folder that holds it, or a hub id; see
        `load_interpreter`.

    Raises
    ------
    InputError
        When there is no such file, or it does not fit.
    """

    def __init__(self, interpreter, checkpoint: Path | str):
        super().__init__()
        self._checkpoint = str(checkpoint)  # no setting: fingerprints leave it out
        self._trained_for = load_interpreter(interpreter, checkpoint)
        self.interpreter = interpreter.requires_grad_(False)
        self.eval()

    def check_classifier(self, classifier) -> None:
        """Raise InputError if it is known to be trained for another classifier."""
        check_trained_for(self._trained_for, self._checkpoint, classifier)

    @property
    def dictionary(self):
        """The spectra of an L2I interpreter; others have none."""
        return self.interpreter.dictionary

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded,
        condition: torch.Tensor | None = None,
    ):
        """Hidden maps to what the interpreter makes of them."""
        return self.interpreter(hidden, encoded, condition)
