"""The settings that trained weights depend on, kept in the output folder.

A training that goes on in a folder, or is tested again there, must be the training that
began in it. `settings.json` holds the resolved values of the YAML, hashes of the data
tables and of the weights that the training starts from. Not among them is what changes
no weight: paths, device, workers, logging, checkpoint intervals, metrics.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML

from speechbrain_lmac.config.differences import values_of
from speechbrain_lmac.config.run_options import RUN_KEYS, RunOptions
from speechbrain_lmac.config.training_keys import current_settings
from speechbrain_lmac.interpreters.trained import hash_of_classifier
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_atomically, write_text
from speechbrain_lmac.utils.hashing import file_hash, weights_hash
from speechbrain_lmac.utils.locks import HOLDER, LOCK
from speechbrain_lmac.utils.old_names import with_current_names

SETTINGS_FILE = "settings.json"
# What a training leaves: the folder holds one as soon as one of these is there.
TRACES = ("epochs.csv", "save/CKPT*")

# Settings of any depth that no weight depends on; all below them is left out, too.
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
# The counter of SpeechBrain that only counts: what changes no weight is not told.
PLAIN_COUNTER = {"epoch_counter": "!new:speechbrain.utils.epoch_loop.EpochCounter"}
# Paths that may change, at the top: `data` and `weights` tell whether the same lies
# there. Any other path, as of weights that a model of the user's loads, is a setting.
SOURCES = {
    "classifier_source",
    "clap_source",
    "codec_source",
    "dictionary_checkpoint",
    "interpreter_checkpoint",
    "pretrained_interpreter",
    "trunk_source",
}
# It may be raised: the training goes on.
EPOCHS = "number_of_epochs"
# Options of SpeechBrain that change the weights, or which of them are the best.
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


def settings_of(resolved: str, run_opts, n_processes: int = 1) -> dict:
    """The values of an experiment that its weights depend on.

    Arguments
    ---------
    resolved : str
        The experiment's YAML with all references resolved.
    run_opts : RunOptions
        SpeechBrain's.
    n_processes : int
        How many processes train; `batch_size` is that of each.

    Returns
    -------
    settings : dict
        Dotted key to value, as JSON has it; `--option` to value where it is not
        SpeechBrain's default.

    Example
    -------
    >>> yaml = "lr: 0.1\\noutput_folder: out\\nopt: !name:torch.optim.SGD {lr: 0.1}"
    >>> settings_of(yaml, RunOptions(), n_processes=2)
    {'lr': 0.1, 'opt': '!name:torch.optim.SGD', 'opt.lr': 0.1, '--processes': 2}
    """
    doubles = _doubles(resolved)
    values = {
        key: value
        for key, value in values_of(resolved).items()
        if (key, value) not in PLAIN_COUNTER.items()
        and ".".join(key.split(".")[:2]) not in doubles
    }
    paths = {
        str(value): f"<{key}>"
        for key, value in values.items()
        if "." not in key and _is_path(key) and isinstance(value, str) and value
    }
    settings = {
        key: _without_paths(value, paths)
        for key, value in values.items()
        # The run options are in `run_opts`, with the values that count.
        if key.partition(".")[0] not in RUN_KEYS and not _is_left_out(key)
        if not _is_nothing(key, value)
    }
    usual = {name: getattr(RunOptions(), name) for name in RUN_OPTIONS}
    given = {name: getattr(run_opts, name) for name in RUN_OPTIONS}
    usual["processes"], given["processes"] = 1, n_processes
    settings |= {f"--{n}": value for n, value in given.items() if value != usual[n]}
    return settings


def _is_nothing(key: str, value) -> bool:
    """Whether a setting is as good as absent: a null at the top."""
    return value is None and "." not in key


def _doubles(resolved: str) -> set[str]:
    """The dotted keys of modules that also stand elsewhere in an experiment."""
    tree = YAML().load(resolved)
    modules = tree.get("modules")
    if not isinstance(modules, dict):
        return set()
    others = set()

    def collect(node) -> None:
        others.add(id(node))
        parts = node.values() if isinstance(node, dict) else node
        for part in parts if isinstance(node, dict | list) else ():
            collect(part)

    for key, node in tree.items():
        if key not in ("modules", "checkpointer"):
            collect(node)
    return {f"modules.{name}" for name, node in modules.items() if id(node) in others}


def _is_path(key: str) -> bool:
    """Whether the value is a path to what `data` and `weights` have hashes of."""
    first, _, last = key.rpartition(".")
    of_classifier = first == "classifier" and last in ("source", "checkpoint")
    return last.endswith("folder") or key in SOURCES or of_classifier


def _is_left_out(key: str) -> bool:
    """Whether a value, or what it is a part of, has no effect on the weights."""
    names = key.split(".")
    wholes = (".".join(names[:end]) for end in range(1, len(names) + 1))
    return any(whole in WITHOUT_EFFECT or _is_path(whole) for whole in wholes)


def _without_paths(value, paths: dict[str, str]):
    """A value that JSON can hold; where it begins with a path of the YAML, its key."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = str(value)
    for path, key in paths.items():
        if text == path or text.startswith(f"{path}/"):
            return key + text.removeprefix(path)
    return text


