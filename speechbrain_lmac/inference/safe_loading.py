"""Loading of models that somebody else has made.

Parse, look at the weight files, build what they can hold, load, and hear half a second:
what is wrong with a model is one error when it is loaded.
"""

from contextlib import nullcontext
from pathlib import Path

import torch

from speechbrain_lmac.hub.limits import LARGEST_CALL, Bounded, BoundedConstruction
from speechbrain_lmac.hub.registry import has_file, is_shipped, model_file
from speechbrain_lmac.hub.safe_build import build, loadables_of
from speechbrain_lmac.hub.safe_weights import find_weights, load_loadables
from speechbrain_lmac.hub.safe_yaml import parse
from speechbrain_lmac.interpreters.trained import check_trained_for
from speechbrain_lmac.utils.errors import InputError, check_counts

TRIED_SECONDS = 0.5


def load_safely(
    interface,
    source: Path | str,
    hparams_file: str,
    overrides=None,
    revision=None,
    token=None,
    **kwargs,
):
    """Load a model of which nothing is run but the classes of an allow-list.

    Arguments
    ---------
    interface : class
        Of `speechbrain_lmac.inference`.
    source : Path or str
        From `registry.find_model`.
    hparams_file : str
        The YAML file in it.
    overrides : dict, optional
        Of keys of the YAML.
    revision, token : str, optional
        Of the hub.
    **kwargs
        Of `interface`.

    Returns
    -------
    model : object
        Of the class `interface`.

    Raises
    ------
    InputError
        When a file of the model is missing, or asks for something that is not allowed,
        or does not fit.
    """

    def file(name: str) -> Path:
        return model_file(source, name, revision, token)

    def missing(name: str) -> bool:
        return not has_file(source, name, revision, token)

    path = file(hparams_file)
    tree = parse(path, overrides)
    files, declared = find_weights(loadables_of(tree, path), file, missing)
    ours = is_shipped(source)  # and known
    try:
        with nullcontext() if ours else BoundedConstruction(declared):
            hparams = build(tree, path)
        trained_for = load_loadables(hparams, files)
        model = interface(hparams.get("modules"), hparams, **kwargs)
        check_trained_for(trained_for, source, model.classifier)
        if not ours:
            try_out(model)
    except InputError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(
            f"the parts of the model in {source} do not fit together ({said}): it is "
            "none that publish.py writes"
        ) from error
    return model


@torch.no_grad()
def try_out(model) -> None:
    """Let a model hear half a second.

    Raises
    ------
    InputError
        When what it says is not finite, or takes more memory than
        `limits.LARGEST_CALL`.
    """
    rate = model.sample_rate
    check_counts(sample_rate=rate)
    chirp = torch.arange(round(TRIED_SECONDS * rate) + 1).div(rate).square()
    with Bounded(LARGEST_CALL, f"{TRIED_SECONDS:g} s of sound in this model"):
        said = model(torch.sin(1e4 * chirp)[None])
    values = said if isinstance(said, tuple) else vars(said).values()
    for value in values:
        if torch.is_tensor(value) and not value.isfinite().all():
            raise InputError(
                "the model says NaN or infinity of a sound without either: its weights "
                "are damaged"
            )
