"""`settings.json`: the settings that trained weights depend on.

A training can be resumed or tested only with the settings that it began with.
`settings.json` has the resolved values of the YAML, and hashes of the data tables and
of the initial weights. It omits paths, device, workers, logging, checkpoint intervals
and metrics, which do not affect the weights.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from speechbrain_lmac.config.differences import UNSET, values_of
from speechbrain_lmac.config.run_options import RUN_KEYS, RunOptions
from speechbrain_lmac.config.training_keys import current_settings
from speechbrain_lmac.interpreters.trained import hash_of_classifier
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_atomically, write_text
from speechbrain_lmac.utils.hashing import file_hash, weights_hash
from speechbrain_lmac.utils.locks import HOLDER, LOCK
from speechbrain_lmac.utils.old_names import with_current_names

SETTINGS_FILE = "settings.json"
# A folder has a training if one of these exists.
TRACES = ("epochs.csv", "save/CKPT*")

# Keys at any depth that do not affect the weights, with all keys below them.
WITHOUT_EFFECT = {
    "metrics",
    "num_workers",
    "pairs_at_once",  # of LMAC-ZS: memory
    "checkpointer",
    "dataloader_options.num_workers",
    "dataloader_options.persistent_workers",
    "dataloader_options.pin_memory",
    "dataloader_options.prefetch_factor",
    "dataset.terms",
    "epoch_counter.limit",  # number_of_epochs
    "recipe",
    "train_logger",
}
# SpeechBrain's counter without early stopping: it does not affect the weights.
PLAIN_COUNTER = {"epoch_counter": "!new:speechbrain.utils.epoch_loop.EpochCounter"}
# Top-level paths that may change: `data` and `weights` have hashes of their files. Any
# other path, such as that of a user model's weights, is a setting.
SOURCES = {
    "classifier_source",
    "clap_source",
    "codec_source",
    "dictionary_checkpoint",
    "interpreter_checkpoint",
    "pretrained_interpreter",
    "trunk_source",
}
# May be raised, to train for more epochs.
EPOCHS = "number_of_epochs"
# Options of SpeechBrain that change the weights, or the choice of the best ones.
RUN_OPTIONS = (
    "precision",
    "auto_mix_prec",
    "bfloat16_mix_prec",
    "eval_precision",
    "max_grad_norm",
    "grad_accumulation_factor",
    "optimizer_step_limit",
    "remove_vector_weight_decay",
)


def settings_of(
    resolved: str, run_opts: RunOptions, n_processes: int = 1
) -> dict[str, Any]:
    """Return the values of an experiment that affect its weights.

    Arguments
    ---------
    resolved : str
        The experiment's YAML with all references resolved.
    run_opts : RunOptions
        SpeechBrain's.
    n_processes : int
        Number of training processes, each with `batch_size` clips.

    Returns
    -------
    settings : dict
        Dotted key to JSON value; `--option` to a value other than the default.

    Example
    -------
    >>> yaml = "lr: 0.1\\noutput_folder: out\\nopt: !name:torch.optim.SGD {lr: 0.1}"
    >>> settings_of(yaml, RunOptions(), n_processes=2)
    {'lr': 0.1, 'opt': '!name:torch.optim.SGD', 'opt.lr': 0.1, '--processes': 2}
    """
    repeated = _repeated_modules(resolved)
    values = {
        key: value
        for key, value in values_of(resolved).items()
        if (key, value) not in PLAIN_COUNTER.items()
        and ".".join(key.split(".")[:2]) not in repeated
    }
    paths = {
        str(value): f"<{key}>"
        for key, value in values.items()
        if "." not in key and _is_path(key) and isinstance(value, str) and value
    }
    settings = {
        key: _without_paths(value, paths)
        for key, value in values.items()
        # Run options are in `run_opts`, with their final values.
        if key.partition(".")[0] not in RUN_KEYS and not _is_left_out(key)
        if not _is_unset(key, value)
    }
    defaults = {name: getattr(RunOptions(), name) for name in RUN_OPTIONS}
    options = {name: getattr(run_opts, name) for name in RUN_OPTIONS}
    defaults["processes"], options["processes"] = 1, n_processes
    settings |= {
        f"--{n}": value for n, value in options.items() if value != defaults[n]
    }
    return settings


def _is_unset(key: str, value: Any) -> bool:
    """Return whether a setting equals a missing one: null at the top level."""
    return value is None and "." not in key


def _repeated_modules(resolved: str) -> set[str]:
    """Return the dotted keys of modules that another key refers to as well."""
    tree = YAML().load(resolved)
    modules = tree.get("modules")
    if not isinstance(modules, dict):
        return set()
    others: set[int] = set()

    def collect(node: Any) -> None:
        others.add(id(node))
        parts = node.values() if isinstance(node, dict) else node
        for part in parts if isinstance(node, dict | list) else ():
            collect(part)

    for key, node in tree.items():
        if key not in ("modules", "checkpointer"):
            collect(node)
    return {f"modules.{name}" for name, node in modules.items() if id(node) in others}


def _is_path(key: str) -> bool:
    """Return whether a value is a path to files hashed in `data` or `weights`."""
    first, _, last = key.rpartition(".")
    of_classifier = first == "classifier" and last in ("source", "checkpoint")
    return last.endswith("folder") or key in SOURCES or of_classifier


def _is_left_out(key: str) -> bool:
    """Return whether a value, or a key above it, has no effect on the weights."""
    names = key.split(".")
    prefixes = (".".join(names[:end]) for end in range(1, len(names) + 1))
    return any(prefix in WITHOUT_EFFECT or _is_path(prefix) for prefix in prefixes)


def _without_paths(value: Any, paths: dict[str, str]) -> Any:
    """Return a value for JSON, with `<key>` for a leading path in `paths`."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = str(value)
    for path, key in paths.items():
        if text == path or text.startswith(f"{path}/"):
            return key + text.removeprefix(path)
    return text


