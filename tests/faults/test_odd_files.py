"""Headers, names and lengths: each file is explained rightly or refused in one line."""

import os
import sys
import unicodedata
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import soundfile

from speechbrain_lmac.cli import main
from speechbrain_lmac.inference import AudioClassifier
from speechbrain_lmac.utils.escaping import readable
from tests import headers

TOLERANCE = 1e-3  # of a confidence
RATE = headers.RATE
NAMES = [
    b"caf\xe9.wav",
    b"\xff\xfe.wav",
    b"two\nlines\tand\x1b[31m.wav",
    b"x" * 236 + b".wav",
    b"x" * 251 + b".wav",
    "é".encode() * 125 + b".wav",
    "雨".encode() * 83 + b".wav",
    "🐕".encode() * 62 + b".wav",
    b"$a{b}_c^.wav",
    b"=1+1.wav",
    b"-o.wav",
    b" .wav",
    b"a.b.wav",
    b"CON.wav",
    b"[1]?*.wav",
    b"'\".wav",
    b"Twin.wav",
    b"twin.wav",
    *(unicodedata.normalize(form, "é.wav").encode() for form in ("NFC", "NFD")),
    b"a_rest.wav",
    b"a.wav",
]


@dataclass
class Case:
    """A file, and what is right about it."""

    path: str
    plain: str = ""  # the same sound in a plain file; "": to be refused
    said: str = ""  # of one that is to be refused


@pytest.fixture(scope="module")
def classify():
    """A path to the class and its confidence."""
    model = AudioClassifier.from_hparams("esc10-lmac", run_opts={"device": "cpu"})

    def classify(path):
        _, score, _, (label,) = model.classify_file(path)
        return label, float(score)

    return classify


@pytest.fixture
def counted(tmp_path, monkeypatch, capsys, classify, record):
    """`counted(name, cases)`: explained in one command, compared, noted."""

    def counted(name, cases):
        out = tmp_path / "out"
        argv = ["explain", "-", "--no_pictures", "--device=cpu"]
        monkeypatch.setattr(
            sys, "argv", ["speechbrain-lmac", *argv, f"--output_folder={out}"]
        )
        listed = tmp_path / "list"
        listed.write_bytes(b"\0".join(os.fsencode(case.path) for case in cases))
        with open(listed, encoding="utf-8") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            with (
                pytest.raises(SystemExit)
                if any(not case.plain for case in cases)
                else _nothing() as end
            ):
                main()
        printed = capsys.readouterr()
        assert end is None or end.value.code == 2
        lines = printed.err.split("\n")
        rows = pd.read_csv(out / "explanations.csv").set_index("file")
        explained, refused, wrong = 0, 0, []
        for case in cases:
            file = os.fsencode(case.path).decode("utf-8", "backslashreplace")
            answer = rows.loc[file] if file in rows.index else None
            told = [line for line in lines if f"  {readable(case.path)}: " in line]
            explained += answer is not None
            refused += answer is None and len(told) == 1
            if not _is_right(case, answer, told, classify):
                wrong.append((case, answer, told))
        tracebacks = (printed.err + printed.out).count("Traceback")
        record(
            name,
            explained=explained,
            refused=refused,
            wrong=len(wrong),
            tracebacks=tracebacks,
        )
        assert (wrong, tracebacks) == ([], 0)
        assert explained + refused == len(cases)
        assert len(rows) == explained
        written = os.listdir(os.fsencode(out))
        assert len(written) >= 3 * explained + 2
        for path in written:
            path.decode("utf-8")
        return printed

    return counted


class _nothing:
    """No exception is awaited."""

    def __enter__(self):
        return None

    def __exit__(self, *error):
        return False


def _is_right(case, answer, told, classify):
    if not case.plain:
        return answer is None and len(told) == 1 and case.said in told[0]
    if answer is None:
        return False
    label, score = classify(case.plain)
    right = label == answer["explained"]
    right &= abs(score - answer["confidence"]) <= TOLERANCE
    return right and abs(soundfile.info(case.plain).duration - answer["seconds"]) < 1e-6


