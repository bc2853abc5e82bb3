"""SpeechBrain's own classifiers, with gradients to the waveform."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub.errors import HfHubHTTPError
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.utils.fetching import FetchConfig, LocalStrategy

from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.classifiers.layouts import Layout
from speechbrain_lmac.classifiers.waveform import WaveformClassifier
from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.utils.errors import InputError

HPARAMS_FILE = "hyperparams.yaml"


class EncoderNet(torch.nn.Module):
    """The modules of an `EncoderClassifier` after its feature extraction.

    Arguments
    ---------
    mods : dict
        `mean_var_norm`, `embedding_model` and `classifier`.
    scale : float
        Factor of the classifier's output; see `SpeechBrainClassifier`.

    Shape
    -----
    Features (B, T, n_mels) to logits (B, C).
    """

    def __init__(self, mods: Mapping[str, torch.nn.Module], scale: float) -> None:
        super().__init__()
        self.mean_var_norm = mods["mean_var_norm"]
        self.embedding_model = mods["embedding_model"]
        self.classifier = mods["classifier"]
        self.scale = scale

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (B, C) of features (B, T, n_mels)."""
        lengths = torch.ones(len(features), device=features.device)
        features = self.mean_var_norm(features, lengths)
        embedding = self.embedding_model(features, lengths)
        return self.scale * self.classifier(embedding).squeeze(1)


class SpeechBrainClassifier(Frozen):
    """A classifier loaded by `EncoderClassifier.from_hparams`, frozen.

    For example ECAPA-TDNN on UrbanSound8K, speechbrain/urbansound8k_ecapa.

    Arguments
    ---------
    source : str
        A folder with hyperparams.yaml and the files it refers to, or a hub id
        ("user/name"). Nothing is downloaded for a folder: its `pretrained_path` is set
        to the folder. hyperparams.yaml can run code: use only files that you trust.
    hidden_layers : list
        Names of layers of `embedding_model` and `classifier`, for example
        "embedding_model.blocks.1".
    layout : Layout or list of Layout
        See `WaveformClassifier`.
    scale : float
        The logits are `scale` times the classifier's output. 1 for log-probabilities,
        which are logits. ECAPA's classifier returns cosines, whose softmax is nearly
        uniform; SpeechBrain's recipe trains them with additive angular margin at scale
        30, so 30 gives its training's probabilities, without the margin.
    min_samples : int
        Shorter waveforms are padded with silence.
    labels : sequence of str or None
        Class names in the order of the logits. None: those of the label encoder.
    trust_remote_code : bool
        Whether to load from the hub: its YAML can run any code with your permissions.

    Shape
    -----
    Waveforms (B, N) to logits (B, C) and hidden maps (B, C', T', F').

    Raises
    ------
    InputError
        When it cannot be loaded, or its label encoder is empty.
    """

    def __init__(
        self,
        source: Path | str,
        hidden_layers: Sequence[str],
        layout: Layout | Sequence[Layout],
        scale: float = 1.0,
        min_samples: int = 1,
        labels: Sequence[str] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        loaded = load_encoder_classifier(source, trust_remote_code)
        net = EncoderNet(loaded.mods, scale)
        front_end = loaded.mods["compute_features"]
        sample_rate = loaded.audio_normalizer.sample_rate
        with torch.no_grad():
            n_classes = net(front_end(torch.zeros(1, sample_rate))).shape[1]
        model = WaveformClassifier(
            model=net,
            n_classes=n_classes,
            sample_rate=sample_rate,
            hidden_layers=hidden_layers,
            layout=layout,
            front_end=front_end,
            min_samples=min_samples,
        )
        super().__init__(model, stored_labels(loaded) if labels is None else labels)


def load_encoder_classifier(
    source: Path | str, trust_remote_code: bool = False
) -> EncoderClassifier:
    """Return an `EncoderClassifier` on the CPU, from a folder or a hub id.

    Raises
    ------
    InputError
        See `SpeechBrainClassifier`.
    """
    source, overrides = str(source), {}
    if Path(source).is_dir():
        source = str(Path(source).resolve())
        path = Path(source) / HPARAMS_FILE
        if not path.is_file():
            raise InputError(f"missing file: {path}, which describes the model")
        if re.search(r"^pretrained_path:", path.read_text(encoding="utf-8"), re.M):
            overrides = {"pretrained_path": source}
    elif source.count("/") != 1:
        raise InputError(f"not a folder or a hub id (user/name): {source}")
    elif not trust_remote_code:
        raise InputError(
            f"the {HPARAMS_FILE} of {source} on the hub can run any code. If you trust "
            "its publisher, set trust_remote_code: true in the YAML, for "
            "SpeechBrainClassifier; else download it into a folder and check it"
        )
    cached = only_cached(source, HPARAMS_FILE, "a SpeechBrain classifier")
    try:
        return EncoderClassifier.from_hparams(
            source,
            overrides=overrides,
            local_strategy=LocalStrategy.NO_LINK,
            fetch_config=FetchConfig(allow_network=not cached),
            run_opts={"device": "cpu"},
        )
    except (HfHubHTTPError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"cannot load a SpeechBrain classifier from {source} "
            f"({type(error).__name__}): {error}"
        ) from error


def stored_labels(loaded: EncoderClassifier) -> list[str]:
    """Return the class names of the label encoder, in the order of the logits.

    Raises
    ------
    InputError
        When the encoder is empty.
    """
    encoder = loaded.hparams.label_encoder
    encoder.ignore_len()
    if not len(encoder):
        raise InputError(
            f"the label encoder is empty: set it in {HPARAMS_FILE} to "
            "<pretrained_path>/label_encoder.txt (a bare file name is relative to the "
            "working directory), or set labels"
        )
    return [encoder.ind2lab[index] for index in range(len(encoder))]