def initial_weights_hashes(hparams: dict[str, Any]) -> dict[str, str]:
    """Return hashes of the loaded weights that a training begins with.

    Arguments
    ---------
    hparams : dict
        The built experiment.

    Returns
    -------
    hashes : dict
        Part to hash. Random weights have none: the seed is a setting.
    """
    loaded, hashes = {}, {}
    if "classifier" in hparams:
        hashes["classifier"] = hash_of_classifier(hparams["classifier"])
    if hparams.get("codec_source") is not None:
        loaded["codec"] = hparams["codec"]
    if hparams.get("pretrained_interpreter") is not None:
        loaded["interpreter"] = hparams["interpreter"]
    if hasattr(hparams.get("interpreter"), "dictionary"):
        loaded["dictionary"] = hparams["interpreter"].dictionary
    hashes |= {name: weights_hash(module) for name, module in loaded.items()}
    if hparams.get("trunk_source") is not None:
        hashes["trunk"] = weights_hash(*hparams["clap"].frozen)
    return {f"weights of the {name}": value for name, value in hashes.items()}


def table_hashes(*manifests: Any) -> dict[str, str]:
    """Return hashes of the tables of a dataset and its noise.

    Arguments
    ---------
    *manifests : Manifests or None
        Manifests of the dataset and of the noise.

    Returns
    -------
    hashes : dict
        Table to hash.
    """
    return {
        f"{split} table of the {name}": file_hash(getattr(prepared, split))
        for name, prepared in zip(("dataset", "noise"), manifests, strict=False)
        if prepared is not None
        for split in ("train", "valid", "test")
    }


def has_training(folder: Path | str) -> bool:
    """Return whether a folder has files of a training."""
    return any(path for trace in TRACES for path in Path(folder).glob(trace))


def is_legacy(folder: Path | str) -> bool:
    """Return whether a folder has a training of an earlier version, without settings.

    Such a training is resumed with the current settings.
    """
    return has_training(folder) and not (Path(folder) / SETTINGS_FILE).exists()


