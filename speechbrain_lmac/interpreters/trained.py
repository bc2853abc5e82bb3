"""A trained interpreter, ready to explain."""

from pathlib import Path

import torch

from speechbrain_lmac.classifiers.checkpoint import fetch, load_weights
from speechbrain_lmac.errors import InputError

INTERPRETER_FILE = "interpreter.ckpt"
ADVICE = """\
  Train it with the script that its YAML names (train_lmac.py, ...), or name a file,
  a folder with {filename} in it, or a hub id: --{option} SOURCE."""


def load_interpreter(interpreter, source, option="interpreter_checkpoint"):
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
    load_weights(interpreter, path)


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

    def __init__(self, interpreter, checkpoint):
        super().__init__()
        load_interpreter(interpreter, checkpoint)
        self.interpreter = interpreter.requires_grad_(False)
        self.eval()

    @property
    def dictionary(self):
        """The spectra of an L2I interpreter; others have none."""
        return self.interpreter.dictionary

    def forward(self, hidden, encoded, condition=None):
        """Hidden maps to what the interpreter makes of them."""
        return self.interpreter(hidden, encoded, condition)
