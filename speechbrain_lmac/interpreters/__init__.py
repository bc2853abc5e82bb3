"""Decoders from a classifier's hidden maps to a mask."""

from speechbrain_lmac.interpreters.conv import ConvInterpreter
from speechbrain_lmac.interpreters.frequency import MelToBins, SameBins
from speechbrain_lmac.interpreters.published import PublishedInterpreter
from speechbrain_lmac.interpreters.trained import TrainedInterpreter

__all__ = [
    "ConvInterpreter",
    "MelToBins",
    "PublishedInterpreter",
    "SameBins",
    "TrainedInterpreter",
]