def weights_before(hparams: dict[str, int | str]) -> dict[str, str]:
    """Hashes of the weights that a training starts from, as they were loaded.

    Arguments
    ---------
    hparams : dict
        The built experiment.

    Returns
    -------
    hashes : dict
        Part to hash. Weights drawn at random are none: the seed is a
        setting.
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


def data_tables(*manifests) -> dict[str, str]:
    """Hashes of the tables of a dataset and its noise: what a clip is, and where.

    Arguments
    ---------
    *manifests : Manifests or None
        As the preparations return them.

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


def has_training(folder: Path) -> bool:
    """Whether a training has left something in a folder.

    Returns
    -------
    found : bool
    """
    return any(path for trace in TRACES for path in Path(folder).glob(trace))


def is_adopted(folder: Path) -> bool:
    """Whether a folder holds a training of an earlier version, without its settings.

    It is taken to have those that are given now.
    """
    return has_training(folder) and not (Path(folder) / SETTINGS_FILE).exists()


def check_settings(folder: Path, **parts) -> None:
    """Refuse to go on in a folder whose training had other settings.

    A folder with a training but without `settings.json` passes, see `is_adopted`.

    Arguments
    ---------
    folder : str or Path
        The output folder.
    **parts : dict
        `settings`, `weights`, `data`: what is known of them by now.

    Raises
    ------
    InputError
        With a line for each difference, and what to do.
    """
    folder = Path(folder)
    if not has_training(folder) or is_adopted(folder):
        return
    path = folder / SETTINGS_FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path} ({error}): {_ways_on('')}, or remove this file to go "
            "on with the settings that are given now"
        ) from error
    lines = [
        line
        for name, values in parts.items()
        for line in differences(_current(stored.get(name, {})), values)
    ]
    if lines:
        raise InputError(
            f"{folder} holds a training with other settings:\n  "
            + "\n  ".join(lines)
            + f"\n  {_ways_on('To train with these, ')}"
        )


def _current(settings: dict) -> dict:
    """Settings of an earlier version, with names of classes and keys as now."""
    return current_settings(
        {
            key: with_current_names(value)[0] if isinstance(value, str) else value
            for key, value in settings.items()
            if not _is_nothing(key, value)
        }
    )


def _ways_on(aim: str) -> str:
    moved = "which moves what is there aside"
    return f"{aim}give another --output_folder, or --start_over, {moved}"


def differences(stored: dict, given: dict) -> list[str]:
    """A line for each value that differs; the number of epochs may be raised.

    Example
    -------
    >>> differences({"lr": 0.1, "number_of_epochs": 2}, {"number_of_epochs": 3})
    ['lr: 0.1 there, nothing given']
    >>> differences({"number_of_epochs": 2}, {"number_of_epochs": 1})
    ['number_of_epochs: 2 there, 1 given (it can only be raised)']
    """
    lines = []
    for key in [*stored, *(key for key in given if key not in stored)]:
        old, new = stored.get(key, "nothing"), given.get(key, "nothing")
        raised = ""
        if key.rpartition(".")[2] == EPOCHS and isinstance(old, int):
            if isinstance(new, int) and new >= old:
                continue
            raised = " (it can only be raised)"
        if old != new:
            lines.append(f"{key}: {old} there, {new} given{raised}")
    return lines


def write_settings(folder: Path, **parts) -> None:
    """Write `settings.json`: `settings`, `weights` and `data`."""
    text = json.dumps(parts, indent=2) + "\n"
    write_text(text, Path(folder) / SETTINGS_FILE)


@contextmanager
def kept_unless_accepted(folder: Path) -> Iterator[None]:
    """Give a folder of small files its old content back when the body refuses.

    Arguments
    ---------
    folder : Path
        It may be missing; then it stays as the body leaves it.
    """
    before = {path: path.read_bytes() for path in folder.glob("*") if path.is_file()}
    try:
        yield
    except InputError:
        for path, content in before.items():
            write_atomically(
                path, lambda part, content=content: part.write_bytes(content)
            )
        raise


@contextmanager
def moved_aside(folder: Path) -> Iterator[Path]:
    """Move what is in an output folder aside; where the body fails, back again.

    Arguments
    ---------
    folder : Path
        Locked by this process; the lock stays.

    Yields
    ------
    aside : Path
        `FOLDER_before_DATE-TIME`, where everything is now.

    Raises
    ------
    InputError
        When it cannot be moved.
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
                f"--start_over: cannot move {folder} to {aside} ({error}): give "
                "another --output_folder"
            ) from error
        yield aside
    except BaseException:
        if aside.is_dir():
            for path in _own(folder):
                if (aside / path.name).exists():  # made anew
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            _move(aside, folder)
            aside.rmdir()
        raise


def _own(folder: Path) -> list[Path]:
    """What is in an output folder, without its lock."""
    return [path for path in folder.iterdir() if path.name not in (LOCK, HOLDER)]


def _move(source: Path, target: Path) -> None:
    for path in _own(source):
        os.replace(path, target / path.name)
