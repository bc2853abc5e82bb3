"""The keys of a training: checks, and the block `training:` of earlier versions."""

import difflib
import inspect
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, TaggedScalar

from speechbrain_lmac.config.nodes import parsed, tag_of, with_tag
from speechbrain_lmac.utils.errors import (
    InputError,
    check_arguments,
    check_counts,
    check_numbers,
)
from speechbrain_lmac.utils.old_names import current_name

BLOCK = "training"
# The removed class of the block, under the last name that it had.
CLASS = "speechbrain_lmac.training.experiment.Training"
SCHEDULES = "speechbrain_lmac.training.schedules."
# Former schedule of ours to the SpeechBrain class that replaced it, the defaults of
# the former arguments, and the new names of these.
REPLACED: dict[str, tuple[str, dict[str, float], dict[str, str]]] = {
    f"{SCHEDULES}PlateauSchedule": (
        "speechbrain.nnet.schedulers.ReduceLROnPlateau",
        {"factor": 0.5, "patience": 3, "first_epoch": 100},
        {"first_epoch": "dont_halve_until_epoch"},
    ),
    f"{SCHEDULES}TriangularSchedule": (
        "speechbrain.nnet.schedulers.CyclicLRScheduler",
        {},
        {},
    ),
}
TRIANGULAR = f"{SCHEDULES}TriangularSchedule"
# Modules that recipes train; current keys that replace the block.
TRAINED = ("judge", "interpreter", "autoencoder", "clap", "model")
KEYS = """
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
    limit: !ref <number_of_epochs>
checkpointer: !new:speechbrain_lmac.training.checkpoints.WholeCheckpointer
    checkpoints_dir: !ref <output_folder>/save
    recoverables:
        counter: !ref <epoch_counter>
train_logger: !new:speechbrain_lmac.training.loggers.TrainLoggers
    save_file: !ref <output_folder>/train_log.txt
dataloader_options:
    batch_size: !ref <batch_size>
    num_workers: !ref <num_workers>
"""
BLOCK_REMOVED = (
    "the block `training:` was removed. Its parts are top-level keys now: opt_class, "
    "lr_annealing (the schedule), epoch_counter, checkpointer, train_logger "
    "(tensorboard, wandb, samples_every, n_samples) and dataloader_options, beside "
    "number_of_epochs, batch_size, num_workers and lr; max_skipped_batches is the "
    "option --nonfinite_patience. See hparams/esc10_lmac.yaml"
)
# Fields of the former block to the current keys that replace them.
SETTINGS = {"opt_class": "opt_class", "schedule": "lr_annealing"}
NUMBERS = ("number_of_epochs", "batch_size", "lr")
# End of the message on an option without a close name.
EXPECTED = ", expected arguments of torch.utils.data.DataLoader"
FIELDS = {"num_workers", "max_skipped_batches", "samples_every", *NUMBERS, *SETTINGS}


def check_training_keys(hparams: dict[str, Any]) -> None:
    """Raise for an invalid number, optimizer or option of the loader.

    Arguments
    ---------
    hparams : dict
        A built experiment. Missing keys are skipped.

    Raises
    ------
    InputError
        Naming the first invalid key.
    """
    if "opt_class" not in hparams:
        return
    counts = {name: hparams[name] for name in NUMBERS if name in hparams}
    lr = {name: counts.pop(name) for name in ("lr",) if name in counts}
    check_counts(**counts)
    if "num_workers" in hparams:
        check_counts(low=0, num_workers=hparams["num_workers"])
    check_numbers(low=0, **lr)
    check_optimizer(hparams["opt_class"])
    check_loader(hparams.get("dataloader_options", {}))


def check_optimizer(opt_class: Callable[..., Any]) -> None:
    """Raise `InputError` unless a callable returns an optimizer of parameters."""
    import torch

    check_arguments(opt_class)
    try:
        opt_class([torch.nn.Parameter(torch.zeros(1))]).step()
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"opt_class must return an optimizer: {error}") from error


def check_loader(options: Any) -> None:
    """Raise `InputError` for invalid options of torch's DataLoader."""
    from torch.utils.data import DataLoader

    if not isinstance(options, dict):
        raise InputError(f"dataloader_options must be a mapping, got {options!r}")
    names = [*inspect.signature(DataLoader).parameters, "looped_nominal_epoch"]
    for name in options:
        if name not in names or name == "dataset":
            close = difflib.get_close_matches(str(name), names, 1)
            meant = f"; did you mean '{close[0]}'?" if close else ""
            raise InputError(
                f"dataloader_options: unknown option '{name}'{meant or EXPECTED}"
            )
    if "batch_size" in options and options.get("batch_sampler") is None:
        check_counts(batch_size=options["batch_size"])
    if "num_workers" in options:
        check_counts(low=0, num_workers=options["num_workers"])
    values = {name: options[name] for name in names if name in options}
    values.pop("looped_nominal_epoch", None)
    one_item: Any = [0]
    try:
        len(DataLoader(one_item, **values))
    except (TypeError, ValueError) as error:
        raise InputError(f"dataloader_options: {error}") from error


