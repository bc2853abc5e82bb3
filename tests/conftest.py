"""Fixtures of all tests, and the banner about tests that did not run."""

import csv
import gc
import os
import shutil
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from speechbrain_lmac.data_prep.us8k_prepare import US8K_CLASSES

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


@pytest.fixture
def for_any(monkeypatch):
    """`for_any(check, *strategies)`: a law, tested on cases drawn by hypothesis.

    The cases are the same in every run.
    """
    from hypothesis import HealthCheck, given, settings
    from speechbrain.utils.importutils import LazyModule

    # hypothesis inspects every module, which imports SpeechBrain's lazy ones.
    for name, module in list(sys.modules.items()):
        if isinstance(module, LazyModule):
            monkeypatch.delitem(sys.modules, name)

    def for_any(check, *strategies, cases=200):
        of_these = settings(
            max_examples=cases,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        of_these(given(*strategies)(check))()

    return for_any


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)`: a folder that `make(folder)` fills.

    One of the parallel processes of the tests makes it, and the others wait. It is
    shared: a test that changes something in it copies it first.
    """
    base = tmp_path_factory.getbasetemp()
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    shared = (base.parent if parallel else base) / "made_once"
    shared.mkdir(exist_ok=True)

    def made_once(name, make):
        folder, whole = shared / name, shared / f"{name}.whole"
        with FileLock(shared / f"{name}.lock"):
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                whole.touch()
        return folder

    return made_once


US8K_COLUMNS = "slice_file_name,fsID,start,end,salience,fold,classID,class".split(",")
# Properties of UrbanSound8K's clips: rates in Hz, sample formats, lengths in s.
US8K_RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000)
US8K_FORMATS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "MS_ADPCM")
US8K_SECONDS = (0.05, 4.0, 0.3, 1.0, 0.12, 2.5, 0.6)


def _write_us8k(folder, rows):
    """The table of a dataset in UrbanSound8K's layout."""
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    with open(folder / "metadata" / "UrbanSound8K.csv", "w", newline="") as file:
        table = csv.DictWriter(file, US8K_COLUMNS)
        table.writeheader()
        table.writerows(rows)


def _make_us8k(folder, longest=4.0):
    """A clip of each class and fold in UrbanSound8K's layout: a tone in noise.

    Rate, format, number of channels and length (0.05 s to `longest`) change from clip
    to clip. Returns the rows of the table.
    """
    rng, rows = np.random.default_rng(8), []
    for index, (fold, target) in enumerate(product(range(1, 11), range(10))):
        rate = US8K_RATES[index % 10 - index // 10]
        seconds = min(longest, US8K_SECONDS[index % len(US8K_SECONDS)])
        recording = 1000 + index
        rows.append(
            {
                "slice_file_name": f"{recording}-{target}-0-{index % 3}.wav",
                "fsID": recording,
                "start": 0.5,
                "end": 0.5 + seconds,
                "salience": 1 + index % 2,
                "fold": fold,
                "classID": target,
                "class": US8K_CLASSES[target],
            }
        )
        time = np.arange(round(seconds * rate)) / rate
        sound = 0.3 * np.sin(2 * np.pi * (300 + 300 * target) * time)[:, None]
        sound = sound + 0.02 * rng.standard_normal((len(time), 1 + index // 6 % 2))
        path = folder / "audio" / f"fold{fold}" / rows[-1]["slice_file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, rate, US8K_FORMATS[index % len(US8K_FORMATS)])
    _write_us8k(folder, rows)
    return rows


@pytest.fixture(scope="session")
def make_us8k():
    """`make_us8k(folder, longest)`: clips in UrbanSound8K's layout, and their rows."""
    return _make_us8k


@pytest.fixture(scope="session")
def write_us8k():
    """`write_us8k(folder, rows)`: its table alone."""
    return _write_us8k


def pytest_collection_modifyitems(items):
    """Let ``-m esc10`` choose the tests that use the fixture."""
    for item in items:
        if "esc10_folder" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.esc10)


def pytest_collection_finish():
    """Spare the garbage collector what lives as long as the process.

    After the collection of all tests that is 640,000 objects, which every full pass
    would visit (0.3 s). What a test makes is collected as before.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """Print last, in red, how many tests had no real recordings."""
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
    write(f"ESC10_FOLDER {state}. Tests skipped without it: {len(skipped)}")
    write("To run them:  make test ESC10_FOLDER=/path/to/ESC-50")


# --- Folders of small, untrained classifiers of other packages ----------------------

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
            # Untrained biases and tokens are 0: errors in them would have no effect.
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


# --- Small CLAPs in the structure of the public ones --------------------------------

WORDS = "this is the sound of a dog barking rain sea waves with and on roof".split()


def _tokenizer(special, limit):
    """A tokenizer of whole words, with two special tokens at the ends of a sentence."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    first, last, pad, unknown = special
    words = [first, pad, last, unknown, *WORDS]
    vocabulary = {word: index for index, word in enumerate(words)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(first, vocabulary[first]), (last, vocabulary[last])]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=pad,
        unk_token=unknown,
        model_max_length=limit,
    )


def _unlike_new(model, torch):
    """Change biases, norms and tokens, which are 0 or 1 in new models."""
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)


@pytest.fixture(scope="session")
def clap_folder(tmp_path_factory):
    """A small ClapModel of transformers as save_pretrained writes it, 48 kHz, 10 s."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    folder = tmp_path_factory.mktemp("clap") / "clap-tiny"
    torch.manual_seed(0)
    audio = {
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 2, 2],
        "hidden_size": 64,
        "projection_dim": 16,
    }
    text = {
        "vocab_size": 32,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 26,
        "projection_dim": 16,
    }
    config = ClapConfig(audio_config=audio, text_config=text, projection_dim=16)
    model = ClapModel(config)
    _unlike_new(model, torch)
    statistics = model.audio_model.audio_encoder.batch_norm
    statistics.running_mean.fill_(-30.0)
    statistics.running_var.fill_(400.0)
    model.save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    _tokenizer(("<s>", "</s>", "<pad>", "<unk>"), 512).save_pretrained(folder)
    return folder


# Names and shapes of a checkpoint of Microsoft's CLAP 2022, but for the widths.
@pytest.fixture(scope="session")
def microsoft_state():
    """The state dict of a small CLAP of Microsoft's, by the names of its package."""
    import torch
    from transformers import BertConfig, BertModel

    draw = torch.Generator().manual_seed(0)

    def normal(*shape, scale=0.1):
        return scale * torch.randn(shape, generator=draw)

    def batch_norm(name, channels):
        return {
            f"{name}.weight": 1 + normal(channels),
            f"{name}.bias": normal(channels),
            f"{name}.running_mean": normal(channels),
            f"{name}.running_var": 1 + normal(channels).abs(),
            f"{name}.num_batches_tracked": torch.tensor(7),
        }

    base = "audio_encoder.base"
    state = {
        "logit_scale": torch.tensor(2.5),
        f"{base}.spectrogram_extractor.stft.conv_real.weight": normal(513, 1, 1024),
        f"{base}.spectrogram_extractor.stft.conv_imag.weight": normal(513, 1, 1024),
        f"{base}.logmel_extractor.melW": normal(513, 64),
        **batch_norm(f"{base}.bn0", 64),
        f"{base}.fc1.weight": normal(24, 32),
        f"{base}.fc1.bias": normal(24),
        f"{base}.fc_audioset.weight": normal(527, 24),
        f"{base}.fc_audioset.bias": normal(527),
    }
    state[f"{base}.bn0.running_mean"] -= 30
    state[f"{base}.bn0.running_var"] *= 400
    channels = [1, 64, 128, 256, 512, 1024, 32]
    for block, (before, after) in enumerate(
        zip(channels, channels[1:], strict=False), start=1
    ):
        name = f"{base}.conv_block{block}"
        for layer, inputs in ((1, before), (2, after)):
            scale = (2 / (9 * inputs)) ** 0.5
            weight = normal(after, inputs, 3, 3, scale=scale)
            state[f"{name}.conv{layer}.weight"] = weight
            state |= batch_norm(f"{name}.bn{layer}", after)
    for name, width in (("audio_encoder", 24), ("caption_encoder", 128)):
        state |= {
            f"{name}.projection.linear1.weight": normal(16, width),
            f"{name}.projection.linear2.weight": normal(16, 16),
            f"{name}.projection.layer_norm.weight": 1 + normal(16),
            f"{name}.projection.layer_norm.bias": normal(16),
        }
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(
            vocab_size=32,
            hidden_size=128,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=24,
        )
    )
    _unlike_new(bert, torch)
    weights = bert.state_dict()
    state |= {f"caption_encoder.base.{name}": value for name, value in weights.items()}
    positions = "caption_encoder.base.embeddings.position_ids"
    return {**state, positions: torch.arange(24)[None]}


@pytest.fixture(scope="session")
def microsoft_folder(microsoft_state, tmp_path_factory):
    """A folder with that checkpoint (`CLAP_weights_2022.pth`) and a tokenizer."""
    import torch

    folder = tmp_path_factory.mktemp("microsoft")
    torch.save({"model": microsoft_state}, folder / "CLAP_weights_2022.pth")
    tokenizer = _tokenizer(("[CLS]", "[SEP]", "[PAD]", "[UNK]"), 512)
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder
