"""Loading of experiments: command line and YAML file, checks, and building."""

import difflib
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from speechbrain_lmac.config.building import build
from speechbrain_lmac.config.inheritance import (
    find_hparams,
    lineage,
    parents_of,
    text_of,
    top_level_keys,
)
from speechbrain_lmac.config.recipe_key import check_recipe
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.config.run_options import (
    RUN_KEYS,
    RunOptions,
    read_command,
    with_values_of,
)
from speechbrain_lmac.config.training_keys import check_training_keys
from speechbrain_lmac.utils.compiling import check_compile
from speechbrain_lmac.utils.devices import check_data_parallel, check_precision
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.old_names import with_current_names

logger = logging.getLogger(__name__)

# Top-level keys that the code reads. Any other key must be referred to in the file
# itself; else it is a misspelling.
KNOWN_KEYS = {
    "augment",
    "autoencoder",
    "background",
    "batch_size",
    "blocks",
    "brain",
    "captioned",
    "checkpointer",
    "checks",
    "clap",
    "classifier",
    "conditions",
    "curves",
    "dataloader_options",
    "dataset",
    "dictionary_checkpoint",
    "domain",
    "epoch_counter",
    "experiments",
    "explainer",
    "explainers",
    "interpreter",
    "interpreter_checkpoint",
    "judge",
    "label_smoothing",
    "learner",
    "lr_annealing",
    "masks",
    "methods",
    "metrics",
    "model",
    "modules",
    "n_clips",
    "noise",
    "objective",
    "opt_class",
    "options",
    "output_folder",
    "pairs_at_once",
    "pretrained_interpreter",
    "prompts",
    "published",
    "recipe",
    "reference",
    "repeats",
    "sanity",
    "seed",
    "shares",
    "silence_weight",
    "split",
    "targets",
    "together",
    "trained_by",
    "training",  # of version 0.3
    "train_logger",
    "trunk_source",
}

# Run options of SpeechBrain for all recipes; the others are for trainings.
GENERAL_OPTIONS = {"device", "distributed_backend", "log_config", "noprogressbar"}
# First words of the resolved file in an output folder.
RESOLVED = "# Generated"
# Matches the source of a generated file: a resolved one, or an experiment of a list.
ORIGIN = re.compile(rf"(?:{RESOLVED}|# Ablation of) .*\n# (\S.*)\n")


def load_experiment(
    argv: list[str], training: bool = False, recipe: str | None = None
) -> tuple[dict[str, Any], RunOptions, tuple[Path, str]]:
    """Read the command line and build the objects of the YAML file.

    Arguments
    ---------
    argv : list of str
        `FILE.yaml [--key value ...] [run options of SpeechBrain]`; see
        `run_options.read_command` and `resolving.resolve`.
    training : bool
        Whether the command trains, and has the option `--start_over`.
    recipe : str, optional
        The script that reads the file, such as `train_lmac`: the key `recipe` of the
        file must not name another. A script named `train_...` trains.

    Returns
    -------
    hparams : dict
        The built experiment.
    run_opts : RunOptions
        SpeechBrain's run options, from the command line or else from the top of the
        YAML.
    source : tuple
        (path of the YAML file, the resolved YAML text of `hparams`).

    Raises
    ------
    InputError
        For a missing or invalid file, a misspelt key or argument, an unavailable device
        or precision, and invalid values.
    """
    training = training or (recipe or "").startswith("train_")
    param_file, run_opts, overrides = read_command(argv, training)
    if not training:
        check_run_options(run_opts)
    path = find_hparams(param_file)
    if recipe is not None:
        check_recipe(path, recipe)
    check_keys(path)
    folders = extend_import_path(path)  # for functions of `!applyref:`, too
    resolved = in_current_names(resolve(path, overrides), path)
    supported = RUN_KEYS if training else GENERAL_OPTIONS
    run_opts = with_values_of(resolved, run_opts, supported)
    if run_opts.log_config is not None and not Path(run_opts.log_config).is_file():
        raise InputError(f"--log_config: missing file: {run_opts.log_config}")
    check_precision(run_opts)
    check_data_parallel(run_opts)
    check_compile(run_opts)
    check_checkpoints(run_opts)
    hparams = build(resolved, path, folders, overrides)
    check_sample_rates(hparams)
    check_training_keys(hparams)
    return hparams, run_opts, (path, resolved)


