"""SpeechBrain's own classifiers, with gradients to the waveform."""

import re
from pathlib import Path

import torch
from huggingface_hub.errors import HfHubHTTPError
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.utils.fetching import FetchConfig, LocalStrategy

from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.classifiers.waveform import WaveformClassifier
from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.utils.errors import InputError

HPARAMS_FILE = "hyperparams.yaml"


class EncoderNet(torch.nn.Module):
    """The modules of an `EncoderClassifier` behind its features.

    Arguments
    ---------
    mods : dict
        `mean_var_norm`, `embedding_model` and `classifier`.
    scale : float
        Of what the classifier returns; see `SpeechBrainClassifier`.
    """

    def __init__(self, mods, scale: float):
        super().__init__()
        self.mean_var_norm = mods["mean_var_norm"]
        self.embedding_model = mods["embedding_model"]
        self.classifier = mods["classifier"]
        self.scale = scale

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, T, n_mels) to logits (B, C)."""
        lengths = torch.ones(len(features), device=features.device)
        features = self.mean_var_norm(features, lengths)
        embedding = self.embedding_model(features, lengths)
        return self.scale * self.classifier(embedding).squeeze(1)


class SpeechBrainClassifier(Frozen):
    """A classifier that `EncoderClassifier.from_hparams` loads, frozen.

    For example ECAPA-TDNN on UrbanSound8K, speechbrain/urbansound8k_ecapa.

    Arguments
    ---------
    source : str
        A folder with hyperparams.yaml and the files it names, or a hub id
        ("user/name"). From a folder nothing is fetched: its `pretrained_path` is the
        folder itself. hyperparams.yaml is code: put there what you trust.
    hidden_layers : list
        Names of layers in `embedding_model` and `classifier`, for example
        "embedding_model.blocks.1".
    layout : object or list
        See `WaveformClassifier`.
    scale : float
        The logits are `scale` times what the classifier returns. 1 for
        log-probabilities, which are logits. ECAPA's classifier returns cosines, in
        which all classes are nearly equal to a softmax; SpeechBrain's recipe trains
        them with additive angular margin at scale 30, so 30 gives the probabilities of
        its training, without the margin.
    min_samples : int
        Shorter waveforms are followed by silence.
    labels : list or None
        Class names in the order of the logits. None: those of the label encoder.
    trust_remote_code : bool
        Whether to load from the hub: SpeechBrain builds whatever the YAML there says,
        and it can then do anything that you can do on this computer.

    Raises
    ------
    InputError
        When it cannot be loaded, or its label encoder is empty.
    """

    def __init__(
        self,
        source: Path | str,
        hidden_layers: list[str],
        layout,
        scale: float = 1.0,
        min_samples: int = 1,
        labels=None,
        trust_remote_code: bool = False,
    ):
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


def load_encoder_classifier(source: Path | str, trust_remote_code: bool = False):
    """An `EncoderClassifier` on the CPU, from a folder or a hub id.

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
            raise InputError(
                f"{source} has no {HPARAMS_FILE}, which describes the model"
            )
        if re.search(r"^pretrained_path:", path.read_text(encoding="utf-8"), re.M):
            overrides = {"pretrained_path": source}
    elif source.count("/") != 1:
        raise InputError(
            f"there is no folder {source}, and it is no hub id (user/name) either"
        )
    elif not trust_remote_code:
        raise InputError(
            f"SpeechBrain builds whatever the hyperparams.yaml of {source} on the hub "
            "says. If you trust who published it, set trust_remote_code: true where "
            "the YAML has SpeechBrainClassifier; else download it into a folder and "
            "read it"
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


def stored_labels(loaded) -> list[str]:
    """The class names of the label encoder, in the order of the logits."""
    encoder = loaded.hparams.label_encoder
    encoder.ignore_len()
    if not len(encoder):
        raise InputError(
            "the label encoder is empty: give it in hyperparams.yaml as "
            "<pretrained_path>/label_encoder.txt (a bare file name is looked for in "
            "the working directory), or name the classes by labels"
        )
    return [encoder.ind2lab[index] for index in range(len(encoder))]
