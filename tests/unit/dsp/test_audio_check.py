"""Checks of audio files, all of which are decoded."""

import numpy as np
import pytest
import soundfile

from speechbrain_lmac.dsp.audio_check import BLOCK_FRAMES, AudioFault, check_audio

RATE = 8000


def noise(n_samples=RATE // 10):
    return 0.1 * np.random.default_rng(0).standard_normal(n_samples)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.98])
def test_a_truncated_file_is_found(tmp_path, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    # Longer than a block and than an Ogg page.
    soundfile.write(path, noise(n_samples=10 * RATE), RATE)
    assert check_audio(path).n_frames == 10 * RATE
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(AudioFault, match="^truncated"):
        check_audio(path)


def test_an_ogg_file_without_its_last_page_is_found(tmp_path):
    path = tmp_path / "cut.ogg"
    soundfile.write(path, noise(n_samples=10 * RATE), RATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"OggS")])  # ends with a whole page
    with pytest.raises(AudioFault, match="^truncated"):
        check_audio(path)


def test_unusual_chunks_of_wav_are_accepted_and_hide_no_fault(tmp_path):
    """Chunks before and after the samples, of odd sizes too; an unknown length."""
    path = tmp_path / "odd.wav"
    soundfile.write(path, noise(), RATE, subtype="PCM_16")
    whole = path.read_bytes()
    assert whole[36:40] == b"data"
    extra = b"LIST\x03\x00\x00\x00abc\x00"
    path.write_bytes(whole[:36] + extra + whole[36:] + extra)
    assert check_audio(path).n_frames == RATE // 10
    path.write_bytes(whole[:36] + extra + whole[36:-100])
    with pytest.raises(AudioFault, match="^truncated"):
        check_audio(path)
    path.write_bytes(whole[:40] + b"\xff" * 4 + whole[44:])
    assert check_audio(path).n_frames == RATE // 10


@pytest.mark.parametrize("frame", [0, -1])
def test_a_sample_in_any_block_and_channel_counts(tmp_path, frame):
    path = tmp_path / "a.wav"
    sound = np.zeros((BLOCK_FRAMES + 10, 2))
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    assert check_audio(path).silent
    sound[frame, 1] = 0.5
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    assert not check_audio(path).silent
    sound[frame, 1] = np.nan
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    with pytest.raises(AudioFault, match="NaN"):
        check_audio(path)
