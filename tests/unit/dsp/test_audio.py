"""Reading audio: rates, channels, formats, errors, and the cache."""

import math
import os
import re
import time

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from speechbrain_lmac.dsp import audio
from speechbrain_lmac.dsp.audio import (
    AudioReader,
    fix_length,
    read_audio,
    read_mono,
    resample,
    to_model_level,
)
from speechbrain_lmac.utils.errors import InputError

RATE = 16000
TONE_HZ, LEVEL = 1000.0, 0.5


def tone(rate, seconds=0.5, hz=TONE_HZ, level=LEVEL):
    time = np.arange(round(rate * seconds)) / rate
    return level * np.sin(2 * np.pi * hz * time)


def assert_tone(wav, hz=TONE_HZ, level=LEVEL, seconds=0.5, tolerance=0.02):
    """The tone alone, by least squares, away from the filter's edges."""
    assert wav.dtype == torch.float32
    assert wav.shape == (round(RATE * seconds),)
    wav = wav.double().numpy()[800:-800]
    phase = 2 * np.pi * hz * np.arange(800, 800 + len(wav)) / RATE
    basis = np.stack([np.sin(phase), np.cos(phase)], 1)
    amplitudes = np.linalg.lstsq(basis, wav, rcond=None)[0]
    assert np.hypot(*amplitudes) == pytest.approx(level, rel=tolerance)
    assert np.abs(wav - basis @ amplitudes).max() < tolerance * level
    # The filter delays nothing: 0.05 rad are an eighth of a sample.
    assert math.atan2(amplitudes[1], amplitudes[0]) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 96000])
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_tone_keeps_its_frequency_level_and_place(tmp_path, rate, kind):
    path = tmp_path / f"tone.{kind}"
    soundfile.write(path, tone(rate), rate)
    assert_tone(read_mono(path, RATE))


def test_a_tone_in_ogg(tmp_path):
    soundfile.write(tmp_path / "tone.ogg", tone(44100), 44100)
    assert_tone(read_mono(tmp_path / "tone.ogg", RATE), tolerance=0.05)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_sample_formats_are_read_at_the_same_level(tmp_path, subtype):
    soundfile.write(tmp_path / "tone.wav", tone(RATE), RATE, subtype=subtype)
    assert_tone(read_mono(tmp_path / "tone.wav", RATE))


def test_channels_are_averaged(tmp_path):
    left, right = tone(96000, level=0.8), tone(96000, level=0.2)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], 1), 96000)
    assert_tone(read_mono(str(tmp_path / "stereo.wav"), RATE), level=0.5)


def test_frequencies_above_half_the_rate_are_not_aliased(tmp_path):
    wav = tone(96000) + tone(96000, hz=20000, level=0.4)
    soundfile.write(tmp_path / "high.wav", wav, 96000, subtype="FLOAT")
    assert_tone(read_mono(tmp_path / "high.wav", RATE))


def test_a_file_at_the_models_rate_is_unchanged(tmp_path):
    wav = tone(RATE).astype("float32")
    soundfile.write(tmp_path / "a.wav", wav, RATE, subtype="FLOAT")
    assert np.array_equal(read_mono(tmp_path / "a.wav", RATE).numpy(), wav)


def test_read_audio_returns_all_channels(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((7, 3)), 44100)
    channels, rate = read_audio(tmp_path / "a.wav")
    assert (tuple(channels.shape), rate) == ((3, 7), 44100)


def write_missing(path):
    pass


def write_folder(path):
    path.mkdir()


def write_nothing(path):
    path.touch()


def write_text(path):
    path.write_text("This is no audio.\n" * 20)


def write_header(path):
    soundfile.write(path, tone(RATE), RATE)
    path.write_bytes(path.read_bytes()[:20])


def write_no_samples(path):
    soundfile.write(path, np.zeros((0, 1)), RATE)


