"""Loading of trusted models, whose YAML may run arbitrary code."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from huggingface_hub.errors import LocalEntryNotFoundError
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.fetching import FetchConfig, LocalStrategy, fetch

from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.old_names import with_current_names

if TYPE_CHECKING:
    from speechbrain_lmac.inference.trained_model import TrainedModel

Model = TypeVar("Model", bound="TrainedModel")


def load_trusted(
    interface: type[Model],
    source: Path | str,
    hparams_file: str,
    overrides: dict[str, Any] | None,
    revision: str | None,
    token: str | bool | None,
    savedir: str | Path | None,
    **kwargs: Any,
) -> Model:
    """Load a model as SpeechBrain does, without an allow-list.

    Unlike SpeechBrain's `pretrained_from_hparams`, it also accepts class names of
    version 0.2 of this package.

    Arguments
    ---------
    interface : class
        A class of `speechbrain_lmac.inference`.
    source : Path or str
        From `registry.find_model`.
    hparams_file : str
        Name of the YAML file in `source`.
    overrides : dict or None
        New values of keys of the YAML.
    revision : str or None
        Git revision.
    token : str, bool or None
        Access token of the hub; see `huggingface_hub`.
    savedir : str, Path or None
        Folder in which SpeechBrain collects the files.
    **kwargs
        Further arguments of `interface`.

    Returns
    -------
    model : AudioExplainer or AudioClassifier
        An instance of `interface`.

    Raises
    ------
    InputError
        If a file is neither in the cache nor reachable on the hub.
    """
    cached = only_cached(str(source), hparams_file, "a model", revision)
    options = {
        "local_strategy": LocalStrategy.COPY,
        "fetch_config": FetchConfig(
            allow_network=not cached, revision=revision, token=token
        ),
    }
    try:
        path = fetch(hparams_file, str(source), savedir, **options)
        text, _ = with_current_names(Path(path).read_text(encoding="utf-8"))
        hparams = load_hyperpyyaml(text, overrides or {})
        hparams["savedir"] = savedir
        pretrainer = hparams["pretrainer"]
        pretrainer.set_collect_in(savedir)
        pretrainer.collect_files(default_source=str(source), **options)
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"a file of {source} is not in the cache, and the hub is unreachable: "
            "check the network, or use a local folder"
        ) from error
    pretrainer.load_collected()
    return interface(hparams["modules"], hparams, **kwargs)
