"""Audio classifiers of Hugging Face transformers, with gradients to the waveform.

transformers is the extra `hf`, imported only when a model is built. Its feature
extractors use NumPy; `front_ends` has their equivalents in torch.
"""

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

from speechbrain_lmac.classifiers.front_ends import KaldiFbank, ZeroMeanUnitVariance
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.classifiers.layouts import Axes, Patches, Places
from speechbrain_lmac.classifiers.waveform import WaveformClassifier, logits_field
from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.utils.console import hide_bars
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_atomically

# Names of the list of transformer blocks, by version and architecture.
BLOCKS = ("layers", "encoder.layers", "encoder.layer")
N_HIDDEN = 4  # hidden maps, if no layers are named


def transformers_module() -> ModuleType:
    """Import and return `transformers`.

    Raises
    ------
    InputError
        When it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            "transformers is not installed: pip install 'speechbrain_lmac[hf]'"
        ) from error
    hide_bars(transformers.utils.logging.disable_progress_bar)
    return transformers


def spectrogram_parts(config: Any, extractor: Any) -> dict[str, Any]:
    """Return front end and layout of AST: patches of a Kaldi spectrogram.

    A patch is at the middle of its frames, a frame at the middle of its samples.
    """
    for name in ("max_length", "num_mel_bins"):
        if getattr(config, name) != getattr(extractor, name):
            raise InputError(
                f"{name} must be the same in config.json and preprocessor_config.json, "
                f"got {getattr(config, name)} and {getattr(extractor, name)}: they "
                "belong to different models"
            )
    normalise = extractor.do_normalize
    front_end = KaldiFbank(
        extractor.sampling_rate,
        config.num_mel_bins,
        config.max_length,
        mean=extractor.mean if normalise else 0.0,
        std=extractor.std if normalise else 0.5,
    )
    patch, hop = config.patch_size, front_end.hop_length
    first_frame = (front_end.frame_length - 1) / 2
    layout = Patches(
        n_bands=(config.num_mel_bins - patch) // config.frequency_stride + 1,
        n_steps=(config.max_length - patch) // config.time_stride + 1,
        n_prefix_tokens=2,  # class and distillation
        steps=Places(first_frame + (patch - 1) / 2 * hop, config.time_stride * hop),
        bands=Places(
            patch / 2 / config.num_mel_bins,
            config.frequency_stride / config.num_mel_bins,
        ),
    )
    return {
        "front_end": front_end,
        "layout": layout,
        "min_samples": front_end.frame_length,
    }


def waveform_parts(config: Any, extractor: Any) -> dict[str, Any]:
    """Return front end and layout of models like wav2vec 2.0: strided convolutions.

    A step is at the middle of its receptive field of `reach` samples.
    """
    reach = 1
    for kernel, stride in zip(
        reversed(config.conv_kernel), reversed(config.conv_stride), strict=True
    ):
        reach = (reach - 1) * stride + kernel
    steps = Places((reach - 1) / 2, prod(config.conv_stride))
    return {
        "front_end": ZeroMeanUnitVariance() if extractor.do_normalize else None,
        "layout": Axes("BTC", steps),
        "min_samples": reach,
    }


# Architecture (config.json's model_type) to feature extractor and parts function.
SUPPORTED = {
    "audio-spectrogram-transformer": ("ASTFeatureExtractor", spectrogram_parts),
    "hubert": ("Wav2Vec2FeatureExtractor", waveform_parts),
    "wav2vec2": ("Wav2Vec2FeatureExtractor", waveform_parts),
    "wavlm": ("Wav2Vec2FeatureExtractor", waveform_parts),
}


def check_supported(model_type: str, extractor: str | None = None) -> None:
    """Raise InputError for an unsupported architecture or feature extractor.

    Arguments
    ---------
    model_type : str
        As in config.json.
    extractor : str or None
        Class name of the feature extractor, if known.
    """
    expected = SUPPORTED.get(model_type, (None,))[0]
    if expected is None or extractor not in (None, expected):
        of_extractor = f" with {extractor}" if extractor else ""
        known = [f"{kind} with {name}" for kind, (name, _) in SUPPORTED.items()]
        raise InputError(
            f"unsupported architecture '{model_type}'{of_extractor}; supported: "
            f"{', '.join(known)}. Use WaveformClassifier for any other model, with a "
            "front_end in torch"
        )


class HuggingFaceModel(WaveformClassifier):
    """A transformers classifier from waveforms to logits and hidden maps.

    Arguments
    ---------
    model : transformers.PreTrainedModel
        With a classification head.
    extractor : transformers.FeatureExtractionMixin
        Its settings configure the front end in torch.
    hidden_layers : list or None
        Names of layers, see `WaveformClassifier`. None: four transformer blocks, evenly
        spaced, including the last.

    Shape
    -----
    Waveforms (B, N) to logits (B, C) and hidden maps (B, C', T', F').
    """

    model: Any  # transformers.PreTrainedModel

    def __init__(
        self, model: Any, extractor: Any, hidden_layers: Sequence[str] | None = None
    ) -> None:
        model_type = model.config.model_type
        check_supported(model_type, type(extractor).__name__)
        _, parts = SUPPORTED[model_type]
        super().__init__(
            model=model,
            n_classes=model.config.num_labels,
            sample_rate=extractor.sampling_rate,
            hidden_layers=hidden_layers or spread_blocks(model),
            read_logits=logits_field,
            **parts(model.config, extractor),
        )
        self._extractor = extractor

    def save(self, labels: Sequence[str], folder: Path | str) -> None:
        """Write a folder that `HuggingFaceClassifier` and transformers can load.

        Arguments
        ---------
        labels : sequence of str
            C class names in the order of the logits.
        folder : str or Path
            Created if missing; each file is written atomically.
        """
        self.model.config.id2label = dict(enumerate(labels))
        self.model.config.label2id = {label: i for i, label in enumerate(labels)}
        with tempfile.TemporaryDirectory() as saved:
            self.model.save_pretrained(saved)
            self._extractor.save_pretrained(saved)
            for path in Path(saved).iterdir():
                write_atomically(
                    Path(folder) / path.name, partial(shutil.copyfile, path)
                )


def spread_blocks(model: Any) -> list[str]:
    """Return the names of four transformer blocks, evenly spaced, including the last.

    A model with fewer blocks: all of them.

    Raises
    ------
    InputError
        When no blocks are found under the usual names.
    """
    prefix = model.base_model_prefix
    for block_number in BLOCKS:
        name = f"{prefix}.{block_number}"
        if name in dict(model.named_modules()):
            n_blocks = len(model.get_submodule(name))
            n_maps = min(N_HIDDEN, n_blocks)
            last = [(k + 1) * n_blocks // n_maps - 1 for k in range(n_maps)]
            return [f"{name}.{index}" for index in last]
    raise InputError(
        f"found no transformer blocks in {type(model).__name__}: set hidden_layers"
    )


class NewHuggingFaceModel(HuggingFaceModel):
    """An untrained transformers classifier, for train_classifier.py.

    Arguments
    ---------
    model_type : str
        Architecture, a key of `SUPPORTED`.
    n_classes : int
        Number of classes C.
    config : dict
        Changes to the architecture's defaults.
    preprocessor : dict
        Changes to the feature extractor's defaults.
    hidden_layers : list or None
        As `HuggingFaceModel`.

    Shape
    -----
    Waveforms (B, N) to logits (B, C) and hidden maps (B, C', T', F').

    Raises
    ------
    InputError
        For an unknown key of the architecture or the extractor.
    """

    def __init__(
        self,
        model_type: str,
        n_classes: int,
        config: Mapping[str, Any],
        preprocessor: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        hidden_layers: Sequence[str] | None = None,
    ) -> None:
        transformers = transformers_module()
        check_supported(model_type)
        check_known(config, transformers.AutoConfig.for_model(model_type), model_type)
        full_config = transformers.AutoConfig.for_model(
            model_type, num_labels=n_classes, **config
        )
        kind = getattr(transformers, SUPPORTED[model_type][0])
        settings = dict(preprocessor)
        check_known(settings, kind(), kind.__name__)
        for name in (
            "max_length",
            "num_mel_bins",
        ):  # of AST: the same number in two files
            if hasattr(full_config, name):
                settings.setdefault(name, getattr(full_config, name))
        model = transformers.AutoModelForAudioClassification.from_config(full_config)
        super().__init__(model, kind(**settings), hidden_layers)


def check_known(settings: Iterable[str], defaults: Any, name: str) -> None:
    """Raise InputError for an unknown key.

    Arguments
    ---------
    settings : iterable of str
        Keys of a user's mapping.
    defaults : object
        A configuration of transformers: `to_dict` has the known keys.
    name : str
        Name of `defaults` for the message.
    """
    known = defaults.to_dict()
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError(
            f"unknown keys of {name}: {some_of(unknown)}; known: "
            f"{some_of(sorted(known), 60)}"
        )


class HuggingFaceClassifier(Frozen):
    """A trained classifier of Hugging Face, frozen.

    Arguments
    ---------
    source : str
        A folder written by save_pretrained (config.json, weights,
        preprocessor_config.json), or a hub id ("user/name"). Nothing is downloaded for
        a folder, or with HF_HUB_OFFLINE=1.
    hidden_layers : list or None
        As `HuggingFaceModel`.
    labels : sequence of str or None
        Class names in the order of the logits. None: config.json's `id2label`.

    Shape
    -----
    Waveforms (B, N) to logits (B, C) and hidden maps (B, C', T', F').

    Raises
    ------
    InputError
        When it cannot be loaded, is not supported, or has no trained head.
    """

    def __init__(
        self,
        source: Path | str,
        hidden_layers: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        model, extractor = load_pretrained(source)
        if labels is None:
            labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
        super().__init__(HuggingFaceModel(model, extractor, hidden_layers), labels)


def load_pretrained(source: Path | str) -> tuple[Any, Any]:
    """Return model and feature extractor of a folder or a hub id.

    Raises
    ------
    InputError
        See `HuggingFaceClassifier`.
    """
    transformers = transformers_module()
    source = str(source)
    if not Path(source).is_dir() and source.count("/") != 1:
        raise InputError(
            f"not a folder or a hub id (user/name): {source}. Use a folder written by "
            "save_pretrained or train_classifier.py"
        )
    cached = only_cached(source, "config.json", "a transformers classifier")
    options = {"local_files_only": cached}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **options)
        check_supported(config.model_type)
        extractor = transformers.AutoFeatureExtractor.from_pretrained(source, **options)
        check_supported(config.model_type, type(extractor).__name__)
        kind = transformers.AutoModelForAudioClassification
        model, report = kind.from_pretrained(
            source, output_loading_info=True, **options
        )
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"cannot load a transformers classifier from {source}: {error}"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"{source} has no weights of {some_of(missing)}: it is not a trained "
            "classifier (perhaps a pretrained encoder, whose head would be random)"
        )
    return model.float(), extractor