def in_current_names(text: str, path: Path | str) -> str:
    """Return the text of a YAML file with current names; warn of the old ones."""
    text, moved = with_current_names(text)
    if moved:
        named = "; ".join(f"{old} is now {new}" for old, new in moved.items())
        logger.warning("%s has names of an earlier version: %s", path, named)
    return text


def check_run_options(run_opts: RunOptions) -> None:
    """Raise if an option of SpeechBrain is one that only trainings have.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    unsupported = sorted(run_opts.overridden_args - GENERAL_OPTIONS)
    if unsupported:
        raise InputError(
            f"--{unsupported[0]} has no effect on this command: it is for trainings"
        )


def check_checkpoints(run_opts: RunOptions) -> None:
    """Raise if both intervals of checkpoints within epochs are set.

    Raises
    ------
    InputError
        If both are above 0: SpeechBrain uses only one of them.
    """
    if run_opts.ckpt_interval_minutes > 0 and run_opts.ckpt_interval_steps > 0:
        raise InputError(
            "--ckpt_interval_minutes and --ckpt_interval_steps cannot both be set"
        )


def extend_import_path(path: Path | str) -> list[str]:
    """Add the folders of the YAML file and the current one to `sys.path`.

    Then `!new:module.Class` finds modules there. They come last, and cannot shadow
    installed modules; spawned processes inherit them.

    Returns
    -------
    folders : list of str
        The folders of the file, its source (for a resolved file or an experiment of a
        list) and its parents, and the current folder.
    """
    head = ORIGIN.match(Path(path).read_text(encoding="utf-8"))
    origin = path if head is None else head[1]
    files = [path, origin]
    with suppress(InputError):  # the file of a finished run may have been removed
        files += parents_of(origin)
    parents = dict.fromkeys(Path(file).resolve().parent for file in files)
    folders = [str(folder) for folder in (*parents, Path.cwd()) if folder.is_dir()]
    sys.path += [folder for folder in folders if folder not in sys.path]
    return folders


def check_keys(path: Path) -> None:
    """Raise for a misspelt top-level key, and warn of other unknown keys.

    Raises
    ------
    InputError
        For a key that is one or two letters from a known one.
    """
    texts = [text_of(file) for file, _ in lineage(path)]
    if any(text.startswith(RESOLVED) for text in texts):
        return  # a finished run's: references to keys are resolved
    keys = top_level_keys(path)
    # A child may drop the reference that its parent's key is for.
    known = KNOWN_KEYS | RUN_KEYS | set(re.findall(r"<(\w+)", " ".join(texts)))
    for key in keys:
        if key in known or key.startswith("__"):
            continue
        close = difflib.get_close_matches(key, known)
        meant = f"; did you mean '{close[0]}'?" if close else ""
        unknown = f"{path}: unknown key '{key}'{meant}"
        if any(_is_misspelt(key, name) for name in close):
            raise InputError(unknown)
        logger.warning("%s", unknown if meant else f"{unknown} is not used")


def _is_misspelt(key: str, name: str) -> bool:
    """Return whether two keys differ by a letter or two."""
    alike = difflib.SequenceMatcher(None, key, name).ratio()
    return alike > 0.8 and abs(len(key) - len(name)) < 3


def check_sample_rates(hparams: Mapping[str, Any]) -> None:
    """Raise if parts of the experiment have different sample rates.

    A trained classifier of waveforms has its own rate; one of features has none.
    """
    parts = {key: hparams.get(key) for key in ("dataset", "domain", "model")}
    parts["classifier"] = hparams.get("classifier")
    rates = {key: getattr(part, "sample_rate", None) for key, part in parts.items()}
    rates = {key: rate for key, rate in rates.items() if rate is not None}
    if len(set(rates.values())) > 1:
        found = ", ".join(f"{key} {rate} Hz" for key, rate in rates.items())
        raise InputError(
            f"sample rates differ: {found}. Set sample_rate to that of the trained "
            "classifier"
        )


def require_keys(
    hparams: Mapping[str, Any], names: Iterable[str], path: Path | str
) -> None:
    """Raise if a key that the recipe needs is missing or `null`.

    Arguments
    ---------
    hparams : Mapping
        A built experiment.
    names : iterable of str
        The keys. `augment` may be null.
    path : str or Path
        The experiment file, for the error.

    Raises
    ------
    InputError
        Listing the missing keys.
    """
    present = {key for key, value in hparams.items() if value is not None} | {"augment"}
    missing = [name for name in names if name not in present or name not in hparams]
    if missing:
        raise InputError(f"{path}: missing keys {missing} (needed by this recipe)")
