"""Loading an experiment: the command line and the YAML file, checked and built."""

import difflib
import re

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAMLError

from speechbrain_lmac.errors import InputError, check_arguments
from speechbrain_lmac.hparams_files import find_hparams, open_hparams, top_level_keys

# Top-level keys that the code reads. Any other key must be referred to in the file
# itself, or it is a misspelling.
KNOWN_KEYS = {
    "augment",
    "autoencoder",
    "batch_size",
    "blocks",
    "brain",
    "captioned",
    "clap",
    "classifier",
    "conditions",
    "curves",
    "dataset",
    "dictionary_checkpoint",
    "domain",
    "explainer",
    "experiments",
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
    "options",
    "output_folder",
    "pairs_at_once",
    "silence_weight",
    "pretrained_interpreter",
    "prompts",
    "published",
    "recipe",
    "reference",
    "repeats",
    "sanity",
    "seed",
    "shares",
    "split",
    "targets",
    "together",
    "training",
    "trunk_source",
}

# What building a part raises when it is given something that it cannot take.
UNBUILT = (
    ValueError,
    TypeError,
    ImportError,
    OSError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
)
# How the resolved file in an output folder begins.
RESOLVED = "# Generated"


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
        hparams = load_hyperpyyaml(open_hparams(path), overrides)
        if "dataset" in hparams:
            check_arguments(hparams["dataset"].prepare)
        check_sample_rates(hparams)
    except YAMLError as error:
        raise InputError(f"{path} is not readable as YAML: {error}") from error
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]}{hint(path, error)}") from error
    except InputError:
        raise
    except UNBUILT as error:
        told = str(error)
        if not isinstance(error, OSError):
            told = " ".join(map(str, error.args))
        if is_from_yaml(told):
            raise InputError(f"{path}: {told}") from error
        if not overrides:
            raise  # our file, and so our fault
        raise InputError(
            f"{path} cannot be built with {' '.join(overrides.split())}: {told} "
            f"({type(error).__name__})"
        ) from error
    return hparams, run_opts, (path, overrides)


def is_from_yaml(told):
    """Whether an error speaks of the YAML file rather than of our code."""
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
    return any(words in told for words in spoken)


def hint(path, error):
    """The key that a misspelt override may have meant."""
    wrong = re.search(r"'([^']+)'", str(error.args[0]))
    close = (
        difflib.get_close_matches(wrong.group(1), top_level_keys(path)) if wrong else []
    )
    return f" Did you mean '{close[0]}'?" if close else ""


def check_keys(path):
    """Refuse a top-level key that nothing reads.

    Raises
    ------
    InputError
        Naming the key and the one that was probably meant.
    """
    text = open_hparams(path).getvalue()
    if text.startswith(RESOLVED):
        return  # of a finished run: what the keys were for is in their places
    keys = top_level_keys(path)
    referred = set(re.findall(r"<(\w+)", text))
    for key in keys:
        if key in KNOWN_KEYS or key in referred or key.startswith("__"):
            continue
        close = difflib.get_close_matches(key, KNOWN_KEYS | referred)
        meant = f"; did you mean '{close[0]}'?" if close else ""
        raise InputError(f"{path}: nothing reads the key '{key}'{meant}")


def check_sample_rates(hparams):
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


def require_keys(hparams, names, path):
    """Raise unless the experiment has what the recipe needs."""
    missing = [name for name in names if name not in hparams]
    if missing:
        raise InputError(f"{path} lacks the keys {missing}, which this recipe needs")
