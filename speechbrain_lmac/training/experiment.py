"""Start, training and test of an experiment, as called by the recipe scripts."""

import logging
import shlex
import shutil
import sys
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import speechbrain as sb
import torch
from speechbrain.utils.distributed import ddp_init_group, if_main_process, run_on_main

from speechbrain_lmac.classifiers.batch_norm_folding import fold_batch_norms
from speechbrain_lmac.config.loading import RESOLVED
from speechbrain_lmac.config.run_options import RunOptions, TrainingOptions
from speechbrain_lmac.data.dataset import collate_clips, with_sound
from speechbrain_lmac.explainers.gradient_check import N_CLIPS
from speechbrain_lmac.interpreters.trained import hash_of_classifier, load_interpreter
from speechbrain_lmac.training.base_brain import RecordingBrain
from speechbrain_lmac.training.parts import check_training, completed_checkpointer
from speechbrain_lmac.training.training_settings import (
    SETTINGS_FILE,
    check_settings,
    has_training,
    initial_weights_hashes,
    is_legacy,
    moved_aside,
    restored_on_error,
    settings_of,
    table_hashes,
    write_settings,
)
from speechbrain_lmac.utils.console import quiet_logs
from speechbrain_lmac.utils.distributed import rank_and_size
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.locks import lock_folder
from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.system import environment_description

logger = logging.getLogger(__name__)

MANIFEST = "manifest"  # the folder of the manifests, in an output folder
Brain = TypeVar("Brain", bound=RecordingBrain)


