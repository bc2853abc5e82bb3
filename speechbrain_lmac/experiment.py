"""From a command line to a finished experiment: what the recipe scripts share."""

import difflib
import json
import logging
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAMLError
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.distributed import ddp_init_group, if_main_process, run_on_main
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.train_logger import FileTrainLogger, TensorboardLogger

from speechbrain_lmac.dataio import collate_clips
from speechbrain_lmac.errors import InputError, check_arguments, check_counts
from speechbrain_lmac.files import write_text
from speechbrain_lmac.machine import command_line, versions

logger = logging.getLogger(__name__)

# Top-level keys that the code reads. Any other key must be referred to in the file
# itself, or it is a misspelling.
KNOWN_KEYS = {
    "augment",
    "autoencoder",
    "batch_size",
    "blocks",
    "classifier",
    "conditions",
    "curves",
    "dataset",
    "dictionary_checkpoint",
    "domain",
    "explainer",
    "explainers",
    "interpreter",
    "interpreter_checkpoint",
    "label_smoothing",
    "learner",
    "metrics",
    "model",
    "n_clips",
    "noise",
    "objective",
    "output_folder",
    "published",
    "reference",
    "repeats",
    "sanity",
    "seed",
    "shares",
    "split",
    "targets",
    "training",
}


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
        From `speechbrain_lmac.schedules`.
    num_workers : int
        Processes that load audio; 0 loads in the main one.
    use_tensorboard : bool
        Write the curves to `OUTPUT_FOLDER/tb_logs` as well.
    """

    number_of_epochs: int
    batch_size: int
    lr: float
    opt_class: object
    schedule: object
    num_workers: int = 0
    use_tensorboard: bool = False
    loader: dict = field(init=False)

    def __post_init__(self):
        check_arguments(self.opt_class)
        check_counts(number_of_epochs=self.number_of_epochs, batch_size=self.batch_size)
        self.loader = {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "collate_fn": collate_clips,
        }


def main(run):
    """Run a recipe; what a user can put right is one message, not a traceback."""
    try:
        run(sys.argv[1:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def load_experiment(argv):
    """Read the command line and build what the YAML file describes.

    Arguments
    ---------
    argv : list
        `PARAM_FILE [--key value ...] [run options of SpeechBrain]`.

    Returns
    -------
    hparams : dict
        The built experiment.
    run_opts : RunOptions
        SpeechBrain's.
    source : tuple
        (path of the YAML file, the overrides as YAML text), to be written down.

    Raises
    ------
    InputError
        For a file that is missing or no YAML, for a misspelt key or argument, and
        for whatever the objects themselves refuse.
    """
    hparams_file, run_opts, overrides = sb.parse_arguments(argv)
    path = find_hparams(hparams_file)
    try:
        check_keys(path)
        with open(path, encoding="utf-8") as stream:
            hparams = load_hyperpyyaml(stream, overrides)
        if "dataset" in hparams:
            check_arguments(hparams["dataset"].prepare)
    except YAMLError as error:
        raise InputError(f"{path} is not readable as YAML: {error}") from error
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]}{hint(path, error)}") from error
    except (ValueError, TypeError, ImportError, OSError) as error:
        if isinstance(error, InputError) or not is_from_yaml(error):
            raise
        if isinstance(error, OSError):
            raise InputError(f"{path}: {error}") from error
        raise InputError(f"{path}: {' '.join(map(str, error.args))}") from error
    return hparams, run_opts, (path, overrides)


def is_from_yaml(error):
    """Whether an error speaks of the YAML file rather than of our code."""
    text = " ".join(map(str, error.args))
    spoken = (
        "Invalid argument to",
        "structure of the overrides",
        "!PLACEHOLDER",
        "There is no such class",
        "The structure of",
        "Failed to import",
        "No module named",
        "PLACEHOLDER",
        "not a valid",
        "could not find",
        "No such file",
    )
    return any(words in text for words in spoken)


def hint(path, error):
    """The key that a misspelt override may have meant."""
    wrong = re.search(r"'([^']+)'", str(error.args[0]))
    close = (
        difflib.get_close_matches(wrong.group(1), top_level_keys(path)) if wrong else []
    )
    return f" Did you mean '{close[0]}'?" if close else ""


def find_hparams(name):
    """The YAML file: as named, or in the project (where links are not supported).

    Raises
    ------
    InputError
        When there is none; lists what there is.
    """
    root = Path(__file__).resolve().parents[1]
    folders = [Path(), root, Path(__file__).resolve().parent]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    shipped = sorted(
        p.name for f in folders[1:] for p in (f / "hparams").glob("*.yaml")
    )
    raise InputError(
        f"no such hyperparameter file: {name} (looked in {Path.cwd()} and in the "
        f"project). There are: {', '.join(shipped)}"
    )


def top_level_keys(path):
    """The keys at the left margin of a YAML file."""
    text = Path(path).read_text(encoding="utf-8")
    return re.findall(r"^([A-Za-z_][\w]*)\s*:", text, flags=re.MULTILINE)


def check_keys(path):
    """Refuse a top-level key that nothing reads.

    Raises
    ------
    InputError
        Naming the key and the one that was probably meant.
    """
    text = Path(path).read_text(encoding="utf-8")
    keys = top_level_keys(path)
    referred = set(re.findall(r"<(\w+)", text))
    for key in keys:
        if key in KNOWN_KEYS or key in referred or key.startswith("__"):
            continue
        close = difflib.get_close_matches(key, KNOWN_KEYS | referred)
        meant = f"; did you mean '{close[0]}'?" if close else ""
        raise InputError(f"{path}: nothing reads the key '{key}'{meant}")


def require_keys(hparams, names, path):
    """Raise unless the experiment has what the recipe needs."""
    missing = [name for name in names if name not in hparams]
    if missing:
        raise InputError(f"{path} lacks the keys {missing}, which this recipe needs")


def start_experiment(hparams, run_opts, source):
    """Prepare the data, then make the output folder and write down what runs.

    The data come first: when something is wrong with them, nothing is left behind.

    Returns
    -------
    manifest_folder : Path
        Where the manifests are.
    """
    ddp_init_group(run_opts)  # does nothing unless torchrun started us
    output_folder = Path(hparams["output_folder"])
    manifest_folder = output_folder / "manifest"
    dataset = hparams["dataset"]
    if hparams.get("noise") is not None:
        run_on_main(hparams["noise"].prepare)
    manifests = run_on_main(dataset.prepare_manifests, args=[manifest_folder])
    path, overrides = source
    sb.create_experiment_directory(
        str(output_folder), hyperparams_to_save=str(path), overrides=overrides
    )
    if if_main_process():
        for warning in manifests.warnings:  # log.txt did not exist when they came
            logger.warning("%s: %s", dataset.data_folder, warning)
        script = Path(getattr(sys.modules["__main__"], "__file__", ""))
        if script.suffix == ".py":
            shutil.copy(script, output_folder)
    return manifest_folder


def build_loggers(hparams):
    """`train_log.txt`, and TensorBoard if asked for."""
    folder = Path(hparams["output_folder"])
    loggers = [FileTrainLogger(str(folder / "train_log.txt"), precision=4)]
    if hparams["training"].use_tensorboard and if_main_process():
        loggers.append(TensorboardLogger(str(folder / "tb_logs")))
    return loggers


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
        checkpointer=Checkpointer(
            str(Path(hparams["output_folder"]) / "save"),
            recoverables={**recoverables, **trained},
        ),
    )
    if "classifier" in hparams:
        hparams["classifier"].to(brain.device)
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


def write_record(brain, folder, module, argv):
    """Write `training.json`: what was reached, and what it took.

    Returns
    -------
    written : bool
        False in debug mode (its results are not kept) and on all processes but
        the main one: what is trained shall not be saved there either.
    """
    if brain.debug or not if_main_process():
        return False
    epochs = pd.read_csv(folder / "epochs.csv")
    record = {
        "command": command_line(argv),
        "epochs": int(epochs["epoch"].max()),
        "epoch_tested": brain.loaded_epoch(),
        "seconds_per_epoch": float(epochs["seconds"].median()),
        "seconds": float(epochs["seconds"].sum()),
        "peak_memory_mib": float(epochs["peak_memory_mib"].max()),
        "parameters": sum(p.numel() for p in module.parameters()),
        "test": brain.test_means,
        "versions": versions(),
    }
    write_text(json.dumps(record, indent=2) + "\n", folder / "training.json")
    return True


def pick_device(run_opts):
    """The device of a recipe that does not train."""
    return torch.device(run_opts.device or sb.utils.distributed.infer_device())
