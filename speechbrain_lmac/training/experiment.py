"""From a command line to a finished experiment: what the recipe scripts share."""

import logging
import shlex
import shutil
import sys
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import ddp_init_group, if_main_process, run_on_main

from speechbrain_lmac.classifiers.batch_norm_folding import fold_batch_norms
from speechbrain_lmac.config.loading import RESOLVED, require_keys
from speechbrain_lmac.config.training_keys import modules_of
from speechbrain_lmac.data.dataset import collate_clips, with_sound
from speechbrain_lmac.explainers.gradient_check import N_CLIPS
from speechbrain_lmac.interpreters.trained import hash_of_classifier, load_interpreter
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.training.schedules import Annealing
from speechbrain_lmac.training.training_settings import (
    SETTINGS_FILE,
    check_settings,
    data_tables,
    has_training,
    is_adopted,
    kept_unless_accepted,
    moved_aside,
    settings_of,
    weights_before,
    write_settings,
)
from speechbrain_lmac.utils.console import quiet_logs
from speechbrain_lmac.utils.distributed import own_share
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.locks import lock_folder
from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.system import environment_description

logger = logging.getLogger(__name__)

MANIFEST = "manifest"  # the folder of the manifests, in an output folder


# What a training's YAML names; see hparams/esc10_lmac.yaml.
TRAINING_KEYS = (
    "modules",
    "opt_class",
    "lr_annealing",
    "epoch_counter",
    "checkpointer",
    "train_logger",
    "dataloader_options",
)
# What of them is called, as SpeechBrain's have it.
METHODS = {
    "epoch_counter": "__next__",
    "checkpointer": "save_and_keep_only",
    "train_logger": "log_stats",
}


def check_training(hparams: dict[str, int | str], path: Path | str) -> None:
    """Refuse an experiment that does not name what a training needs.

    The names among its `metrics`, if it has any, become metrics.

    Raises
    ------
    InputError
        For missing keys, modules that are none, a schedule, counter, checkpointer or
        logger that cannot be called, and what `metrics_by_name` refuses.
    """
    require_keys(hparams, TRAINING_KEYS, path)
    modules = hparams["modules"]
    if not isinstance(modules, dict):
        raise InputError(f"modules must be a mapping of name to module, got {modules}")
    missing = [name for name in modules_of(hparams) if name not in modules]
    if missing:
        raise InputError(f"{path}: modules lacks {missing}, which this recipe needs")
    for name, module in modules.items():
        if not isinstance(module, torch.nn.Module):
            kind = type(module).__name__
            raise InputError(f"modules: {name} must be a torch.nn.Module, got {kind}")
    for name, needed in METHODS.items():
        if not hasattr(hparams[name], needed):
            kind = type(hparams[name]).__name__
            raise InputError(f"{name} cannot be {kind}, which has no {needed}")
    limit = getattr(hparams["epoch_counter"], "limit", 1)
    check_counts(**{"epoch_counter.limit": limit})
    Annealing(hparams["lr_annealing"])
    augment = hparams.get("augment")
    if augment is not None and not hasattr(augment, "waveforms"):
        raise InputError(
            "augment must be a speechbrain_lmac.data.augment.Augment, whose `waveform` "
            f"and `feature` are Augmenters of SpeechBrain; got {type(augment).__name__}"
        )
    if "metrics" in hparams:
        hparams["metrics"] = metrics_by_name(hparams["metrics"])


def loader_options(hparams: dict[str, int | str], train: bool = False) -> dict:
    """The YAML's `dataloader_options`, for the training or for what comes after it.

    Clips are shuffled in the training, unless it says otherwise; in validation and test
    none is left out and none drawn twice.
    """
    options = {"collate_fn": collate_clips, **hparams["dataloader_options"]}
    if train:
        drawn = {"sampler", "batch_sampler"} & options.keys()
        return options if drawn else {"shuffle": True, **options}
    for name in ("shuffle", "sampler", "drop_last"):
        options.pop(name, None)
    if options.pop("batch_sampler", None) is not None:
        options.setdefault("batch_size", hparams["batch_size"])
    return options


