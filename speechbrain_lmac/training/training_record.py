"""`training.json`: what a finished training has reached, and what it took."""

import json
import logging
from pathlib import Path

import pandas as pd
from speechbrain.utils.distributed import if_main_process

from speechbrain_lmac.interpreters.trained import save_interpreter
from speechbrain_lmac.plots.charts import write_confusion
from speechbrain_lmac.utils.csv_files import read_csv
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.hashing import weights_hash
from speechbrain_lmac.utils.system import command_line, versions

logger = logging.getLogger(__name__)

# What a training writes last: it is finished.
RECORD_FILE = "training.json"


def write_record(
    brain,
    folder: Path,
    module,
    argv: list[str],
    save,
    before: dict[str, float] | None = None,
) -> bool:
    """Save what was trained, then write `training.json`, which describes it.

    Arguments
    ---------
    brain : RecordingBrain
        After its test, with the weights that were tested.
    folder : Path
        The output folder.
    module : torch.nn.Module
        What was trained.
    argv : list
        The arguments of the command.
    save : callable
        Takes nothing and writes the weights. It is called first: a record beside
        weights is always theirs.
    before : dict, optional
        What was known before the training.

    Returns
    -------
    written : bool
        False, and nothing is saved, in debug mode (its results are not kept) and on
        all processes but the main one.
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
        "unfit": unfit.get(tested),
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
            "no epoch of this training was fit; the best one has %s", record["unfit"]
        )
    return True


def write_classifier(brain, hparams: dict[str, int | str], argv: list[str]) -> bool:
    """`write_record` of a classifier, with its class names and its confusions.

    Arguments
    ---------
    brain, argv
        As `write_record`.
    hparams : dict
        The experiment: `model`, `labels`, `output_folder`.

    Returns
    -------
    written : bool
        As `write_record`.
    """
    model, folder = hparams["model"], Path(hparams["output_folder"])

    def save() -> None:
        model.save(hparams["labels"], folder / "classifier")
        write_confusion(brain.confusion, hparams["labels"], folder)

    return write_record(brain, folder, model, argv, save)


def write_interpreter(
    brain,
    hparams: dict[str, int | str],
    argv: list[str],
    before: dict[str, float] | None = None,
    save_also=None,
) -> bool:
    """`write_record` of an interpreter, whose checkpoint knows its classifier.

    Arguments
    ---------
    brain, argv, before
        As `write_record`.
    hparams : dict
        The experiment: `interpreter`, `interpreter_checkpoint`, `output_folder`.
    save_also : callable, optional
        Takes nothing; writes what was trained along.

    Returns
    -------
    written : bool
        As `write_record`.
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


def unfit_epochs(epochs: pd.DataFrame) -> dict[int, str]:
    """The epochs that must not be the best one, and why.

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


def read_training(folder: Path) -> dict:
    """What a finished training has written down.

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
        When it is not finished.
    """
    path = Path(folder) / RECORD_FILE
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if "test" not in record:
        raise InputError(
            f"the training in {folder} is not finished: give its command once more, "
            "and it goes on"
        )
    return record


def check_publishable(record: dict, module, folder: Path) -> None:
    """Refuse a training whose weights should not be passed on.

    Arguments
    ---------
    record : dict
        From `read_training`. One of an earlier version lacks some fields, and passes.
    module : torch.nn.Module
        What was trained, with the weights of the folder.
    folder : str or Path
        For the message.

    Raises
    ------
    InputError
        When the best epoch was unfit (dead masks), or when the record describes other
        weights than those beside it.
    """
    if record.get("unfit"):
        raise InputError(
            f"{folder}: no epoch of the training was fit to be published, the best one "
            f"had {record['unfit']}. Train again with a lower learning rate, other "
            "weights of the objective, or another seed"
        )
    if "weights" in record and record["weights"] != weights_hash(module):
        raise InputError(
            f"{Path(folder) / RECORD_FILE} describes other weights than those beside "
            "it: give the training's command once more, which tests them again"
        )
