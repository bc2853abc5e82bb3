"""`training.json`: scores and resources of a finished training."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from speechbrain.utils.distributed import if_main_process

from speechbrain_lmac.interpreters.trained import save_interpreter
from speechbrain_lmac.plots.charts import write_confusion
from speechbrain_lmac.utils.csv_files import read_csv
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.hashing import weights_hash
from speechbrain_lmac.utils.system import command_line, versions

if TYPE_CHECKING:
    import pandas as pd

    from speechbrain_lmac.training.base_brain import RecordingBrain
    from speechbrain_lmac.training.brain import ClassificationBrain, InterpreterBrain

logger = logging.getLogger(__name__)

# Written last: it marks a finished training.
RECORD_FILE = "training.json"


def write_record(
    brain: "RecordingBrain",
    folder: Path,
    module: torch.nn.Module,
    argv: list[str],
    save: Callable[[], None],
    before: Mapping[str, float] | None = None,
) -> bool:
    """Save the trained weights, then write their `training.json`.

    Arguments
    ---------
    brain : RecordingBrain
        After its test, with the tested weights.
    folder : Path
        The output folder.
    module : torch.nn.Module
        The trained module.
    argv : list of str
        The arguments of the command.
    save : callable
        Writes the weights, without arguments. It is called first: a record always
        belongs to the weights beside it.
    before : dict, optional
        Scores from before the training.

    Returns
    -------
    written : bool
        False, and nothing is saved, in debug mode and in all processes but the main
        one.
    """
    if brain.debug or not if_main_process():
        return False
    save()
    epochs = read_csv(folder / "epochs.csv", ["unfit"])
    unfit, tested = unfit_epochs(epochs), brain.loaded_epoch()
    record = {
        "command": command_line(argv),
        **(before or {}),
        "epochs": int(epochs["epoch"].max()),
        "epoch_tested": tested,
        "unfit": None if tested is None else unfit.get(tested),
        "unfit_epochs": list(unfit),
        "seconds_per_epoch": float(epochs["seconds"].median()),
        "seconds": float(epochs["seconds"].sum()),
        "peak_memory_mib": float(epochs["peak_memory_mib"].max()),
        "parameters": sum(p.numel() for p in module.parameters()),
        "weights": weights_hash(module),
        "test": brain.test_means,
        "versions": versions(),
    }
    write_text(json.dumps(record, indent=2) + "\n", folder / RECORD_FILE)
    if record["unfit"] is not None:
        logger.warning(
            "every epoch of this training is unfit; the tested one: %s",
            record["unfit"],
        )
    return True


def write_classifier(
    brain: "ClassificationBrain", hparams: dict[str, Any], argv: list[str]
) -> bool:
    """Save a classifier: `write_record`, class names, confusion matrix.

    Arguments
    ---------
    brain, argv
        See `write_record`.
    hparams : dict
        The experiment: `model`, `labels`, `output_folder`.

    Returns
    -------
    written : bool
        See `write_record`.
    """
    model, folder = hparams["model"], Path(hparams["output_folder"])

    def save() -> None:
        model.save(hparams["labels"], folder / "classifier")
        write_confusion(brain.confusion, hparams["labels"], folder)

    return write_record(brain, folder, model, argv, save)


def write_interpreter(
    brain: "InterpreterBrain | RecordingBrain",
    hparams: dict[str, Any],
    argv: list[str],
    before: Mapping[str, float] | None = None,
    save_also: Callable[[], None] | None = None,
) -> bool:
    """Save an interpreter: `write_record`, and the hash of its classifier.

    Arguments
    ---------
    brain, argv, before
        See `write_record`.
    hparams : dict
        The experiment: `interpreter`, `interpreter_checkpoint`, `output_folder`.
    save_also : callable, optional
        Writes other trained parts, without arguments.

    Returns
    -------
    written : bool
        See `write_record`.
    """
    interpreter = hparams["interpreter"]

    def save() -> None:
        if save_also is not None:
            save_also()
        save_interpreter(
            interpreter, hparams["interpreter_checkpoint"], brain.classifier_hash
        )

    folder = Path(hparams["output_folder"])
    return write_record(brain, folder, interpreter, argv, save, before)


def unfit_epochs(epochs: "pd.DataFrame") -> dict[int, str]:
    """Return the epochs that are unfit to be the best one, with the reasons.

    Arguments
    ---------
    epochs : pandas.DataFrame
        `epochs.csv`.

    Returns
    -------
    reasons : dict
        Epoch to reason.

    Example
    -------
    >>> import pandas as pd
    >>> unfit_epochs(pd.DataFrame({"epoch": [1, 2], "unfit": ["masks all 0", None]}))
    {1: 'masks all 0'}
    """
    if "unfit" not in epochs:  # of an earlier version
        return {}
    unfit = epochs[epochs["unfit"].notna()]
    return dict(zip(unfit["epoch"].astype(int).tolist(), unfit["unfit"], strict=True))


def read_training(folder: Path | str) -> dict[str, Any]:
    """Return the record of a finished training.

    Arguments
    ---------
    folder : str or Path
        Its output folder.

    Returns
    -------
    record : dict
        The content of `training.json`.

    Raises
    ------
    InputError
        If the training is not finished.
    """
    path = Path(folder) / RECORD_FILE
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if "test" not in record:
        raise InputError(
            f"the training in {folder} is not finished: run the same command again to "
            "resume it"
        )
    return record


def check_publishable(
    record: Mapping[str, Any], module: torch.nn.Module, folder: Path | str
) -> None:
    """Raise if the weights of a training should not be published.

    Arguments
    ---------
    record : dict
        From `read_training`. Records of earlier versions, with fewer fields, pass.
    module : torch.nn.Module
        The trained module, with the weights of the folder.
    folder : str or Path
        For the message.

    Raises
    ------
    InputError
        If the tested epoch was unfit (dead masks), or if the record does not match the
        weights beside it.
    """
    if record.get("unfit"):
        raise InputError(
            f"{folder}: cannot publish, every epoch is unfit; the tested one: "
            f"{record['unfit']}. Train again with a lower learning rate, other loss "
            "weights or another seed"
        )
    if "weights" in record and record["weights"] != weights_hash(module):
        raise InputError(
            f"{Path(folder) / RECORD_FILE} does not match the weights beside it: run "
            "the training command again to test them"
        )