def load_splits(hparams: dict[str, int | str], manifests: Path) -> dict:
    """The clips of "train", "valid" and "test": a dict of Datasets.

    Their classes are in the order of the classifier, if one is to be explained, else of
    their names: `hparams["labels"]`.
    """
    dataset = hparams["dataset"]
    if "classifier" in hparams:
        labels = dataset.class_order(manifests, hparams["classifier"].labels)
    else:
        labels = sorted(dataset.categories)
    hparams["labels"] = labels
    return {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")}


def start_experiment(
    hparams: dict[str, int | str], run_opts, source: tuple[Path, str]
) -> Path:
    """Prepare the data, then make the output folder and write down what runs.

    The data come first: when something is wrong with them, nothing is left behind.

    Arguments
    ---------
    hparams : dict
        The experiment.
    run_opts : RunOptions
        SpeechBrain's.
    source : tuple
        From `load_experiment`.

    Returns
    -------
    manifest_folder : Path
        Where the manifests are.
    """
    folder = open_output_folder(hparams, run_opts)
    manifests, _ = prepare_data(hparams, folder / MANIFEST)
    describe_experiment(hparams, run_opts, source, manifests)
    return folder / MANIFEST


def start_training(
    hparams: dict[str, int | str], run_opts, source: tuple[Path, str]
) -> Path:
    """`start_experiment`, for a training: its output folder holds no other training.

    One that is there goes on, or is tested again, if all that its weights depend on is
    the same; see `training_settings`. With `--start_over` it is moved aside.

    Arguments
    ---------
    hparams, run_opts, source
        As `start_experiment`, of `load_experiment(argv, training=True)`. What the
        training starts from is loaded by now.

    Returns
    -------
    manifest_folder : Path
        Where the manifests are.

    Raises
    ------
    InputError
        When the folder has a training with other settings, other data, or other
        weights to start from. Then nothing in it is changed.
    """
    check_training(hparams, source[0])
    folder, is_main = open_output_folder(hparams, run_opts), if_main_process()
    check_run(run_opts, folder)
    known = {
        "settings": settings_of(source[1], run_opts, own_share()[1]),
        "weights": weights_before(hparams),
    }
    starts_over = is_main and run_opts.start_over and has_training(folder)
    with (
        moved_aside(folder) if starts_over else nullcontext() as aside,
        kept_unless_accepted(folder / MANIFEST),
    ):
        if is_main:
            check_settings(folder, **known)
        manifests, noise = prepare_data(hparams, folder / MANIFEST)
        if is_main:
            known["data"] = data_tables(manifests, noise)
            check_settings(folder, data=known["data"])
    adopted = is_main and is_adopted(folder)
    describe_experiment(hparams, run_opts, source, manifests)
    if aside is not None:
        logger.warning("--start_over: what was in %s is now in %s", folder, aside)
    if adopted:
        logger.warning(
            "%s holds a training without %s (of an earlier version): it is taken to "
            "have the settings that are given now",
            folder,
            SETTINGS_FILE,
        )
    if is_main and not run_opts.debug:
        write_settings(folder, **known)
    return folder / MANIFEST


def check_run(run_opts, folder: Path) -> None:
    """Refuse options of a training that contradict each other, or its folder."""
    for name in ("test_only", "debug"):
        if run_opts.start_over and getattr(run_opts, name):
            raise InputError(
                f"--start_over trains anew, so that --{name} cannot go along"
            )
    if run_opts.debug_persistently:
        raise InputError(
            "--debug_persistently would leave checkpoints of a few batches where a "
            "training is looked for: give --debug alone, or --optimizer_step_limit"
        )
    if run_opts.test_only and not has_training(folder):
        raise InputError(
            f"--test_only: {folder} holds no training that could be tested"
        )


def open_output_folder(hparams: dict[str, int | str], run_opts) -> Path:
    """Keep the output folder for this run; after `torchrun` for all its processes."""
    ddp_init_group(run_opts)  # does nothing unless torchrun started us
    folder = Path(hparams["output_folder"])
    if if_main_process():
        lock_folder(folder, shlex.join(sys.argv))
    return folder


def prepare_data(hparams: dict[str, int | str], manifest_folder: Path) -> tuple:
    """Prepare noise and dataset in the main process.

    Returns
    -------
    manifests, noise : Manifests or None
        Of the dataset and of a corpus of noise; in the main process.
    """
    noise = hparams.get("noise")
    noise = None if noise is None else run_on_main(noise.prepare)
    prepare = hparams["dataset"].prepare_manifests
    return run_on_main(prepare, args=[manifest_folder]), noise


def describe_experiment(
    hparams: dict[str, int | str], run_opts, source: tuple[Path, str], manifests
) -> None:
    """Write the resolved YAML, logs and the script into the output folder."""
    folder, dataset = Path(hparams["output_folder"]), hparams["dataset"]
    path, resolved = source
    log = {} if run_opts.log_config is None else {"log_config": run_opts.log_config}
    with quiet_logs():
        sb.create_experiment_directory(str(folder), save_env_desc=False, **log)
    if if_main_process():
        write_text(environment_description(), folder / "env.log")
        head = f"{RESOLVED} {date.today()} from:\n# {path}\n# yamllint disable\n"
        write_text(head + resolved, folder / "hyperparams.yaml")
        for warning in manifests.warnings:  # log.txt did not exist when they came
            logger.warning("%s: %s", dataset.data_folder, warning)
        script = Path(getattr(sys.modules["__main__"], "__file__", ""))
        if script.suffix == ".py":
            shutil.copy(script, folder)


def train(
    brain_class, hparams: dict[str, int | str], run_opts, source: tuple[Path, str]
):
    """`load_pretrained`, `start_training`, and `fit_and_test` on the dataset's splits.

    Arguments
    ---------
    brain_class, hparams, run_opts, source
        As theirs.

    Returns
    -------
    brain : RecordingBrain
        With the best weights loaded, and `test_means`.
    """
    load_pretrained(hparams)
    manifests = start_training(hparams, run_opts, source)
    splits = load_splits(hparams, manifests)
    return fit_and_test(brain_class, hparams, run_opts, splits)


def load_pretrained(hparams: dict[str, int | str]) -> None:
    """Load the weights of `pretrained_interpreter`, if the YAML names any."""
    start = hparams.get("pretrained_interpreter")
    if start is not None:
        load_interpreter(
            hparams["interpreter"],
            start,
            "pretrained_interpreter",
            hparams["classifier"],
        )


def fit_and_test(brain_class, hparams: dict[str, int | str], run_opts, datasets: dict):
    """Train with checkpoints, then test the best one once.

    Arguments
    ---------
    brain_class : type
        A `RecordingBrain`; `brain` of the YAML takes its place.
    hparams : dict
        The experiment.
    run_opts : RunOptions
        SpeechBrain's.
    datasets : dict
        "train", "valid", "test".

    Returns
    -------
    brain : RecordingBrain
        With the best weights loaded, and `test_means`.
    """
    modules = hparams["modules"]
    for part in (hparams["train_logger"], hparams["checkpointer"]):
        if hasattr(part, "open"):  # ours; SpeechBrain's are open
            part.open()
    brain = hparams.get("brain", brain_class)(
        modules=modules,
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=complete(hparams),
    )
    if "classifier" in hparams:
        classifier = hparams["classifier"].to(brain.device)
        domain = modules["domain"].to(brain.device)
        brain.classifier_hash = hash_of_classifier(classifier)
        some = collate_clips(with_sound(datasets["valid"], N_CLIPS))
        brain.before_training(some.wav.to(brain.device))
        fold_for_training(classifier, domain)
    brain.fit(
        hparams["epoch_counter"],
        datasets["train"],
        datasets["valid"],
        train_loader_kwargs=loader_options(hparams, train=True),
        valid_loader_kwargs=loader_options(hparams),
    )
    brain.evaluate(
        datasets["test"], min_key="loss", test_loader_kwargs=loader_options(hparams)
    )
    return brain


def complete(hparams: dict[str, int | str]):
    """The YAML's checkpointer, with whatever of the training it lacks.

    That is the counter, the schedule if it has a state, and each module with parameters
    under its own name: nothing that is trained gets lost.
    """
    checkpointer, schedule = hparams["checkpointer"], hparams["lr_annealing"]
    kept = checkpointer.recoverables
    wanted = {"counter": hparams["epoch_counter"]}
    if hasattr(schedule, "load"):
        wanted["schedule"] = schedule
    for name, module in hparams["modules"].items():
        if any(True for _ in module.parameters()):
            wanted[name] = module
    for name, part in wanted.items():
        if not any(part is other for other in kept.values()):
            checkpointer.add_recoverable(name, part)
    for name, part in kept.items():
        # In checkpoints of version 0.3 a cyclic schedule has no state.
        optional = part is schedule and hasattr(schedule, "on_batch_end")
        checkpointer.optional_recoverables[name] = optional
    return checkpointer


def fold_for_training(classifier, domain) -> None:
    """Fold the batch norms of a classifier (`fold_batch_norms`)."""
    with torch.no_grad():
        noise = torch.rand(
            1, domain.sample_rate, generator=generator("a second, heard once")
        )
        device = next(classifier.parameters()).device
        features = domain.features(domain.encode(noise.to(device)))
        fold_batch_norms(classifier, features)
