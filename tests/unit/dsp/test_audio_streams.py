"""Audio in blocks, against the same audio as a whole."""

import math
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_lmac.dsp import audio_streams
from speechbrain_lmac.dsp.audio import read_audio, read_mono, resample
from speechbrain_lmac.dsp.audio_check import AudioFault, check_audio
from speechbrain_lmac.dsp.audio_streams import MonoFile, Resampler, WavWriter
from speechbrain_lmac.utils.errors import InputError

RATES = [(44100, 16000), (16000, 44100), (48000, 16000), (8000, 16000)]
ODD_RATES = [(16000, 16000), (22050, 16000), (44101, 16000), (16000, 44101)]


def noise(n_samples, n_channels=1):
    draw = np.random.default_rng(0)
    return 0.1 * draw.standard_normal((n_samples, n_channels)).astype("float32")


def write(path, wav, rate=16000):
    soundfile.write(path, wav, rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("from_rate, to_rate", RATES + ODD_RATES)
@pytest.mark.parametrize("n_samples", [1, 700, 60_001])
def test_blocks_are_resampled_as_the_whole(monkeypatch, from_rate, to_rate, n_samples):
    monkeypatch.setattr(audio_streams, "BLOCK", 5000)
    wav = torch.from_numpy(noise(n_samples)[:, 0])
    resampler = Resampler(from_rate, to_rate, n_samples)
    edges = sorted({0, 1, n_samples // 3, n_samples // 2, n_samples})
    blocks = [resampler.push(wav[a:b]) for a, b in pairwise(edges)]
    whole = resample(wav, from_rate, to_rate)
    assert len(whole) == math.ceil(n_samples * to_rate / from_rate)
    torch.testing.assert_close(torch.cat(blocks), whole, rtol=0, atol=1e-6)


def test_a_block_is_resampled_before_the_signal_ends(monkeypatch):
    monkeypatch.setattr(audio_streams, "BLOCK", 5000)
    resampler = Resampler(44100, 16000, 10**9)
    ready = sum(len(resampler.push(torch.zeros(20_000))) for _ in range(10))
    assert ready > 0.9 * 200_000 * 16 / 44.1
    assert len(resampler.buffer) < 30_000


@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_a_file_in_blocks_is_the_file(monkeypatch, tmp_path, n_channels):
    path = write(tmp_path / "a.wav", noise(12_345, n_channels))
    monkeypatch.setattr(audio_streams, "BLOCK", 1000)
    file = MonoFile(path)
    blocks = list(file)
    assert len(blocks) == 13
    assert (file.sample_rate, file.n_samples) == (16000, 12_345)
    expected = read_mono(path, 16000)
    torch.testing.assert_close(torch.cat(blocks), expected, rtol=0, atol=1e-7)
    assert not file.silent


@pytest.mark.parametrize(
    "right, taken",
    [
        (1.0, "mean of 2"),
        (-0.8, "mean of 2"),  # 19.1 dB below the channels
        (-0.9, "1 of 2 (the mean cancels)"),  # 25.6 dB below
        (-1.1, "2 of 2 (the mean cancels)"),
        (0.0, "mean of 2"),
    ],
)
def test_channels_that_cancel_are_not_averaged(tmp_path, right, taken):
    # Phones and cables invert one channel: the mean is rounding noise.
    left = noise(8000)
    path = write(tmp_path / "a.wav", np.hstack([left, right * left]))
    file = MonoFile(path)
    assert file.channel == taken
    gain = {"m": (1 + right) / 2, "1": 1.0, "2": right}[taken[0]]
    for wav in (torch.cat(list(file)), read_mono(path, 16000)):
        np.testing.assert_allclose(wav.numpy(), gain * left[:, 0], atol=1e-7)


def test_silence_of_two_channels_is_silence(tmp_path):
    file = MonoFile(write(tmp_path / "a.wav", np.zeros((100, 2))))
    assert file.silent and file.channel == "mean of 2"
    assert MonoFile(write(tmp_path / "b.wav", noise(100))).channel == "1 of 1"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinite_samples_are_counted(tmp_path, value):
    wav = noise(300_000)
    wav[[5, 299_999]] = value
    with pytest.raises(InputError, match="a.wav .*2.*NaN"):
        MonoFile(write(tmp_path / "a.wav", wav))


@pytest.mark.parametrize("read", [MonoFile, lambda path: read_mono(path, 16000)])
def test_a_truncated_file_is_not_read_as_a_shorter_one(tmp_path, read):
    path = write(tmp_path / "a.wav", noise(10_000))
    read(path)
    path.write_bytes(path.read_bytes()[:-8000])
    with pytest.raises(InputError, match="a.wav .*truncated"):
        read(path)


@pytest.mark.parametrize("largest", [audio_streams.LARGEST_WAV, 1000])
def test_a_file_written_in_blocks_is_read_back(monkeypatch, tmp_path, largest):
    monkeypatch.setattr(audio_streams, "LARGEST_WAV", largest)
    path, wav = tmp_path / "new" / "a.wav", 30 * noise(5000)[:, 0]
    writer = WavWriter(path, 22050, 5000)
    for block in torch.from_numpy(wav).split(1700):
        writer.write(block)
    assert not path.exists()
    writer.close()
    read, rate = soundfile.read(path, dtype="float32")
    assert rate == 22050 and np.array_equal(read, wav)
    assert soundfile.info(path).format == ("RF64" if largest == 1000 else "WAV")


def test_an_unfinished_file_is_removed(tmp_path):
    writer = WavWriter(tmp_path / "a.wav", 16000, 10)
    writer.write(torch.zeros(5))
    writer.close(complete=False)
    assert not list(tmp_path.iterdir())


def test_a_long_file_that_changes_during_reading_raises(tmp_path, monkeypatch):
    path = write(tmp_path / "x.wav", noise(5000))
    monkeypatch.setattr(audio_streams, "BLOCK", 1000)
    monkeypatch.setattr(audio_streams, "CACHED_SAMPLES", 4999)
    sound = MonoFile(path)
    assert sum(map(len, sound)) == 5000
    write(path, noise(3000))
    with pytest.raises(InputError, match="x.wav .*5000.*3000"):
        list(sound)


@pytest.mark.parametrize("rate", [5, 2**31 - 1])
@pytest.mark.parametrize("read", [MonoFile, read_audio, check_audio])
def test_an_impossible_sample_rate_raises(tmp_path, read, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(100), 16000)
    content = bytearray(path.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises((InputError, AudioFault), match=f" {rate:,} Hz"):
        read(path)
