"""The same features and logits as transformers and SpeechBrain have by themselves."""

import json

import numpy as np
import pytest
import torch
from speechbrain.inference.classifiers import EncoderClassifier
from transformers import (
    ASTFeatureExtractor,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    ClapAudioConfig,
    Wav2Vec2FeatureExtractor,
)
from transformers.audio_utils import mel_filter_bank
from transformers.models.clap.modeling_clap import ClapAudioModel

from speechbrain_lmac.classifiers import (
    Axes,
    FoldedTime,
    HuggingFaceClassifier,
    Places,
    SpeechBrainClassifier,
    WaveformClassifier,
)
from speechbrain_lmac.classifiers.front_ends import (
    KaldiFbank,
    ZeroMeanUnitVariance,
    kaldi_mel_matrix,
)

RATE = 16000
# Of features whose deviation is about 1: rounding of float32 in two orders.
TOLERANCE = 2e-6


def clips(n_samples, level=1.0):
    draw = torch.Generator().manual_seed(n_samples)
    return level * torch.randn(2, n_samples, generator=draw)


def extracted(extractor, wav):
    """What the original makes of each clip."""
    answers = [
        extractor(clip.numpy(), sampling_rate=RATE, return_tensors="np") for clip in wav
    ]
    return torch.from_numpy(np.concatenate([a["input_values"] for a in answers]))


# 400 samples are one frame; 170000 are cut at 1024 frames.
@pytest.mark.parametrize("n_samples", [400, 559, 16000, 80001, 170000])
@pytest.mark.parametrize("level", [1.0, 1e-5, 0.0])
def test_the_spectrogram_is_that_of_ast(n_samples, level):
    wav = clips(n_samples, level)
    extractor = ASTFeatureExtractor()
    ours = KaldiFbank(RATE, 128, 1024, extractor.mean, extractor.std)(wav)
    difference = (ours - extracted(extractor, wav)).abs().max().item()
    assert difference < TOLERANCE


@pytest.mark.parametrize("rate, n_fft, n_mels", [(16000, 512, 128), (32000, 1024, 64)])
def test_the_triangles_are_those_of_kaldi(rate, n_fft, n_mels):
    theirs = mel_filter_bank(
        n_fft // 2 + 1,
        n_mels,
        min_frequency=20,
        max_frequency=rate / 2,
        sampling_rate=rate,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    ours = kaldi_mel_matrix(rate, n_fft, n_mels)
    assert ours.dtype == torch.float32
    # Mel values up to 2840, a band of 22: float32 rounds a weight by 1e-5 and more.
    theirs = torch.from_numpy(theirs)
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("n_samples", [400, 16000])
@pytest.mark.parametrize("level", [1.0, 1e-4, 0.0])
def test_the_waveform_is_that_of_wav2vec2(n_samples, level):
    wav = clips(n_samples, level) + 0.3 * level
    theirs = extracted(Wav2Vec2FeatureExtractor(), wav)
    torch.testing.assert_close(ZeroMeanUnitVariance()(wav), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "kind", ["audio-spectrogram-transformer", "wav2vec2", "hubert", "wavlm"]
)
@pytest.mark.parametrize("normalise", [True, False])
def test_the_logits_are_those_of_transformers(kind, normalise, hf_folder, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in hf_folder(kind).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings["do_normalize"] = normalise
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))

    wav = clips(9000)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        theirs = model(extracted(extractor, wav), output_hidden_states=True)
        ours = HuggingFaceClassifier(str(folder))(wav)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-3, atol=1e-4)
    # The last map is the last of their hidden states: sequences as they are, patches
    # by the axes of the convolution that cut them.
    tokens = theirs.hidden_states[-1]
    if kind == "audio-spectrogram-transformer":
        tokens = tokens[:, 2:].transpose(1, 2).unflatten(2, (12, 13)).transpose(2, 3)
        tokens = tokens.flatten(2).transpose(1, 2)
    ours = ours.hidden[-1].flatten(2).transpose(1, 2)
    if kind == "wavlm":  # theirs are behind the last normalisation
        ours = torch.nn.functional.layer_norm(ours, ours.shape[2:])
        tokens = torch.nn.functional.layer_norm(tokens, tokens.shape[2:])
    torch.testing.assert_close(ours, tokens, rtol=1e-2, atol=2e-2)