def write_nan(path):
    wav = tone(RATE)
    wav[[3, 77]] = float("nan"), float("inf")
    soundfile.write(path, wav, RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    "write, message",
    [
        (write_missing, "^no such .*{path}"),
        (write_folder, "^no such .*{path}"),
        (write_nothing, "^cannot read {path}"),
        (write_text, "^cannot read {path}"),
        (write_header, "^cannot read {path}"),
        (write_no_samples, "^{path} .*no samples"),
        (write_nan, "^{path} .*2 .*NaN"),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_bad_files_are_named(tmp_path, write, message, cached):
    path = tmp_path / "clip.wav"
    write(path)
    reader = AudioReader(RATE, tmp_path / "cache" if cached else None)
    with pytest.raises(InputError, match=message.format(path=re.escape(str(path)))):
        reader(path)
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def decoded(monkeypatch):
    """The paths that are decoded."""
    paths, read = [], audio.read_mono

    def count(path, sample_rate):
        paths.append(path)
        return read(path, sample_rate)

    monkeypatch.setattr(audio, "read_mono", count)
    return paths


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(44100), 44100)
    return path


def test_a_second_read_does_not_decode(clip, tmp_path, decoded):
    wavs = [AudioReader(RATE, str(tmp_path / "cache"))(clip) for _ in range(2)]
    assert len(decoded) == 1
    assert torch.equal(*wavs)
    assert wavs[1].dtype == torch.float32


def test_without_a_cache_folder_nothing_is_written(clip, tmp_path, decoded):
    reader = AudioReader(RATE)
    assert torch.equal(reader(clip), reader(clip))
    assert len(decoded) == 2
    assert list(tmp_path.iterdir()) == [clip]


def test_a_changed_file_is_read_again(clip, tmp_path, decoded):
    reader = AudioReader(RATE, tmp_path / "cache")
    reader(clip)
    stat = os.stat(clip)
    soundfile.write(clip, tone(44100, level=0.1), 44100)  # of the same size
    assert os.stat(clip).st_size == stat.st_size
    os.utime(clip, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10_000_000))
    assert_tone(reader(clip), level=0.1)
    assert len(decoded) == 2


def test_rates_and_files_do_not_share_cached_audio(clip, tmp_path, decoded):
    other = tmp_path / "other.wav"
    soundfile.write(other, tone(44100, level=0.1), 44100)
    cache = tmp_path / "cache"
    assert len(AudioReader(8000, cache)(clip)) == 4000
    assert_tone(AudioReader(RATE, cache)(clip))
    assert_tone(AudioReader(RATE, cache)(other), level=0.1)
    assert len(decoded) == 3


def test_an_interrupted_write_leaves_no_cache_file(clip, tmp_path, monkeypatch):
    reader = AudioReader(RATE, tmp_path / "cache")
    save = np.save

    def interrupted(path, values):
        save(path, values[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reader(clip)
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.undo()
    assert_tone(reader(clip))


@pytest.mark.parametrize("n_samples", [1, 3, 5])
def test_fix_length_keeps_the_beginning_and_adds_silence(n_samples):
    wav = torch.tensor([1.0, 2.0, 3.0])
    fixed = fix_length(wav, n_samples)
    assert fixed.tolist() == [1.0, 2.0, 3.0, 0.0, 0.0][:n_samples]


@pytest.mark.parametrize(
    "wav, expected",
    [
        ([0.1, -0.5], [0.2, -1.0]),
        ([0.25, 0.5], [0.5, 1.0]),
        ([-0.5, -0.25], [-1.0, -0.5]),
        ([3.0, -4.0], [0.75, -1.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([1e-30, 0.0], [1.0, 0.0]),
    ],
)
def test_the_model_level_is_a_peak_of_one_of_either_sign(wav, expected):
    assert to_model_level(torch.tensor(wav)).tolist() == pytest.approx(expected)


# --- Sample rates ---------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_rates_in_use_are_resampled_exactly_as_torchaudio_does(rate):
    wav = torch.randn(rate // 10, generator=torch.Generator().manual_seed(0))
    for rates in ((rate, 16000), (16000, rate)):
        theirs = torchaudio.functional.resample(wav, *rates)
        assert torch.equal(resample(wav, *rates), theirs)


@pytest.mark.parametrize("rate", [4001, 11127, 22254, 44101, 47999, 191999])
def test_rates_without_a_common_factor_are_quick_and_right(rate):
    n_samples = 2 * rate
    wave = torch.sin(2 * math.pi * 440 * torch.arange(n_samples) / rate)
    begin = time.process_time()
    found = resample(wave, rate, 16000)
    back = resample(found, 16000, rate)
    assert time.process_time() - begin < 5
    assert len(found) == 32000
    assert len(back) == n_samples
    expected = torch.sin(2 * math.pi * 440 * torch.arange(len(found)) / 16000)
    inner = slice(1000, 31000)
    assert (found[inner] - expected[inner]).abs().max() < 0.02
    inner = slice(rate // 4, n_samples - rate // 4)
    assert (back[inner] - wave[inner]).abs().max() < 0.02


@pytest.mark.parametrize("rate", [22050, 44101])  # torchaudio's filter, and scipy's
def test_a_batch_is_resampled_as_its_items(rate):
    wavs = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([resample(wav, rate, 16000) for wav in wavs])
    torch.testing.assert_close(resample(wavs, rate, 16000), expected)