def loader_options(hparams: dict[str, Any], train: bool = False) -> dict[str, Any]:
    """Return the YAML's `dataloader_options`, for training or for the other splits.

    In training, clips are shuffled by default; in validation and test each clip is used
    exactly once.
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


def load_splits(hparams: dict[str, Any], manifests: Path) -> dict[str, Any]:
    """Return the Datasets of "train", "valid" and "test", and set `hparams["labels"]`.

    Classes are in the order of the explained classifier, if any, or else sorted by
    name.
    """
    dataset = hparams["dataset"]
    if "classifier" in hparams:
        labels = dataset.class_order(manifests, hparams["classifier"].labels)
    else:
        labels = sorted(dataset.categories)
    hparams["labels"] = labels
    return {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")}


def start_experiment(
    hparams: dict[str, Any], run_opts: RunOptions, source: tuple[Path, str]
) -> Path:
    """Prepare the data, then create the output folder and describe the experiment.

    An error in the data leaves no files, since they are prepared first.

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
        The folder of the manifests.
    """
    folder = open_output_folder(hparams, run_opts)
    manifests, _ = prepare_data(hparams, folder / MANIFEST)
    describe_experiment(hparams, run_opts, source, manifests)
    return folder / MANIFEST


def start_training(
    hparams: dict[str, Any], run_opts: TrainingOptions, source: tuple[Path, str]
) -> Path:
    """Start a training; an output folder has only one.

    Like `start_experiment`. An existing training is resumed, or tested again, if
    everything that affects its weights is equal; see `training_settings`.
    `--start_over` moves it aside.

    Arguments
    ---------
    hparams, run_opts, source
        See `start_experiment`; from `load_experiment(argv, training=True)`, with the
        initial weights loaded.

    Returns
    -------
    manifest_folder : Path
        The folder of the manifests.

    Raises
    ------
    InputError
        If the folder has a training with other settings, data or initial weights. The
        folder is then unchanged.
    """
    check_training(hparams, source[0])
    folder, is_main = open_output_folder(hparams, run_opts), if_main_process()
    check_run(run_opts, folder)
    known = {
        "settings": settings_of(source[1], run_opts, rank_and_size()[1]),
        "weights": initial_weights_hashes(hparams),
    }
    starts_over = is_main and run_opts.start_over and has_training(folder)
    with (
        moved_aside(folder) if starts_over else nullcontext() as aside,
        restored_on_error(folder / MANIFEST),
    ):
        if is_main:
            check_settings(folder, **known)
        manifests, noise = prepare_data(hparams, folder / MANIFEST)
        if is_main:
            known["data"] = table_hashes(manifests, noise)
            check_settings(folder, data=known["data"])
    legacy = is_main and is_legacy(folder)
    describe_experiment(hparams, run_opts, source, manifests)
    if aside is not None:
        logger.warning("--start_over: moved the content of %s to %s", folder, aside)
    if legacy:
        logger.warning(
            "%s has a training without %s (of an earlier version): it is resumed with "
            "the current settings",
            folder,
            SETTINGS_FILE,
        )
    if is_main and not run_opts.debug:
        write_settings(folder, **known)
    return folder / MANIFEST


def check_run(run_opts: TrainingOptions, folder: Path) -> None:
    """Raise if options of a training contradict each other or its folder."""
    for name in ("test_only", "debug"):
        if run_opts.start_over and getattr(run_opts, name):
            raise InputError(f"--start_over and --{name} cannot be combined")
    if run_opts.debug_persistently:
        raise InputError(
            "--debug_persistently would leave checkpoints of a few batches in the "
            "output folder: use --debug alone, or --optimizer_step_limit"
        )
    if run_opts.test_only and not has_training(folder):
        raise InputError(f"--test_only: {folder} has no training")


def open_output_folder(hparams: dict[str, Any], run_opts: RunOptions) -> Path:
    """Lock the output folder for all processes of this run, and return it."""
    ddp_init_group(run_opts)  # does nothing unless torchrun started us
    folder = Path(hparams["output_folder"])
    if if_main_process():
        lock_folder(folder, shlex.join(sys.argv))
    return folder


def prepare_data(hparams: dict[str, Any], manifest_folder: Path) -> tuple[Any, Any]:
    """Prepare noise and dataset in the main process.

    Returns
    -------
    manifests, noise : Manifests or None
        Those of the dataset and of the corpus of noise, in all processes; `noise` is
        None without such a corpus.
    """
    noise = hparams.get("noise")
    noise = None if noise is None else run_on_main(noise.prepare)
    prepare = hparams["dataset"].prepare_manifests
    return run_on_main(prepare, args=[manifest_folder]), noise


def describe_experiment(
    hparams: dict[str, Any],
    run_opts: RunOptions,
    source: tuple[Path, str],
    manifests: Any,
) -> None:
    """Write the resolved YAML, logs and the script into the output folder.

    Arguments
    ---------
    hparams, run_opts, source
        See `start_experiment`.
    manifests : Manifests
        From `prepare_data`; their warnings are logged.
    """
    folder, dataset = Path(hparams["output_folder"]), hparams["dataset"]
    path, resolved = source
    log = {} if run_opts.log_config is None else {"log_config": run_opts.log_config}
    with quiet_logs():
        sb.create_experiment_directory(str(folder), save_env_desc=False, **log)
    if if_main_process():
        write_text(environment_description(), folder / "env.log")
        head = f"{RESOLVED} {date.today()} from:\n# {path}\n# yamllint disable\n"
        write_text(head + resolved, folder / "hyperparams.yaml")
        for warning in manifests.warnings:  # log.txt did not exist before
            logger.warning("%s: %s", dataset.data_folder, warning)
        script = Path(getattr(sys.modules["__main__"], "__file__", ""))
        if script.suffix == ".py":
            shutil.copy(script, folder)


def train(
    brain_class: type[Brain],
    hparams: dict[str, Any],
    run_opts: TrainingOptions,
    source: tuple[Path, str],
) -> Brain:
    """Load weights, start the experiment, train, and test the best checkpoint.

    Arguments
    ---------
    brain_class, hparams, run_opts, source
        See `start_training` and `fit_and_test`.

    Returns
    -------
    brain : RecordingBrain
        With the best weights loaded, and `test_means`.
    """
    load_pretrained(hparams)
    manifests = start_training(hparams, run_opts, source)
    splits = load_splits(hparams, manifests)
    return fit_and_test(brain_class, hparams, run_opts, splits)


def load_pretrained(hparams: dict[str, Any]) -> None:
    """Load the weights of the YAML's `pretrained_interpreter`, if any."""
    start = hparams.get("pretrained_interpreter")
    if start is not None:
        load_interpreter(
            hparams["interpreter"],
            start,
            "pretrained_interpreter",
            hparams["classifier"],
        )


def fit_and_test(
    brain_class: type[Brain],
    hparams: dict[str, Any],
    run_opts: TrainingOptions,
    datasets: dict[str, Any],
) -> Brain:
    """Train with checkpoints, then test the best one.

    Arguments
    ---------
    brain_class : type
        A `RecordingBrain`; the key `brain` of the YAML replaces it.
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
        if hasattr(part, "open"):  # ours; SpeechBrain's need no call
            part.open()
    brain = hparams.get("brain", brain_class)(
        modules=modules,
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=completed_checkpointer(hparams),
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


def fold_for_training(classifier: Any, domain: Any) -> None:
    """Fold the batch norms of a classifier (`fold_batch_norms`)."""
    with torch.no_grad():
        noise = torch.rand(
            1, domain.sample_rate, generator=generator("a second, heard once")
        )
        device = next(classifier.parameters()).device
        features = domain.features(domain.encode(noise.to(device)))
        fold_batch_norms(classifier, features)
