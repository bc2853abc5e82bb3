"""Run options: SpeechBrain's, and those of our trainings."""

from dataclasses import dataclass

from speechbrain.utils.run_opts import RunOptions

__all__ = ["RunOptions", "TrainingOptions"]


@dataclass(frozen=True)
class TrainingOptions(RunOptions):
    """SpeechBrain's run options and `start_over`.

    Arguments
    ---------
    start_over : bool
        Move what the output folder holds aside, and train anew.
    """

    start_over: bool = False
