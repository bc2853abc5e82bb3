"""A trained interpreter, ready to explain."""

from pathlib import Path

import torch

from speechbrain_lmac.classifiers.checkpoint import load_weights
from speechbrain_lmac.errors import InputError


class TrainedInterpreter(torch.nn.Module):
    """An interpreter with the weights of a checkpoint, in eval mode, frozen.

    Arguments
    ---------
    interpreter : torch.nn.Module
        As it was trained.
    checkpoint : str
        `interpreter.ckpt` as train_lmac.py and train_l2i.py write it.

    Raises
    ------
    InputError
        When there is no such file, or it does not fit.
    """

    def __init__(self, interpreter, checkpoint):
        super().__init__()
        if not Path(checkpoint).is_file():
            raise InputError(
                f"no trained interpreter at {checkpoint}: train it with train_lmac.py "
                "(L2I: train_l2i.py) hparams/NAME.yaml, or name one with "
                "--interpreter_checkpoint FILE"
            )
        load_weights(interpreter, checkpoint)
        self.interpreter = interpreter.requires_grad_(False)
        self.eval()

    @property
    def dictionary(self):
        """The spectra of an L2I interpreter; others have none."""
        return self.interpreter.dictionary

    def forward(self, hidden, encoded, condition=None):
        """Hidden maps to what the interpreter makes of them."""
        return self.interpreter(hidden, encoded, condition)
