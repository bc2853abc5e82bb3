"""Encoding: a mask that draws its class gives it to fixed sounds, another does not."""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.hub.registry import shipped_models
from speechbrain_lmac.inference.explain_file import explain_file
from speechbrain_lmac.inference.results import DRAWS
from speechbrain_lmac.metrics.checks import encoding as module
from speechbrain_lmac.metrics.checks.encoding import (
    NOISE_NAMES,
    SOUND_NAMES,
    EncodingCheck,
    fixed_sounds,
)
from speechbrain_lmac.types import ClassifierOutput

RATE, N = 16000, 8000
LOW, HIGH = 0, 1
LABELS = ["low", "high"]


class LowOrHigh:
    """The louder half of the bands, sure of it from 0.1 nepers on."""

    masks_padding = False

    def __init__(self):
        self.sizes = []

    def __call__(self, features):
        self.sizes.append(len(features))
        low, high = features.mean(1).chunk(2, dim=1)
        return ClassifierOutput(100 * torch.stack([low.mean(1), high.mean(1)], 1), ())


class Bins(AllOnesExplainer):
    """Masks that keep the bins of the explained class, whatever the clip is."""

    def explain(self, wav, target=None, lens=None):
        explanation = super().explain(wav, target, lens)
        cut = explanation.mask.shape[2] // 4
        for mask, c in zip(explanation.mask, explanation.target, strict=True):
            mask[:, cut:] *= c != LOW
            mask[:, :cut] *= c != HIGH
        return explanation


@pytest.fixture(scope="module")
def domain():
    return STFTDomain(RATE)


def tones(*frequencies, n_samples=N):
    """Waveforms (B, N) of one tone each."""
    time = torch.arange(n_samples) / RATE
    return torch.stack([torch.sin(2 * torch.pi * f * time) for f in frequencies])


def checked(domain, wavs, kind=Bins, classifier=None):
    """The probabilities (B, S) of the sounds under the masks of an explainer."""
    classifier = classifier or LowOrHigh()
    explained = kind(domain, classifier).explain(wavs)
    return EncodingCheck(domain, classifier)(explained.mask, explained.target, wavs)


def test_a_drawing_mask_gives_its_class_to_all_sounds_and_ones_to_none(domain):
    wavs = tones(300, 6000)
    drawn, ones = (checked(domain, wavs, k) for k in (Bins, AllOnesExplainer))
    assert (drawn[~drawn.isnan()] > 0.99).all()
    assert (ones[~ones.isnan()] < 0.5).all()
    # Each sound is of one of both classes, so it counts for the other one.
    assert (drawn.isnan().sum(0) == 1).all()
    assert torch.equal(drawn.isnan(), ones.isnan())
    assert ones.nanmean(1).isfinite().all() and drawn.shape == (2, len(SOUND_NAMES))


def test_a_clip_has_the_values_that_it_has_alone(domain, monkeypatch):
    wavs = tones(300, 700, 6000) * torch.tensor([[1.0], [0.1], [0.5]])
    together = checked(domain, wavs)
    for wav, values in zip(wavs, together, strict=True):
        assert torch.equal(
            checked(domain, wav[None])[0].nan_to_num(), values.nan_to_num()
        )
    monkeypatch.setattr(module, "SAMPLES_AT_ONCE", 1)  # a long clip: one by one
    torch.testing.assert_close(checked(domain, wavs), together, equal_nan=True)


def test_the_sounds_have_the_rms_of_the_clip(domain, monkeypatch):
    levels = []
    encode = STFTDomain.encode

    def recorded(self, wav, lens=None):
        levels.append(wav.square().mean(1).sqrt())
        return encode(self, wav, lens)

    wav = 0.3 * tones(6000)
    explained = Bins(domain, LowOrHigh()).explain(wav)
    monkeypatch.setattr(STFTDomain, "encode", recorded)
    EncodingCheck(domain, LowOrHigh())(explained.mask, explained.target, wav)
    (encoded,) = levels  # one batch
    assert len(encoded) == len(SOUND_NAMES)
    ratio_db = 20 * (encoded * 2**0.5 / 0.3).log10()
    assert (ratio_db.abs() <= 0.51 * module.LEVEL_STEP_DB).all()


