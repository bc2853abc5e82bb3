"""Loading an experiment: the command line and the YAML file, checked and built."""

import difflib
import logging
import re
import sys
from contextlib import suppress
from pathlib import Path

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
from speechbrain_lmac.config.run_options import RUN_KEYS, read_command, with_values_of
from speechbrain_lmac.config.training_keys import check_training_keys
from speechbrain_lmac.utils.compiling import check_compile
from speechbrain_lmac.utils.devices import check_data_parallel, check_precision
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.old_names import with_current_names

logger = logging.getLogger(__name__)

# Top-level keys that the code reads. Any other key must be referred to in the file
# itself, or it is a misspelling.
KNOWN_KEYS = {
    "augment",
    "autoencoder",
    "background",
    "batch_size",
    "blocks",
    "brain",
    "captioned",
    "checkpointer",
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
    "label_smoothing",
    "learner",
    "lr_annealing",
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

# Options of SpeechBrain that every recipe obeys; the others are for trainings.
ALWAYS_OBEYED = {"device", "distributed_backend", "log_config", "noprogressbar"}
# How the resolved file in an output folder begins.
RESOLVED = "# Generated"
# The file that another one was made of: a resolved one, or an experiment of a list.
ORIGIN = re.compile(rf"(?:{RESOLVED}|# Ablation of) .*\n# (\S.*)\n")


def load_experiment(
    argv: list[str], training: bool = False, recipe: str | None = None
) -> tuple:
    """Read the command line and build what the YAML file describes.

    Arguments
    ---------
    argv : list
        `FILE.yaml [--key value ...] [run options of SpeechBrain]`; see
        `run_options.read_command` and `resolving.resolve`.
    training : bool
        Whether the command trains, so that there is `--start_over`.
    recipe : str, optional
        The script that reads it, as `train_lmac`: a file whose key `recipe` names
        another one is refused. One that is called `train_...` trains.

    Returns
    -------
    hparams : dict
        The built experiment.
    run_opts : RunOptions
        SpeechBrain's: of the command line, else of the top of the YAML.
    source : tuple
        (path of the YAML file, the resolved YAML text that `hparams` is built of).

    Raises
    ------
    InputError
        For a file that is missing or no YAML, for a misspelt key or argument, for a
        device or precision that this machine does not have, and for whatever the
        objects themselves refuse.
    """
    training = training or (recipe or "").startswith("train_")
    param_file, run_opts, overrides = read_command(argv, training)
    if not training:
        check_run_options(run_opts)
    path = find_hparams(param_file)
    if recipe is not None:
        check_recipe(path, recipe)
    check_keys(path)
    folders = extend_import_path(path)  # of functions of `!applyref:`, too
    resolved = in_current_names(resolve(path, overrides), path)
    obeyed = RUN_KEYS if training else ALWAYS_OBEYED
    run_opts = with_values_of(resolved, run_opts, obeyed)
    if run_opts.log_config is not None and not Path(run_opts.log_config).is_file():
        raise InputError(f"--log_config {run_opts.log_config}: there is no such file")
    check_precision(run_opts)
    check_data_parallel(run_opts)
    check_compile(run_opts)
    check_checkpoints(run_opts)
    hparams = build(resolved, path, folders, overrides)
    check_sample_rates(hparams)
    check_training_keys(hparams)
    return hparams, run_opts, (path, resolved)


def in_current_names(text: str, path: Path) -> str:
    """The text of a YAML file, names of earlier versions replaced, and warned of."""
    text, moved = with_current_names(text)
    if moved:
        named = "; ".join(f"{old} is now {new}" for old, new in moved.items())
        logger.warning("%s has names of an earlier version: %s", path, named)
    return text


def check_run_options(run_opts) -> None:
    """Refuse options of SpeechBrain that only a training obeys.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    idle = sorted(run_opts.overridden_args - ALWAYS_OBEYED)
    if idle:
        raise InputError(
            f"--{idle[0]} has no effect on this command: it is an option of trainings"
        )


def check_checkpoints(run_opts) -> None:
    """Refuse two intervals of checkpoints within epochs.

    Raises
    ------
    InputError
        Where both are above 0: SpeechBrain obeys one of them.
    """
    if run_opts.ckpt_interval_minutes > 0 and run_opts.ckpt_interval_steps > 0:
        raise InputError(
            "--ckpt_interval_minutes and --ckpt_interval_steps are both given: take "
            "one of them"
        )


def extend_import_path(path: Path) -> list[str]:
    """Let `!new:module.Class` find modules beside the YAML file and where we are.

    They come last, so that nothing installed is hidden; processes that are spawned get
    them too.

    Returns
    -------
    folders : list of str
        That of the file (of a resolved one, and of an experiment of a list, also that
        of the file it was made of), those of its parents, and the current one.
    """
    head = ORIGIN.match(Path(path).read_text(encoding="utf-8"))
    origin = path if head is None else head[1]
    files = [path, origin]
    with suppress(InputError):  # the file of a finished run may be gone by now
        files += parents_of(origin)
    places = dict.fromkeys(Path(file).resolve().parent for file in files)
    folders = [str(folder) for folder in (*places, Path.cwd()) if folder.is_dir()]
    sys.path += [folder for folder in folders if folder not in sys.path]
    return folders


def check_keys(path: Path) -> None:
    """Look at top-level keys that nothing reads: misspelt ones, and a user's own.

    Raises
    ------
    InputError
        For a key that is one or two letters from a known one. Others are warned of.
    """
    texts = [text_of(file) for file, _ in lineage(path)]
    if any(text.startswith(RESOLVED) for text in texts):
        return  # of a finished run: what the keys were for is in their places
    keys = top_level_keys(path)
    # A child may have dropped what one of its parents has the key for.
    known = KNOWN_KEYS | RUN_KEYS | set(re.findall(r"<(\w+)", " ".join(texts)))
    for key in keys:
        if key in known or key.startswith("__"):
            continue
        close = difflib.get_close_matches(key, known)
        meant = f"; did you mean '{close[0]}'?" if close else ""
        unknown = f"{path}: unknown key '{key}'{meant}"
        if any(_is_misspelt(key, name) for name in close):
            raise InputError(unknown)
        logger.warning("%s", unknown if meant else f"{unknown}: nothing reads it")


def _is_misspelt(key: str, name: str) -> bool:
    """Whether a key is another one but for a letter or two."""
    alike = difflib.SequenceMatcher(None, key, name).ratio()
    return alike > 0.8 and abs(len(key) - len(name)) < 3


def check_sample_rates(hparams: dict) -> None:
    """Refuse parts that hear at different rates.

    A trained classifier of waveforms brings its own rate; one that hears features
    has none.
    """
    parts = {key: hparams.get(key) for key in ("dataset", "domain", "model")}
    parts["classifier"] = hparams.get("classifier")
    rates = {key: getattr(part, "sample_rate", None) for key, part in parts.items()}
    rates = {key: rate for key, rate in rates.items() if rate is not None}
    if len(set(rates.values())) > 1:
        told = ", ".join(f"{key} {rate} Hz" for key, rate in rates.items())
        raise InputError(
            f"the parts of the experiment hear at different rates: {told}. Set "
            "sample_rate to what the classifier was trained at"
        )


def require_keys(hparams, names: list[str] | tuple[str, ...], path: Path | str) -> None:
    """Raise unless the experiment has what the recipe needs: `null` is nothing."""
    there = {key for key, value in hparams.items() if value is not None} | {"augment"}
    missing = [name for name in names if name not in there or name not in hparams]
    if missing:
        raise InputError(f"{path} lacks the keys {missing}, which this recipe needs")