def test_the_logits_are_those_of_speechbrain(ecapa_folder):
    layers = ["embedding_model.blocks.0", "embedding_model.mfa"]
    layout = Axes("BCT", Places(0.0, 160.0))
    ours = SpeechBrainClassifier(ecapa_folder, layers, layout, scale=30.0)
    theirs = EncoderClassifier.from_hparams(
        str(ecapa_folder), overrides={"pretrained_path": str(ecapa_folder)}
    )
    wav = clips(9000)
    with torch.no_grad():
        cosines, _, _, names = theirs.classify_batch(wav)
        output = ours(wav)
    torch.testing.assert_close(output.logits, 30 * cosines)
    assert [ours.labels[i] for i in output.logits.argmax(1)] == names
    assert ours.sample_rate == theirs.audio_normalizer.sample_rate


class ClapTower(torch.nn.Module):
    """CLAP's audio tower, HTSAT, on a spectrogram in which it hears the waveform."""

    def __init__(self):
        super().__init__()
        config = ClapAudioConfig(
            patch_embeds_hidden_size=8,
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 2, 2],
            hidden_size=64,
        )
        self.tower = ClapAudioModel(config)

    def forward(self, wav):
        frames = wav.unfold(1, 160, 160)[:, :1024]  # (B, 1024, 160)
        bands = torch.nn.functional.adaptive_avg_pool1d(frames.abs(), 64)
        return self.tower(bands[:, None], is_longer=None).pooler_output


@pytest.mark.parametrize("second", [1.0, 4.0, 9.5])
def test_folded_time_is_unfolded_as_htsat_folds_it(second):
    # 64 x 64 patches in 4 strips of 16 bands are 256 steps of 40 ms, after the first
    # stage 128 of 80 ms. Attention in windows keeps an event within a few steps.
    torch.manual_seed(0)
    layer = "tower.audio_encoder.layers.0"
    classifier = WaveformClassifier(ClapTower(), 64, RATE, [layer], FoldedTime(4))
    classifier.eval()
    draw = torch.Generator().manual_seed(0)
    wav = 0.1 * torch.randn(1, 163840, generator=draw)
    louder = wav.clone()
    start = round(second * RATE)
    louder[:, start : start + 160] += 3.0
    with torch.no_grad():
        (before,), (after,) = classifier(wav).hidden, classifier(louder).hidden
    assert before.shape[2:] == (128, 8)
    step = (before - after).abs().amax((0, 1, 3)).argmax().item()
    assert abs((step + 0.5) * 1280 - start) <= 3 * 1280


def heard_samples(value, wav):
    """The first and last sample that a value depends on."""
    (gradient,) = torch.autograd.grad(value, wav)
    reached = gradient[0].nonzero()[:, 0]
    return reached.min().item(), reached.max().item()


@pytest.mark.parametrize("step", [0, 3, 7])
def test_a_patch_of_ast_lies_in_the_middle_of_what_it_hears(step, hf_folder):
    model = HuggingFaceClassifier(str(hf_folder("audio-spectrogram-transformer"))).model
    wav = clips(16000)[:1].requires_grad_()
    name = "audio_spectrogram_transformer.embeddings.patch_embeddings"
    patches = model.model.get_submodule(name)(model.front_end(wav))
    # Tokens of the lowest band come first.
    first, last = heard_samples(patches[0, step].sum(), wav)
    places = model.layouts[0].steps
    # The Hann window is 0 at both ends of a frame.
    assert (first + last) / 2 == pytest.approx(places.first + step * places.hop, abs=1)
    assert last - first == pytest.approx(15 * 160 + 400, abs=4)


@pytest.mark.parametrize("step", [0, 5, 40])
@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm"])
def test_a_step_of_wav2vec2_lies_in_the_middle_of_what_it_hears(kind, step, hf_folder):
    # Its convolutions alone: the normalisation over time reaches everywhere.
    model = HuggingFaceClassifier(str(hf_folder(kind))).model
    wav = clips(16000)[:1].requires_grad_()
    maps = wav[:, None]
    for layer in model.model.get_submodule(f"{kind}.feature_extractor").conv_layers:
        maps = layer.conv(maps)
    first, last = heard_samples(maps[0, :, step].sum(), wav)
    places = model.layouts[0].steps
    assert (first + last) / 2 == places.first + step * places.hop
    assert last - first + 1 == model.min_samples
