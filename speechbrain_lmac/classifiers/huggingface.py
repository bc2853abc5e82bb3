"""Audio classifiers of Hugging Face transformers, with gradients to the waveform.

transformers is the extra `hf`, imported only when a model is made. Its feature
extractors are NumPy; `front_ends` has what they do in torch.
"""

import shutil
import tempfile
from math import prod
from pathlib import Path

from speechbrain_lmac.classifiers.front_ends import KaldiFbank, ZeroMeanUnitVariance
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.classifiers.layouts import Axes, Patches, Places
from speechbrain_lmac.classifiers.waveform import WaveformClassifier, logits_field
from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.utils.console import hide_bars
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_atomically

# Where the blocks of the transformer stand, by version and architecture.
BLOCKS = ("layers", "encoder.layers", "encoder.layer")
N_HIDDEN = 4  # hidden maps, unless the layers are named


def transformers_module():
    """The module `transformers`.

    Raises
    ------
    InputError
        When it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            "this classifier needs transformers, which is not installed: "
            "pip install 'speechbrain_lmac[hf]'"
        ) from error
    hide_bars(transformers.utils.logging.disable_progress_bar)
    return transformers


def spectrogram_parts(config, extractor) -> dict:
    """Front end and layout of AST: patches of a Kaldi spectrogram of fixed length.

    A patch lies in the middle of its frames, a frame in the middle of its samples.
    """
    for name in ("max_length", "num_mel_bins"):
        if getattr(config, name) != getattr(extractor, name):
            raise InputError(
                f"config.json says {name} {getattr(config, name)}, but "
                f"preprocessor_config.json {getattr(extractor, name)}: they belong to "
                "different models"
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


def waveform_parts(config, extractor) -> dict:
    """Front end and layout of wav2vec 2.0 and its relatives: strided convolutions.

    A step hears `reach` samples and lies in their middle.
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


# Architecture (config.json's model_type) to feature extractor and parts.
SUPPORTED = {
    "audio-spectrogram-transformer": ("ASTFeatureExtractor", spectrogram_parts),
    "hubert": ("Wav2Vec2FeatureExtractor", waveform_parts),
    "wav2vec2": ("Wav2Vec2FeatureExtractor", waveform_parts),
    "wavlm": ("Wav2Vec2FeatureExtractor", waveform_parts),
}


def check_supported(model_type: str, extractor: str | None = None) -> None:
    """Raise InputError, with what is supported, for another architecture or extractor.

    Arguments
    ---------
    model_type : str
        As config.json has it.
    extractor : str or None
        Name of the feature extractor's class, if known by now.
    """
    wanted = SUPPORTED.get(model_type, (None,))[0]
    if wanted is None or extractor not in (None, wanted):
        heard = f" with {extractor}" if extractor else ""
        known = [f"{kind} with {name}" for kind, (name, _) in SUPPORTED.items()]
        raise InputError(
            f"the architecture '{model_type}'{heard} is not supported; these are: "
            f"{', '.join(known)}. Any other model can be given as a "
            "WaveformClassifier, with a front_end in torch"
        )


class HuggingFaceModel(WaveformClassifier):
    """A transformers classifier from waveforms (B, N) to logits and hidden maps.

    Arguments
    ---------
    model : transformers.PreTrainedModel
        With a head for audio classification.
    extractor : transformers.FeatureExtractionMixin
        Its settings are read; what it does is done in torch.
    hidden_layers : list or None
        Names of layers, see `WaveformClassifier`. None: four blocks of the
        transformer, evenly spaced, the last among them.
    """

    def __init__(self, model, extractor, hidden_layers=None):
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

    def save(self, labels: list[str], folder: Path) -> None:
        """Write what `HuggingFaceClassifier` and transformers load, file by file.

        Arguments
        ---------
        labels : list
            Class names in the order of the logits.
        folder : str or Path
            Made when missing.
        """
        self.model.config.id2label = dict(enumerate(labels))
        self.model.config.label2id = {label: i for i, label in enumerate(labels)}
        with tempfile.TemporaryDirectory() as made:
            self.model.save_pretrained(made)
            self._extractor.save_pretrained(made)
            for path in Path(made).iterdir():
                write_atomically(
                    Path(folder) / path.name,
                    lambda part, path=path: shutil.copyfile(path, part),
                )