def test_the_sounds_alone_are_classified_once_per_length_and_level(domain):
    classifier = LowOrHigh()
    explained = Bins(domain, classifier).explain(tones(6000))
    check = EncodingCheck(domain, classifier)
    classifier.sizes.clear()
    for gain, n_more in ((1, 1), (0.99, 0), (0.1, 1)):
        check(explained.mask, explained.target, gain * tones(6000))
        assert len(classifier.sizes) == 1 + n_more
        classifier.sizes.clear()


@pytest.mark.parametrize("n_samples", [1, 37, 400])
def test_silence_has_no_encoding_and_a_short_clip_has_one(domain, n_samples):
    wavs = torch.stack([torch.zeros(n_samples), torch.ones(n_samples)])
    silent, short = checked(domain, wavs)
    assert silent.isnan().all()
    assert short.nan_to_num(0).ge(0).all() and short.nan_to_num(0).le(1).all()


def test_a_mask_that_is_no_number_has_none(domain):
    classifier = LowOrHigh()
    wavs = tones(300, 6000)
    mask = torch.ones_like(domain.encode(wavs).rep)
    mask[0, 0, 0] = torch.nan
    values = EncodingCheck(domain, classifier)(mask, torch.tensor([LOW, HIGH]), wavs)
    assert values[0].isnan().all() and not values[1].isnan().all()


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_sounds_exist_at_any_rate_and_one_is_the_shipped_example(rate):
    sounds = fixed_sounds(rate)
    assert sounds.shape == (len(SOUND_NAMES), 5 * rate)
    assert sounds.square().mean(1).gt(0).all()
    if rate == 16000:
        wav, _ = soundfile.read(shipped_models()["esc10-lmac"] / "example.wav")
        example = torch.from_numpy(wav).float()
        found = torch.fft.irfft(
            torch.fft.rfft(sounds[3]) * torch.fft.rfft(example).conj()
        )
        assert torch.equal(sounds[3].roll(-int(found.argmax())), example)


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """Stereo at 8 kHz: 2 s of a high tone, and 2 s of silence."""
    wav = torch.cat([tones(3000, n_samples=2 * RATE)[0], torch.zeros(2 * RATE)])
    path = tmp_path_factory.mktemp("long") / "a.wav"
    soundfile.write(path, np.stack([wav[::2]] * 2, 1), RATE // 2)
    return path


def test_a_long_file_has_the_mean_over_its_windows(domain, long_file):
    explainer = Bins(domain, LowOrHigh())
    check = EncodingCheck(domain, explainer.classifier)

    def explained(check=check, target="high"):
        return explain_file(explainer, long_file, LABELS, "cpu", target, 1.0, check)

    scores = explained()
    values = [window.encoding for window in scores.windows]
    assert values[-1] is None and values[0] > 0.99  # silence, the tone
    assert scores.row()["encoding"] == pytest.approx(
        np.mean([value for value in values if value is not None])
    )
    assert set(scores.on_sounds) <= set(SOUND_NAMES)
    assert "encoding" not in explained(None).row()


@pytest.mark.parametrize("kind, draws", [(Bins, True), (AllOnesExplainer, False)])
def test_a_sentence_names_the_noise_and_the_class_of_a_mask_that_draws(
    domain, tmp_path, kind, draws
):
    soundfile.write(tmp_path / "a.wav", tones(300)[0].numpy(), RATE)
    explainer = kind(domain, LowOrHigh())
    check = EncodingCheck(domain, explainer.classifier)
    scores = explain_file(explainer, tmp_path / "a.wav", LABELS, check=check)
    assert (scores.warning() is not None) == draws
    if draws:
        highest = max(NOISE_NAMES, key=lambda name: scores.on_sounds.get(name, 0))
        assert scores.on_sounds[highest] > DRAWS
        assert highest in scores.warning() and " low " in scores.warning()
