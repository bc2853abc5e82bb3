"""The parts of a training: checks, and the content of its checkpoints."""

from pathlib import Path
from typing import Any

import torch

from speechbrain_lmac.config.loading import require_keys
from speechbrain_lmac.config.training_keys import modules_of
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.training.schedules import Annealing
from speechbrain_lmac.utils.errors import InputError, check_counts

# The keys of a training's YAML; see hparams/esc10_lmac.yaml.
TRAINING_KEYS = (
    "modules",
    "opt_class",
    "lr_annealing",
    "epoch_counter",
    "checkpointer",
    "train_logger",
    "dataloader_options",
)
# The method that each of these parts must have, as SpeechBrain's have.
METHODS = {
    "epoch_counter": "__next__",
    "checkpointer": "save_and_keep_only",
    "train_logger": "log_stats",
}


def check_training(hparams: dict[str, Any], path: Path | str) -> None:
    """Raise if a key of a training is missing or invalid.

    Names in its `metrics`, if any, are replaced by the metrics.

    Raises
    ------
    InputError
        For missing keys, invalid modules, a schedule, counter, checkpointer or logger
        without the needed method, and unknown metrics.
    """
    require_keys(hparams, TRAINING_KEYS, path)
    modules = hparams["modules"]
    if not isinstance(modules, dict):
        raise InputError(f"modules must be a mapping of name to module, got {modules}")
    missing = [name for name in modules_of(hparams) if name not in modules]
    if missing:
        raise InputError(f"{path}: modules: missing keys {missing}")
    for name, module in modules.items():
        if not isinstance(module, torch.nn.Module):
            kind = type(module).__name__
            raise InputError(f"modules: {name} must be a torch.nn.Module, got {kind}")
    for name, needed in METHODS.items():
        if not hasattr(hparams[name], needed):
            kind = type(hparams[name]).__name__
            raise InputError(f"{name} must have the method {needed}, got {kind}")
    limit = getattr(hparams["epoch_counter"], "limit", 1)
    check_counts(**{"epoch_counter.limit": limit})
    Annealing(hparams["lr_annealing"])
    augment = hparams.get("augment")
    if augment is not None and not hasattr(augment, "waveforms"):
        raise InputError(
            "augment must be a speechbrain_lmac.data.augment.Augment with Augmenters "
            f"of SpeechBrain, got {type(augment).__name__}"
        )
    if "metrics" in hparams:
        hparams["metrics"] = metrics_by_name(hparams["metrics"])


def completed_checkpointer(hparams: dict[str, Any]) -> Any:
    """Return the YAML's checkpointer, with the missing parts of the training added.

    These are the epoch counter, the schedule if it has a state, and each module with
    parameters, by its name.
    """
    checkpointer, schedule = hparams["checkpointer"], hparams["lr_annealing"]
    recoverables = checkpointer.recoverables
    expected = {"counter": hparams["epoch_counter"]}
    if hasattr(schedule, "load"):
        expected["schedule"] = schedule
    for name, module in hparams["modules"].items():
        if any(True for _ in module.parameters()):
            expected[name] = module
    for name, part in expected.items():
        if not any(part is other for other in recoverables.values()):
            checkpointer.add_recoverable(name, part)
    for name, part in recoverables.items():
        # In checkpoints of version 0.3 a cyclic schedule has no state.
        optional = part is schedule and hasattr(schedule, "on_batch_end")
        checkpointer.optional_recoverables[name] = optional
    return checkpointer