def spread_blocks(model) -> list[str]:
    """The names of four blocks of the transformer, evenly spaced, the last one too.

    Fewer where there are fewer.
    """
    prefix = model.base_model_prefix
    for place in BLOCKS:
        name = f"{prefix}.{place}"
        if name in dict(model.named_modules()):
            n_blocks = len(model.get_submodule(name))
            n_maps = min(N_HIDDEN, n_blocks)
            last = [(k + 1) * n_blocks // n_maps - 1 for k in range(n_maps)]
            return [f"{name}.{index}" for index in last]
    raise InputError(
        f"no blocks of a transformer were found in {type(model).__name__}: name "
        "hidden_layers"
    )


class NewHuggingFaceModel(HuggingFaceModel):
    """An untrained transformers classifier, to be trained by train_classifier.py.

    Arguments
    ---------
    model_type : str
        Architecture, a key of `SUPPORTED`.
    n_classes : int
        Number of classes C.
    config : dict
        What differs from the architecture's defaults.
    preprocessor : dict
        What differs from the feature extractor's defaults.
    hidden_layers : list or None
        As `HuggingFaceModel`.

    Raises
    ------
    InputError
        For a key that the architecture or the extractor does not have.
    """

    def __init__(
        self,
        model_type: str,
        n_classes: int,
        config: dict,
        preprocessor: dict | tuple = (),
        hidden_layers: list | tuple | None = None,
    ):
        transformers = transformers_module()
        check_supported(model_type)
        check_known(config, transformers.AutoConfig.for_model(model_type), model_type)
        config = transformers.AutoConfig.for_model(
            model_type, num_labels=n_classes, **config
        )
        kind = getattr(transformers, SUPPORTED[model_type][0])
        settings = dict(preprocessor)
        check_known(settings, kind(), kind.__name__)
        for name in ("max_length", "num_mel_bins"):  # of AST: one number in two files
            if hasattr(config, name):
                settings.setdefault(name, getattr(config, name))
        model = transformers.AutoModelForAudioClassification.from_config(config)
        super().__init__(model, kind(**settings), hidden_layers)


def check_known(settings: dict, defaults, name: str) -> None:
    """Raise InputError for a key of `settings` that `defaults` has not."""
    known = defaults.to_dict()
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError(
            f"{name} has no {some_of(unknown)}; it has {some_of(sorted(known), 60)}"
        )


class HuggingFaceClassifier(Frozen):
    """A trained classifier of Hugging Face, frozen.

    Arguments
    ---------
    source : str
        A folder as save_pretrained writes it (config.json, weights,
        preprocessor_config.json), or a hub id ("user/name"). Nothing is fetched for a
        folder, nor with HF_HUB_OFFLINE=1.
    hidden_layers : list or None
        As `HuggingFaceModel`.
    labels : list or None
        Class names in the order of the logits. None: config.json's `id2label`.

    Shape
    -----
    Waveforms (B, N) to logits (B, C) and hidden maps (B, C', T', F').

    Raises
    ------
    InputError
        When it cannot be had, is of an unsupported architecture, or has no trained
        head.
    """

    def __init__(
        self, source: str, hidden_layers=None, labels: list[str] | None = None
    ):
        model, extractor = load_pretrained(source)
        if labels is None:
            labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
        super().__init__(HuggingFaceModel(model, extractor, hidden_layers), labels)


def load_pretrained(source: str) -> tuple:
    """Model and feature extractor of a folder or a hub id.

    Raises
    ------
    InputError
        See `HuggingFaceClassifier`.
    """
    transformers = transformers_module()
    source = str(source)
    if not Path(source).is_dir() and source.count("/") != 1:
        raise InputError(
            f"there is no folder {source}, and it is no hub id (user/name) either: "
            "name a folder as save_pretrained or train_classifier.py writes it"
        )
    cached = only_cached(source, "config.json", "a transformers classifier")
    where = {"local_files_only": cached}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **where)
        check_supported(config.model_type)
        extractor = transformers.AutoFeatureExtractor.from_pretrained(source, **where)
        check_supported(config.model_type, type(extractor).__name__)
        kind = transformers.AutoModelForAudioClassification
        model, report = kind.from_pretrained(source, output_loading_info=True, **where)
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"cannot load a transformers classifier from {source}: {error}"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"{source} has no weights for {some_of(missing)}: it is not a trained "
            "classifier (a pretrained encoder, perhaps, whose head would be random)"
        )
    return model.float(), extractor