def lift_block(tree: CommentedMap, path: Path | str) -> bool:
    """Replace the block `training:` of an earlier version by the current keys.

    Arguments
    ---------
    tree : ruamel.yaml.comments.CommentedMap
        An experiment file. It is changed if it has such a block.
    path : str or Path
        Its name, for error messages.

    Returns
    -------
    lifted : bool
        Whether the tree had such a block.

    Raises
    ------
    InputError
        If the block includes a file that was removed, or is a mapping without a tag.
    """
    block = tree.get(BLOCK)
    tag = tag_of(block)
    if tag.startswith("!include:") and "training/" in tag:
        file = tag.removeprefix("!include:")
        raise InputError(
            f"{path} includes {file} of an earlier version: {BLOCK_REMOVED}"
        )
    if isinstance(block, dict) and not tag and set(block) & FIELDS:
        raise InputError(f"{path}: {BLOCK_REMOVED}")
    if current_name(tag.removeprefix("!new:")) != CLASS:
        return False
    place = list(tree).index(BLOCK)
    del tree[BLOCK]
    schedule, opt_class = block["schedule"], block["opt_class"]
    old = current_name(tag_of(schedule).removeprefix("!new:"))
    if old == TRIANGULAR:  # SpeechBrain's sets lr after the first step only
        opt_class["lr"] = schedule["base_lr"]
    if old in REPLACED:
        schedule = _replaced(schedule, *REPLACED[old])
    modules = "".join(f"    {name}: !ref <{name}>\n" for name in modules_of(tree))
    keys = parsed(f"modules:\n{modules}{KEYS}", "the keys of a training")
    recoverables = keys["checkpointer"]["recoverables"]
    if old in REPLACED:  # SpeechBrain's schedules have a state
        recoverables["schedule"] = _reference("lr_annealing")
    trained = next(iter(keys["modules"]))
    recoverables[trained] = _reference(trained)
    own = {"tensorboard": "use_tensorboard", "wandb": "wandb"}
    own |= {name: name for name in ("samples_every", "n_samples")}
    for new, name in own.items():
        if name in block:
            keys["train_logger"][new] = block[name]
    added = {name: keys.pop(name) for name in ("modules",)}
    added |= {"opt_class": opt_class, "lr_annealing": schedule, **keys}
    for name in (*NUMBERS, "num_workers"):
        if name in block and not _refers_to(block[name], name):
            tree[name] = block[name]
    tree.setdefault("num_workers", 0)
    if "max_skipped_batches" in block and block["max_skipped_batches"] != 3:
        added["nonfinite_patience"] = block["max_skipped_batches"]
    for name, node in reversed(added.items()):
        if name not in tree:
            tree.insert(place, name, node)
    return True


def current_settings(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a training, from `settings.json`, with current keys.

    Example
    -------
    >>> stored = {"training": "!new:...Training", "training.lr": 0.1}
    >>> stored |= {"training.schedule": "!new:mine.Schedule"}
    >>> current_settings(stored)
    {'lr': 0.1, 'lr_annealing': '!new:mine.Schedule'}
    """
    if BLOCK not in stored:
        return stored
    tag = str(stored.get(f"{BLOCK}.schedule", ""))
    old = current_name(tag.removeprefix("!new:"))
    kind, defaults, names = REPLACED.get(old, (old, {}, {}))
    settings: dict[str, Any] = {}
    for key, value in stored.items():
        first, _, rest = key.partition(".")
        if first != BLOCK:
            settings.setdefault(key, value)
            continue
        field, _, below = rest.partition(".")
        if field in NUMBERS:
            settings[field] = value
        elif field in SETTINGS:
            below = names.get(below, below) if field == "schedule" else below
            name = SETTINGS[field]
            settings[f"{name}.{below}" if below else name] = value
    if f"{BLOCK}.batch_size" in stored:
        settings["dataloader_options.batch_size"] = stored[f"{BLOCK}.batch_size"]
    if old in REPLACED:
        settings["lr_annealing"] = f"!new:{kind}"
        for name, value in defaults.items():
            settings.setdefault(f"lr_annealing.{names.get(name, name)}", value)
    if old == TRIANGULAR:
        settings["opt_class.lr"] = settings["lr_annealing.base_lr"]
    return settings


def _replaced(
    schedule: Any, kind: str, defaults: dict[str, float], names: dict[str, str]
) -> CommentedMap:
    """Return the node of a former schedule of ours as SpeechBrain's."""
    values = {**defaults, **(schedule if isinstance(schedule, dict) else {})}
    node = with_tag(CommentedMap(), f"!new:{kind}")
    node.update({names.get(name, name): value for name, value in values.items()})
    return node


def modules_of(keys: Container[str]) -> tuple[str, ...]:
    """Return the names of a training's modules: the trained one, and the domain."""
    names = TRAINED[:-1] if "classifier" in keys else TRAINED
    return (*[name for name in names if name in keys][:1], "domain")


def _refers_to(node: Any, name: str) -> bool:
    return tag_of(node) == "!ref" and node.value == f"<{name}>"


def _reference(name: str) -> TaggedScalar:
    node = TaggedScalar(f"<{name}>")
    return with_tag(node, "!ref")
