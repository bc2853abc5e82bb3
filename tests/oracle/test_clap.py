"""The same features and embeddings as transformers and Microsoft's package have."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    ClapFeatureExtractor,
    ClapModel,
)
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from speechbrain_lmac.classifiers import HuggingFaceClap, MicrosoftClap
from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.clap.front_ends import ClapSpectrogram
from speechbrain_lmac.classifiers.clap.huggingface import FILLS
from speechbrain_lmac.dsp.mel import slaney_mel_matrix

TOLERANCE_DB = 1e-4
PROMPTS = ["a dog barking", "rain", "sea waves with rain on a roof"]
MICROSOFT = {"sample_rate": 44100, "n_fft": 1024, "hop_length": 320, "n_mels": 64}


def clip(n_samples, level=1.0):
    draw = torch.Generator().manual_seed(n_samples)
    return level * torch.randn(1, n_samples, generator=draw)


@pytest.fixture(scope="module")
def hugging(clap_folder):
    return HuggingFaceClap(clap_folder).eval()


@pytest.fixture(scope="module")
def microsoft(microsoft_folder):
    return MicrosoftClap(microsoft_folder, microsoft_folder / "tokenizer").eval()


# --- Hugging Face -------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds, padding, level",
    [
        (0.2, "repeatpad", 1.0),
        (0.20013, "repeatpad", 1.0),
        (3.0, "repeatpad", 1.0),
        (5.0, "repeatpad", 1e-3),
        (10.0, "repeatpad", 1.0),
        (3.0, "repeat", 1.0),
        (5.0, "pad", 1.0),
    ],
)
def test_the_spectrogram_is_that_of_transformers(seconds, padding, level):
    wav = clip(round(seconds * 48000), level)
    extractor = ClapFeatureExtractor(truncation="rand_trunc", padding=padding)
    theirs = extractor(wav[0].numpy(), sampling_rate=48000, return_tensors="pt")
    theirs = theirs["input_features"][:, 0].float()
    front_end = ClapSpectrogram(48000, 1024, 480, 480000, 64, 0, 14000, FILLS[padding])
    ours = front_end(wav)
    assert ours.shape == theirs.shape == (1, 1001, 64)
    assert (ours - theirs).abs().max().item() < TOLERANCE_DB


@pytest.mark.parametrize(
    "settings",
    [
        {"sampling_rate": 32000, "hop_length": 320, "frequency_min": 50},
        {"fft_window_size": 2048, "frequency_max": 8000, "feature_size": 32},
    ],
)
def test_the_sizes_are_read_from_the_preprocessor(settings):
    extractor = ClapFeatureExtractor(truncation="rand_trunc", **settings)
    wav = clip(50000)
    theirs = extractor(
        wav[0].numpy(), sampling_rate=extractor.sampling_rate, return_tensors="pt"
    )
    ours = ClapSpectrogram(
        extractor.sampling_rate,
        extractor.fft_window_size,
        extractor.hop_length,
        extractor.nb_max_samples,
        extractor.feature_size,
        extractor.frequency_min,
        extractor.frequency_max,
        FILLS["repeatpad"],
    )(wav)
    theirs = theirs["input_features"][:, 0].float()
    assert (ours - theirs).abs().max().item() < TOLERANCE_DB


def test_of_a_long_clip_the_beginning_is_heard(hugging):
    wav = clip(12 * 48000)
    heard = hugging.front_end(wav)
    assert torch.equal(heard, hugging.front_end(wav[:, : 10 * 48000]))


@pytest.mark.parametrize("seconds", [3.0])
def test_the_logits_are_those_of_transformers(seconds, clap_folder, hugging):
    wav = clip(round(seconds * 48000), 0.1).repeat(2, 1)
    wav[1] *= 0.1
    model = ClapModel.from_pretrained(clap_folder).eval()
    extractor = ClapFeatureExtractor.from_pretrained(clap_folder)
    tokenizer = AutoTokenizer.from_pretrained(clap_folder)
    heard = extractor(list(wav.numpy()), sampling_rate=48000, return_tensors="pt")
    tokens = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            input_features=heard["input_features"].float(),
        )
        ours = ClapClassifier(hugging, PROMPTS, template=None)
        output = ours(wav)
        embedding = hugging.audio(wav).embedding
    torch.testing.assert_close(ours.text, theirs.text_embeds, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(embedding, theirs.audio_embeds, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        output.logits, theirs.logits_per_audio, rtol=1e-3, atol=1e-3
    )


# --- Microsoft ----------------------------------------------------------------------


@pytest.mark.parametrize("n_samples", [8820, 220500, 300000])
@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_the_spectrogram_is_that_of_librosas_definition(n_samples, level, microsoft):
    # transformers' NumPy code, told what the package's front end is.
    wav = clip(n_samples, level)
    window = np.tile(wav[0].numpy(), 220500 // n_samples + 1)[:220500]
    theirs = spectrogram(
        window.astype(np.float64),
        window_function(1024, "hann"),
        frame_length=1024,
        hop_length=320,
        power=2.0,
        center=True,
        pad_mode="reflect",
        mel_filters=mel_filter_bank(513, 64, 50, 14000, 44100, "slaney", "slaney"),
        log_mel="dB",
        min_value=1e-10,
    ).T
    ours = microsoft.front_end(wav)[0]
    assert ours.shape == theirs.shape == (690, 64)
    difference = (ours - torch.from_numpy(theirs)).abs().max().item()
    assert difference < TOLERANCE_DB


@pytest.mark.parametrize(
    "rate, n_fft, low, high", [(44100, 1024, 50, 14000), (48000, 1024, 0, 14000)]
)
def test_the_triangles_are_those_of_librosas_definition(rate, n_fft, low, high):
    theirs = mel_filter_bank(n_fft // 2 + 1, 64, low, high, rate, "slaney", "slaney")
    ours = slaney_mel_matrix(rate, n_fft, 64, low, high)
    torch.testing.assert_close(ours, torch.from_numpy(theirs))


def panns(state, mel):
    """CNN14 and projection as PANNs and the package define them, by their names."""

    def normed(maps, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(maps, *(state[f"{name}.{each}"] for each in names))

    base = "audio_encoder.base"
    maps = normed(mel[:, None].transpose(1, 3), f"{base}.bn0").transpose(1, 3)
    hidden = []
    for block in range(1, 7):
        for layer in (1, 2):
            name = f"{base}.conv_block{block}"
            maps = F.conv2d(maps, state[f"{name}.conv{layer}.weight"], padding=1)
            maps = normed(maps, f"{name}.bn{layer}").relu()
        maps = F.avg_pool2d(maps, 2) if block < 6 else maps
        hidden.append(maps)
    values = maps.mean(3)
    values = values.max(2).values + values.mean(2)
    values = F.linear(values, state[f"{base}.fc1.weight"], state[f"{base}.fc1.bias"])
    return projected(state, values.relu(), "audio_encoder"), hidden[2:]


def projected(state, values, tower):
    name = f"{tower}.projection"
    first = F.linear(values, state[f"{name}.linear1.weight"])
    second = F.linear(F.gelu(first), state[f"{name}.linear2.weight"])
    norm = (state[f"{name}.layer_norm.weight"], state[f"{name}.layer_norm.bias"])
    return F.layer_norm(first + second, (16,), *norm)


def test_the_audio_path_is_that_of_the_package(microsoft, microsoft_state):
    wav = clip(100000, 0.1)
    with torch.no_grad():
        theirs, hidden = panns(microsoft_state, microsoft.front_end(wav))
        ours = microsoft.audio(wav)
    theirs = theirs / theirs.norm(dim=1, keepdim=True)
    torch.testing.assert_close(ours.embedding, theirs, rtol=1e-4, atol=1e-5)
    for one, other in zip(ours.hidden, hidden, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert [maps.shape[1] for maps in hidden] == microsoft.hidden_channels


def test_the_text_path_is_that_of_the_package(
    microsoft, microsoft_state, microsoft_folder
):
    prefix = "caption_encoder.base."
    weights = {
        name.removeprefix(prefix): value
        for name, value in microsoft_state.items()
        if name.startswith(prefix) and not name.endswith("position_ids")
    }
    config = BertConfig(
        vocab_size=32,
        hidden_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
    )
    bert = BertModel(config).eval()
    bert.load_state_dict(weights)
    tokenizer = AutoTokenizer.from_pretrained(microsoft_folder / "tokenizer")
    with torch.no_grad():
        ours = microsoft.text(PROMPTS)
        for item, prompt in enumerate(PROMPTS):
            # As the package: one by one, padded to the limit.
            tokens = tokenizer(
                prompt, padding="max_length", max_length=24, return_tensors="pt"
            )
            first = bert(**tokens).last_hidden_state[:, 0]
            theirs = projected(microsoft_state, first, "caption_encoder")
            theirs = theirs / theirs.norm()
            torch.testing.assert_close(ours[item], theirs[0], rtol=1e-4, atol=1e-5)
    assert microsoft.scale.item() == pytest.approx(np.exp(2.5))
