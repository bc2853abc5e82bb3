"""Fixtures of all tests, and the banner about tests that did not run."""

import os
from pathlib import Path

import pytest

NEEDS_ESC10 = "needs ESC10_FOLDER, a folder with meta/esc50.csv and audio/"


def _esc10_folder():
    """The absolute folder of real recordings, or None when there is none."""
    value = os.environ.get("ESC10_FOLDER", "")
    return Path(value).resolve() if value and Path(value).is_dir() else None


@pytest.fixture(scope="session")
def esc10_folder():
    """The user's ESC-50 or ESC-10 folder; without one the test is skipped."""
    folder = _esc10_folder()
    if folder is None:
        pytest.skip(NEEDS_ESC10)
    return folder


def pytest_collection_modifyitems(items):
    """Let ``-m esc10`` choose the tests that use the fixture."""
    for item in items:
        if "esc10_folder" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.esc10)


def pytest_terminal_summary(terminalreporter):
    """Say loudly, and last, which tests saw no real recordings."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if "esc10" in getattr(report, "keywords", ())
    ]
    if not skipped or _esc10_folder() is not None:
        return
    value = os.environ.get("ESC10_FOLDER", "")
    state = f"is not a folder: {value}" if value else "is not set"
    terminalreporter.section("NOT TESTED ON REAL RECORDINGS", sep="!", red=True)
    write = terminalreporter.write_line
    write(f"ESC10_FOLDER {state}. Tests skipped for want of it: {len(skipped)}")
    write("To run them:  make test ESC10_FOLDER=/path/to/ESC-50")


# --- Small classifiers of others' packages, untrained, as their folders -------------

TINY = {
    "audio-spectrogram-transformer": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_length": 144,  # frames of 10 ms
        "hidden_dropout_prob": 0.5,  # off in a frozen classifier
    },
    "wav2vec2": {
        "hidden_size": 16,
        "num_hidden_layers": 5,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "conv_dim": [8] * 7,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "classifier_proj_size": 8,
        "hidden_dropout": 0.5,
    },
}
TINY["hubert"] = TINY["wavlm"] = TINY["wav2vec2"]
HYPERPARAMS = """
pretrained_path: someone/ecapa-tiny
n_mels: 80
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
    left_frames: 0
    right_frames: 0
    deltas: False
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [16, 16, 16, 16, 48]
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    groups: [1, 1, 1, 1, 1]
    attention_channels: 8
    lin_neurons: 12
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: 12
    out_neurons: 6
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    classifier: !ref <classifier>
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        classifier: !ref <classifier>
        label_encoder: !ref <label_encoder>
    paths:
        embedding_model: !ref <pretrained_path>/embedding_model.ckpt
        classifier: !ref <pretrained_path>/classifier.ckpt
        label_encoder: !ref <pretrained_path>/label_encoder.txt
"""
CLASSES = ["burst", "chirp", "click", "hum", "siren", "tone"]  # of the toy sounds


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory):
    """`hf_folder(model_type)`: as save_pretrained of transformers writes it."""
    import torch
    from transformers import (
        ASTFeatureExtractor,
        AutoConfig,
        AutoModelForAudioClassification,
        Wav2Vec2FeatureExtractor,
    )

    made = {}

    def make(model_type):
        if model_type not in made:
            folder = tmp_path_factory.mktemp("hf") / model_type
            settings = {**TINY[model_type], "id2label": dict(enumerate(CLASSES))}
            config = AutoConfig.for_model(model_type, **settings)
            torch.manual_seed(0)
            model = AutoModelForAudioClassification.from_config(config)
            # Untrained biases and tokens are 0: what they do would go unseen.
            for parameter in model.parameters():
                parameter.data += 0.05 * torch.randn(parameter.shape)
            extractor = Wav2Vec2FeatureExtractor()
            if model_type == "audio-spectrogram-transformer":
                extractor = ASTFeatureExtractor(max_length=config.max_length, mean=-3.5)
            model.save_pretrained(folder)
            extractor.save_pretrained(folder)
            made[model_type] = folder
        return made[model_type]

    return make


@pytest.fixture(scope="session")
def ecapa_folder(tmp_path_factory):
    """A small ECAPA-TDNN in the structure of speechbrain/urbansound8k_ecapa."""
    import torch
    from hyperpyyaml import load_hyperpyyaml

    folder = tmp_path_factory.mktemp("ecapa")
    (folder / "hyperparams.yaml").write_text(HYPERPARAMS)
    torch.manual_seed(0)
    hparams = load_hyperpyyaml(HYPERPARAMS)
    for name in ("embedding_model", "classifier"):
        torch.save(hparams[name].state_dict(), folder / f"{name}.ckpt")
    hparams["label_encoder"].update_from_iterable(CLASSES)
    hparams["label_encoder"].save(folder / "label_encoder.txt")
    return folder
