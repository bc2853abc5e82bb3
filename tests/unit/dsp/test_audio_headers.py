"""Lengths that headers declare, against the lengths of files."""

import errno
import os

import numpy as np
import pytest
import soundfile

from speechbrain_lmac.dsp.audio_check import AudioFault, check_audio
from speechbrain_lmac.dsp.audio_headers import BEYOND, SLACK_BYTES, UNKNOWN
from tests import headers

N = 30000
KINDS = [("PCM_16", "WAV"), ("PCM_24", "WAV"), ("FLOAT", "WAV"), ("PCM_24", "WAVEX")]


def noise(channels=1):
    return 0.1 * np.random.default_rng(0).standard_normal((N, channels))


@pytest.fixture(params=KINDS, ids=" ".join)
def pieces(request):
    return headers.pieces(noise(), *request.param)


def write(folder, content):
    path = folder / "a.wav"
    path.write_bytes(content)
    return path


def test_harmless_wrong_lengths_are_doubted_and_read(pieces, tmp_path):
    plain, _ = soundfile.read(write(tmp_path, headers.wav_bytes(*pieces)))
    for name, content in headers.read_to_the_end(*pieces).items():
        path = write(tmp_path, content)
        check = check_audio(path)
        assert check.header_warning == (
            BEYOND if "beyond" in name or "counted" in name else UNKNOWN
        )
        assert check.n_frames == N, name
        assert np.array_equal(soundfile.read(path)[0], plain), name


def test_right_lengths_are_not_doubted(pieces, tmp_path):
    for name, content in headers.right(*pieces).items():
        check = check_audio(write(tmp_path, content))
        assert (check.n_frames, check.header_warning) == (N, ""), name


def test_truncated_files_raise(pieces, tmp_path):
    for name, (content, fault) in headers.broken(*pieces).items():
        with pytest.raises(AudioFault, match=fault):
            pytest.fail(f"{name}: {check_audio(write(tmp_path, content))}")


@pytest.mark.parametrize("channels", [3, 5])
def test_sox_counts_whole_frames(tmp_path, channels):
    before, sound = headers.pieces(noise(channels), "PCM_24")
    size = 0x7FFFF000 // (3 * channels) * 3 * channels
    assert size != 0x7FFFF000
    path = write(tmp_path, headers.wav_bytes(before, sound, size=size))
    assert check_audio(path).header_warning == UNKNOWN


def test_how_much_may_be_missing(tmp_path):
    before, sound = headers.pieces(noise())
    for missing in (1, 2, SLACK_BYTES):
        path = write(tmp_path, headers.wav_bytes(before, sound)[:-missing])
        assert check_audio(path).header_warning == BEYOND
    path = write(tmp_path, headers.wav_bytes(before, sound)[: -SLACK_BYTES - 1])
    with pytest.raises(AudioFault, match="truncated"):
        check_audio(path)
    # Of a short sound a fiftieth.
    short = headers.wav_bytes(before, sound[:1000])
    assert check_audio(write(tmp_path, short[:-20])).header_warning == BEYOND
    with pytest.raises(AudioFault, match="truncated"):
        check_audio(write(tmp_path, short[:-21]))


@pytest.mark.parametrize("container", ["AIFF", "AU", "W64", "RF64", "CAF", "FLAC"])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_truncated_files_of_other_containers_raise(tmp_path, container, share):
    path = tmp_path / "a"
    soundfile.write(path, noise(), headers.RATE, "PCM_16", format=container)
    assert check_audio(path).n_frames == N
    assert check_audio(path).header_warning == ""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(AudioFault, match="^(truncated|unreadable)"):
        check_audio(path)


def test_paths_without_a_file_raise(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    for name, fault in {
        "pipe.wav": "pipe",
        "folder.wav": "folder",
        "/dev/zero": "device",
        "loop.wav": os.strerror(errno.ELOOP),
        "x" * 300: os.strerror(errno.ENAMETOOLONG),
        "none.wav": "^missing",
        "a\0.wav": "^missing",
    }.items():
        with pytest.raises(AudioFault, match=fault):
            check_audio(tmp_path / name)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write(tmp_path, headers.wav_bytes(*headers.pieces(noise())))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # the tests may run as root
    with pytest.raises(AudioFault, match="Permission denied"):
        check_audio(path)


def test_a_name_that_is_not_utf_8(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    with open(path, "wb") as file:
        file.write(headers.wav_bytes(*headers.pieces(noise())))
    assert check_audio(os.fsdecode(path)).n_frames == N


def test_files_to_convert_are_named_with_the_command(tmp_path):
    path = tmp_path / "my clip.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A ")
    with pytest.raises(AudioFault, match="unreadable") as fault:
        check_audio(path)
    command = f"ffmpeg -i '{path}' '{path.with_suffix('.wav')}'"
    assert command in str(fault.value)