def sound(n_samples, rate=RATE, seed=0):
    """A tone in noise (N, 1)."""
    noise = 0.05 * np.random.default_rng(seed).standard_normal((n_samples, 1))
    return noise + 0.3 * np.sin(np.arange(n_samples) * 2700 / rate)[:, None]


def test_headers(counted, tmp_path, longest_seconds, caplog):
    kinds = [("PCM_16", "WAV"), ("PCM_24", "WAVEX"), ("FLOAT", "WAV")]
    kinds += [("PCM_24", "WAV"), ("PCM_U8", "WAV")] if longest_seconds > 60 else []
    cases = []
    for subtype, container in kinds:
        pieces = headers.pieces(sound(16000), subtype, container)
        plain = tmp_path / f"plain {subtype} {container}.wav"
        plain.write_bytes(headers.wav_bytes(*pieces))
        whole = headers.read_to_the_end(*pieces) | headers.right(*pieces)
        for name, content in whole.items():
            path = tmp_path / f"{name} {subtype} {container}.wav"
            path.write_bytes(content)
            cases.append(Case(str(path), str(plain)))
        for name, (content, said) in headers.broken(*pieces).items():
            path = tmp_path / f"bad {name} {subtype} {container}.wav"
            path.write_bytes(content)
            cases.append(Case(str(path), said=said))
    counted("odd_headers", cases)
    assert caplog.text.count(", read to the end (") == 2  # a line for each doubt


def test_names(counted, tmp_path):
    cases = []
    for number, name in enumerate(NAMES):
        plain, path = tmp_path / f"{number}.wav", os.fsencode(tmp_path) + b"/" + name
        soundfile.write(plain, sound(8000, seed=number), RATE)
        with open(path, "wb") as file:
            file.write(plain.read_bytes())
        cases.append(Case(os.fsdecode(path), str(plain)))
    counted("odd_names", cases)
    written = [unicodedata.normalize("NFC", n).casefold() for n in os.listdir("out")]
    assert len(set(written)) == len(written)


def test_lengths(counted, tmp_path, longest_seconds):
    cases = []
    seconds = [0.1, 1, 5, 7.4, 7.6, 8, 60, 600, 1800]
    for rate in (8000, 16000, 44100):
        lengths = [1, 2, 3, 100, *(round(s * rate) for s in seconds)]
        longest = longest_seconds if rate == RATE else min(60, longest_seconds)
        for n_samples in lengths:
            if n_samples <= longest * rate:
                kind = "flac" if n_samples == 100 else "wav"
                path = tmp_path / f"{n_samples} at {rate}.{kind}"
                soundfile.write(path, sound(n_samples, rate), rate, "PCM_16")
                cases.append(Case(str(path), str(path)))
    counted("odd_lengths", cases)


def test_what_is_no_file(counted, tmp_path):
    def path(name):
        return tmp_path / name

    soundfile.write(path("a.wav"), sound(8000), RATE)
    path("link.wav").symlink_to("a.wav")
    os.mkfifo(path("pipe.wav"))
    path("loop.wav").symlink_to("loop.wav")
    path("dangling.wav").symlink_to("nowhere.wav")
    path("folder.wav").mkdir()
    path("clip.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    path("film.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    no_file = "a folder, a pipe or a device"
    said = {
        path("pipe.wav"): no_file,
        "/dev/zero": no_file,
        path("loop.wav"): "Too many levels of symbolic links",
        path("dangling.wav"): "missing audio file",
        path("folder.wav"): "no audio file in this folder",
        path("clip.m4a"): "ffmpeg -i",
        path("film.mp4"): "ffmpeg -i",
        path("none.wav"): "missing audio file",
        path("x" * 300): "File name too long",
        path("*.ogg"): "no file matches",
    }
    plain = str(path("a.wav"))
    cases = [Case(plain, plain), Case(str(path("link.wav")), plain)]
    cases += [Case(str(place), said=words) for place, words in said.items()]
    counted("odd_things", cases)
