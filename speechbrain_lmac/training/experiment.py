"""From a command line to a finished experiment: what the recipe scripts share."""

import logging
import shlex
import shutil
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import ddp_init_group, if_main_process, run_on_main
from speechbrain.utils.epoch_loop import EpochCounter

from speechbrain_lmac.classifiers.batch_norm_folding import fold_batch_norms
from speechbrain_lmac.config.loading import RESOLVED
from speechbrain_lmac.data.dataset import collate_clips, with_sound
from speechbrain_lmac.explainers.gradient_check import N_CLIPS
from speechbrain_lmac.interpreters.trained import hash_of_classifier
from speechbrain_lmac.training.checkpoints import WholeCheckpointer
from speechbrain_lmac.training.loggers import build_loggers
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
from speechbrain_lmac.utils.errors import (
    InputError,
    check_arguments,
    check_counts,
    check_numbers,
)
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.locks import lock_folder
from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.system import environment_description

logger = logging.getLogger(__name__)

MANIFEST = "manifest"  # the folder of the manifests, in an output folder


@dataclass
class Training:
    """How long and how fast to train.

    Arguments
    ---------
    number_of_epochs : int
        Passes over the training clips.
    batch_size : int
        Clips per step (per process).
    lr : float
        Learning rate, to which `opt_class` and `schedule` refer.
    opt_class : callable
        Parameters to optimizer.
    schedule : object
        From `speechbrain_lmac.training.schedules`.
    num_workers : int
        Processes that load audio; 0 loads in the main one.
    use_tensorboard : bool
        Write the curves to `OUTPUT_FOLDER/tb_logs` as well.
    wandb : dict
        Settings of `wandb.init`: write them to Weights & Biases as well. Empty: do not.
    samples_every : int
        After so many epochs the first clips of the validation are explained, to be
        heard and seen in `OUTPUT_FOLDER/samples` (and in TensorBoard, W&B); 0: never.
    n_samples : int
        How many clips these are, at most a batch.
    max_skipped_batches : int
        A batch whose loss or gradient is not finite changes nothing and is counted; one
        more than this in an epoch, and the training stops.
    """

    number_of_epochs: int
    batch_size: int
    lr: float
    opt_class: object
    schedule: object
    num_workers: int = 0
    use_tensorboard: bool = False
    wandb: dict = field(default_factory=dict)
    samples_every: int = 0
    n_samples: int = 3
    max_skipped_batches: int = 3
    loader: dict = field(init=False)

    def __post_init__(self):
        check_counts(
            number_of_epochs=self.number_of_epochs,
            batch_size=self.batch_size,
            n_samples=self.n_samples,
        )
        check_counts(
            low=0,
            num_workers=self.num_workers,
            samples_every=self.samples_every,
            max_skipped_batches=self.max_skipped_batches,
        )
        check_numbers(low=0, lr=self.lr)
        check_optimizer(self.opt_class)
        self.loader = {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "collate_fn": collate_clips,
        }


def check_optimizer(opt_class):
    """Raise `InputError` unless a callable makes an optimizer of parameters."""
    check_arguments(opt_class)
    try:
        opt_class([torch.nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        raise InputError(f"opt_class makes no optimizer: {error}") from error


def start_experiment(hparams, run_opts, source):
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


def start_training(hparams, run_opts, source):
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


def check_run(run_opts, folder):
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


def open_output_folder(hparams, run_opts):
    """Keep the output folder for this run; after `torchrun` for all its processes."""
    ddp_init_group(run_opts)  # does nothing unless torchrun started us
    folder = Path(hparams["output_folder"])
    if if_main_process():
        lock_folder(folder, shlex.join(sys.argv))
    return folder


def prepare_data(hparams, manifest_folder):
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


def describe_experiment(hparams, run_opts, source, manifests):
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


def fit_and_test(brain_class, modules, hparams, run_opts, datasets):
    """Train with checkpoints, then test the best one once.

    Arguments
    ---------
    brain_class : type
        A `RecordingBrain`.
    modules : dict
        Name to module; those with parameters are trained and checkpointed.
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
    training = hparams["training"]
    counter = EpochCounter(limit=training.number_of_epochs)
    recoverables = {"counter": counter}
    if hasattr(training.schedule, "load"):
        recoverables["schedule"] = training.schedule
    trained = {n: m for n, m in modules.items() if any(True for _ in m.parameters())}
    brain = brain_class(
        modules=modules,
        opt_class=training.opt_class,
        hparams={**hparams, "loggers": build_loggers(hparams)},
        run_opts=run_opts,
        checkpointer=WholeCheckpointer(
            str(Path(hparams["output_folder"]) / "save"),
            recoverables={**recoverables, **trained},
        ),
    )
    if "classifier" in hparams:
        classifier = hparams["classifier"].to(brain.device)
        domain = modules["domain"].to(brain.device)
        brain.classifier_hash = hash_of_classifier(classifier)
        some = collate_clips(with_sound(datasets["valid"], N_CLIPS))
        brain.before_training(some.wav.to(brain.device))
        fold_for_training(classifier, domain)
    brain.fit(
        counter,
        datasets["train"],
        datasets["valid"],
        train_loader_kwargs={**training.loader, "shuffle": True},
        valid_loader_kwargs=dict(training.loader),
    )
    brain.evaluate(
        datasets["test"], min_key="loss", test_loader_kwargs=dict(training.loader)
    )
    return brain


def fold_for_training(classifier, domain):
    """Fold the batch norms of a classifier (`fold_batch_norms`)."""
    with torch.no_grad():
        noise = torch.rand(
            1, domain.sample_rate, generator=generator("a second, heard once")
        )
        device = next(classifier.parameters()).device
        features = domain.features(domain.encode(noise.to(device)))
        fold_batch_norms(classifier, features)