def check_settings(folder: Path | str, **parts: dict[str, Any]) -> None:
    """Raise if the training in a folder had other settings.

    A training without `settings.json` passes, see `is_legacy`.

    Arguments
    ---------
    folder : str or Path
        The output folder.
    **parts : dict
        `settings`, `weights`, `data`: the current ones.

    Raises
    ------
    InputError
        The message has a line for each difference, and the remedy.
    """
    folder = Path(folder)
    if not has_training(folder) or is_legacy(folder):
        return
    path = folder / SETTINGS_FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path} ({error}): {_remedy('')}, or remove the file to "
            "resume with the current settings"
        ) from error
    lines = [
        line
        for name, values in parts.items()
        for line in differences(_current(stored.get(name, {})), values)
    ]
    if lines:
        raise InputError(
            f"{folder} has a training with other settings:\n  "
            + "\n  ".join(lines)
            + f"\n  {_remedy('To train with the current settings, ')}"
        )


def _current(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the current names of classes and keys."""
    return current_settings(
        {
            key: with_current_names(value)[0] if isinstance(value, str) else value
            for key, value in settings.items()
            if not _is_unset(key, value)
        }
    )


def _remedy(aim: str) -> str:
    return f"{aim}use another --output_folder, or --start_over to move this run aside"


def differences(stored: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Return a line for each value that differs; the number of epochs may be raised.

    Example
    -------
    >>> differences({"lr": 0.1, "number_of_epochs": 2}, {"number_of_epochs": 3})
    ['lr: 0.1 in the folder, now unset']
    >>> differences({"number_of_epochs": 2}, {"number_of_epochs": 1})
    ['number_of_epochs: 2 in the folder, now 1 (it can only be raised)']
    """
    lines = []
    for key in [*stored, *(key for key in current if key not in stored)]:
        old, new = stored.get(key, UNSET), current.get(key, UNSET)
        raised = ""
        if key.rpartition(".")[2] == EPOCHS and isinstance(old, int):
            if isinstance(new, int) and new >= old:
                continue
            raised = " (it can only be raised)"
        if old != new:
            lines.append(f"{key}: {old} in the folder, now {new}{raised}")
    return lines


def write_settings(folder: Path | str, **parts: dict[str, Any]) -> None:
    """Write `settings.json`: `settings`, `weights` and `data`."""
    text = json.dumps(parts, indent=2) + "\n"
    write_text(text, Path(folder) / SETTINGS_FILE)


@contextmanager
def restored_on_error(folder: Path) -> Iterator[None]:
    """Restore the files at the top of a folder if the body raises an `InputError`.

    Files that the body has created are not removed.
    """
    before = {path: path.read_bytes() for path in folder.glob("*") if path.is_file()}
    try:
        yield
    except InputError:
        for path, content in before.items():
            write_atomically(path, partial(Path.write_bytes, data=content))
        raise


@contextmanager
def moved_aside(folder: Path) -> Iterator[Path]:
    """Move the content of an output folder aside; back again if the body fails.

    Arguments
    ---------
    folder : Path
        Locked by this process; the lock is not moved.

    Yields
    ------
    aside : Path
        `FOLDER_before_DATE-TIME`, with the content.

    Raises
    ------
    InputError
        If it cannot be moved.
    """
    folder = folder.resolve()
    stem = f"{folder.name}_before_{time.strftime('%Y%m%d-%H%M%S')}"
    aside, number = folder.with_name(stem), 2
    while aside.exists():
        aside, number = folder.with_name(f"{stem}_{number}"), number + 1
    try:
        try:
            aside.mkdir()
            _move(folder, aside)
        except OSError as error:
            raise InputError(
                f"--start_over: cannot move {folder} to {aside} ({error}): use "
                "another --output_folder"
            ) from error
        yield aside
    except BaseException:
        if aside.is_dir():
            for path in _own(folder):
                if (aside / path.name).exists():  # created since
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            _move(aside, folder)
            aside.rmdir()
        raise


def _own(folder: Path) -> list[Path]:
    """Return the files and folders of an output folder, without its lock."""
    return [path for path in folder.iterdir() if path.name not in (LOCK, HOLDER)]


def _move(source: Path, target: Path) -> None:
    for path in _own(source):
        os.replace(path, target / path.name)
