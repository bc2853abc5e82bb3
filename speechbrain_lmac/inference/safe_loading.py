"""Safe loading of third-party models.

Parse the YAML, check the weight files, build the modules with a limit on their size,
load the weights, and run half a second of audio. Any fault of a model raises a single
InputError on loading.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from speechbrain_lmac.hub.limits import LARGEST_CALL, Bounded, BoundedConstruction
from speechbrain_lmac.hub.registry import has_file, is_shipped, model_file
from speechbrain_lmac.hub.safe_build import build, loadables_of
from speechbrain_lmac.hub.safe_weights import find_weights, load_loadables
from speechbrain_lmac.hub.safe_yaml import parse
from speechbrain_lmac.interpreters.trained import check_trained_for
from speechbrain_lmac.utils.errors import InputError, check_counts

if TYPE_CHECKING:
    from speechbrain_lmac.inference.trained_model import TrainedModel

Model = TypeVar("Model", bound="TrainedModel")
TRIAL_SECONDS = 0.5


def load_safely(
    interface: type[Model],
    source: Path | str,
    hparams_file: str,
    overrides: dict[str, Any] | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    **kwargs: Any,
) -> Model:
    """Load a model, building only classes of an allow-list.

    Arguments
    ---------
    interface : class
        A class of `speechbrain_lmac.inference`.
    source : Path or str
        From `registry.find_model`.
    hparams_file : str
        Name of the YAML file in `source`.
    overrides : dict, optional
        New values of keys of the YAML.
    revision, token : str, optional
        Git revision, and access token of the hub.
    **kwargs
        Further arguments of `interface`.

    Returns
    -------
    model : AudioExplainer or AudioClassifier
        An instance of `interface`.

    Raises
    ------
    InputError
        If a file of the model is missing, has disallowed content, or does not match the
        other files.
    """

    def file(name: str) -> Path:
        return model_file(source, name, revision, token)

    def missing(name: str) -> bool:
        return not has_file(source, name, revision, token)

    path = file(hparams_file)
    tree = parse(path, overrides)
    files, weight_bytes = find_weights(loadables_of(tree, path), file, missing)
    shipped = is_shipped(source)
    try:
        with nullcontext() if shipped else BoundedConstruction(weight_bytes):
            hparams = build(tree, path)
        trained_for = load_loadables(hparams, files)
        model = interface(hparams.get("modules"), hparams, **kwargs)
        check_trained_for(trained_for, source, model.classifier)
        if not shipped:
            check_outputs(model)
    except InputError:
        raise
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(
            f"the parts of the model in {source} are inconsistent ({message}); "
            "expected a model folder written by publish.py"
        ) from error
    return model


@torch.no_grad()
def check_outputs(model: "TrainedModel") -> None:
    """Run a model on half a second of audio, and check its outputs.

    Raises
    ------
    InputError
        If an output is not finite, or needs more memory than `limits.LARGEST_CALL`.
    """
    rate = model.sample_rate
    check_counts(sample_rate=rate)
    chirp = torch.arange(round(TRIAL_SECONDS * rate) + 1).div(rate).square()
    with Bounded(LARGEST_CALL, f"{TRIAL_SECONDS:g} s of audio in this model"):
        outputs = model(torch.sin(1e4 * chirp)[None])
    values = outputs if isinstance(outputs, tuple) else vars(outputs).values()
    for value in values:
        if torch.is_tensor(value) and not value.isfinite().all():
            raise InputError(
                "the model returns NaN or infinity for finite audio: its weights are "
                "damaged"
            )
