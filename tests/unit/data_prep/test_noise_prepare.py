"""Corpora of noise and speech: layouts, parts that share nothing, faults."""

import json
import re
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from speechbrain_lmac.data.corpora import SPLITS, checksum, part_of, read_part
from speechbrain_lmac.data_prep import noise_prepare
from speechbrain_lmac.data_prep.noise_prepare import (
    LJSpeech,
    SoundFolder,
    WhamNoise,
    main,
)
from speechbrain_lmac.utils.errors import InputError

RATE = 16000


def write(path, seed, n_frames=800, channels=1, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = 0.1 * np.random.default_rng(seed).standard_normal((n_frames, channels))
    soundfile.write(path, sound, rate)


@pytest.fixture
def wham(tmp_path):
    """WHAM! as its archive has it: stereo at 16 kHz, tables with `utterance_id`."""
    root = tmp_path / "corpus" / "wham_noise"
    for place, part in enumerate(("tr", "cv", "tt")):
        names = [f"{part}01{i}_0.5_02{i}_-0.5.wav" for i in range(3)]
        for i, name in enumerate(names):
            write(root / part / name, 10 * place + i, channels=2)
        table = root / "metadata" / f"noise_meta_{part}.csv"
        table.parent.mkdir(exist_ok=True)
        lines = ["utterance_id,noise_snr", *(f"{name},1.5" for name in names)]
        table.write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def ljspeech(tmp_path):
    """LJSpeech as its archive has it: 22.05 kHz, a table with bars and quotes."""
    root = tmp_path / "corpus" / "LJSpeech-1.1"
    lines = []
    for i in range(30):
        write(root / "wavs" / f"LJ001-{i:04}.wav", i, 500 + i, rate=22050)
        lines.append(f'LJ001-{i:04}|He said "{i}, |he said "number')
    (root / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@pytest.fixture
def folder(tmp_path):
    """Sixty files of several kinds and rates, in folders."""
    for i in range(60):
        suffix, rate = [("wav", 8000), ("flac", 44100), ("ogg", 16000)][i % 3]
        channels = 1 + i % 2
        path = tmp_path / "sounds" / f"speaker{i % 4}" / f"{i}.{suffix}"
        write(path, i, 3000, channels, rate)
    (tmp_path / "sounds" / "README.md").write_text("no audio")
    return tmp_path / "sounds"


def contents(corpus):
    """Part -> checksums of its files."""
    return {p: {f["checksum"] for f in entries(corpus, p).values()} for p in SPLITS}


def entries(corpus, part):
    return json.loads((corpus.manifest_folder / f"{part}.json").read_text())


def states(path):
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in path.iterdir()}


# --- Layouts --------------------------------------------------------------------------


@pytest.mark.parametrize("outer", [True, False])
def test_wham_has_its_own_parts(wham, tmp_path, outer):
    corpus = WhamNoise(wham.parent if outer else wham, tmp_path / "json")
    assert corpus.prepare().counts == {"train": 3, "valid": 3, "test": 3}
    assert corpus.root == wham
    name = "cv/cv010_0.5_020_-0.5.wav"
    assert entries(corpus, "valid")[name] == {
        "wav": f"{{data_root}}/{name}",
        "n_frames": 800,
        "sample_rate": RATE,
        "checksum": checksum(wham / name),
    }
    assert not entries(corpus, "test").keys() & entries(corpus, "train").keys()


def test_wham_without_a_part_and_with_a_missing_file(wham, tmp_path):
    (wham / "tr" / "tr010_0.5_020_-0.5.wav").unlink()
    corpus = WhamNoise(wham, tmp_path / "json")
    (warning,) = corpus.prepare().warnings
    assert warning == "missing files of the metadata (1): tr/tr010_0.5_020_-0.5.wav"
    assert corpus.prepare().warnings == (warning,)
    (wham / "tt").rename(wham / "test")
    with pytest.raises(InputError, match="WHAM.* tt$"):
        corpus.prepare()


def test_the_first_utterances_of_ljspeech(ljspeech, tmp_path):
    corpus = LJSpeech(ljspeech, tmp_path / "json", first=20)
    assert sum(corpus.prepare().counts.values()) == 20
    names = {name for part in SPLITS for name in entries(corpus, part)}
    assert names == {f"wavs/LJ001-{i:04}.wav" for i in range(20)}
    assert LJSpeech(ljspeech, tmp_path).first == 10_000
    more = LJSpeech(ljspeech, tmp_path / "more", first=30)
    more.prepare()
    for part in SPLITS:  # those that were there stay in their parts
        assert entries(corpus, part).items() <= entries(more, part).items()


def test_ljspeech_without_a_table(ljspeech, tmp_path):
    (ljspeech / "metadata.csv").write_text("no bars\n")
    with pytest.raises(InputError, match="metadata.csv has no"):
        LJSpeech(ljspeech, tmp_path / "json").prepare()
    (ljspeech / "metadata.csv").unlink()
    with pytest.raises(InputError, match="cannot read .*metadata.csv"):
        LJSpeech(ljspeech, tmp_path / "json").prepare()


def test_corpora_are_downloaded_and_unpacked(wham, ljspeech, tmp_path):
    with zipfile.ZipFile(tmp_path / "wham.zip", "w") as bundle:
        for path in wham.rglob("*.*"):
            bundle.write(path, path.relative_to(wham.parent))
        bundle.writestr("__MACOSX/x", "what some archives have beside their folder")
    with tarfile.open(tmp_path / "lj.tar.bz2", "w:bz2") as bundle:
        bundle.add(ljspeech, "LJSpeech-1.1")
    for kind, name, n_files in [
        (WhamNoise, "wham.zip", 9),
        (LJSpeech, "lj.tar.bz2", 30),
    ]:
        new = tmp_path / "new" / kind.__name__
        corpus = kind(new, tmp_path / name[:2], url=(tmp_path / name).as_uri())
        assert sum(corpus.prepare().counts.values()) == n_files
        absent = kind(tmp_path / "absent", tmp_path / "json", download=False)
        with pytest.raises(InputError, match="/absent: unpack http"):
            absent.prepare()


# --- Parts ----------------------------------------------------------------------------


def test_a_folder_is_split_by_content(folder, tmp_path):
    corpus = SoundFolder(folder, tmp_path / "json")
    counts = corpus.prepare().counts
    assert sum(counts.values()) == 60
    assert counts["train"] > 25 and counts["valid"] > 5 and counts["test"] > 5
    before = contents(corpus)
    assert (
        not before["train"] & before["test"] and not before["train"] & before["valid"]
    )
    # Other names, other order, another time: the same parts.
    for i, path in enumerate(sorted(folder.rglob("*.flac"))):
        path.rename(folder / f"renamed{97 * i % 20}.flac")
    corpus.prepare()
    assert contents(corpus) == before
    # Fewer files: those that stay do not move.
    for path in folder.rglob("*.ogg"):
        path.unlink()
    corpus.prepare()
    assert all(contents(corpus)[part] <= before[part] for part in SPLITS)


def test_shares_are_kept_in_the_long_run():
    digests = [f"{i * 2654435761 % 2**32:08x}" + 24 * "0" for i in range(5000)]
    parts = [part_of(digest, (0.5, 0.3, 0.2)) for digest in digests]
    for part, share in zip(SPLITS, (0.5, 0.3, 0.2), strict=True):
        assert parts.count(part) / 5000 == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (1.2, -0.2, 0), (0.6, 0.2, 0.1)])
def test_impossible_shares(folder, tmp_path, shares):
    with pytest.raises(InputError, match="shares .*got"):
        SoundFolder(folder, tmp_path / "json", shares).prepare()


def test_a_copy_in_another_part_is_left_out_of_the_training(wham, tmp_path):
    first = wham / "tr" / "tr010_0.5_020_-0.5.wav"
    (wham / "tr" / "twin.wav").write_bytes(first.read_bytes())
    (wham / "tt" / "copy.wav").write_bytes(first.read_bytes())
    corpus = WhamNoise(wham, tmp_path / "json")
    manifests = corpus.prepare()
    assert manifests.counts == {"train": 2, "valid": 3, "test": 4}
    (warning,) = manifests.warnings
    assert "(2): tr/tr010_0.5_020_-0.5.wav, tr/twin.wav" in warning


def test_a_part_without_a_file(folder, tmp_path):
    corpus = SoundFolder(folder, tmp_path / "json", (1.0, 0.0, 0.0))
    assert corpus.prepare().counts == {"train": 60, "valid": 0, "test": 0}
    assert len(read_part(corpus, "train")) == 60
    with pytest.raises(InputError, match="test part of .*/sounds is empty"):
        read_part(corpus, "test")


# --- Faults and repetition ------------------------------------------------------------


def test_an_unchanged_corpus_is_left_alone(folder, tmp_path, monkeypatch):
    corpus = SoundFolder(folder, tmp_path / "json")
    first = corpus.prepare()
    before = states(tmp_path / "json")
    with monkeypatch.context() as patch:
        patch.setattr(noise_prepare, "check_audio", None)
        assert corpus.prepare() == first
    assert states(tmp_path / "json") == before
    write(folder / "new.wav", 99)
    assert sum(corpus.prepare().counts.values()) == 61


def test_all_faults_come_in_one_message(folder, tmp_path):
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan]), RATE, "FLOAT")
    (folder / "text.wav").write_text("no audio at all")
    (folder / "empty.flac").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        SoundFolder(folder, tmp_path / "json").prepare()
    message = str(caught.value)
    assert "has 3 faults" in message
    assert "(1): nan.wav" in message
    assert "unreadable" in message and "(1): text.wav" in message
    assert "(1): empty.flac" in message
    assert not (tmp_path / "json").exists()


def test_silent_files_are_left_out_and_counted(folder, tmp_path):
    soundfile.write(folder / "silent.wav", np.zeros(100), RATE)
    manifests = SoundFolder(folder, tmp_path / "json").prepare()
    assert sum(manifests.counts.values()) == 60
    assert manifests.warnings == ("silent files skipped (1): silent.wav",)


def test_folders_without_sound(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    soundfile.write(tmp_path / "empty" / "a.wav", np.zeros(9), RATE)
    for name, message in [
        ("absent", "absent is not a folder"),
        ("file", "file is not a folder"),
        ("empty", r"empty .*silent .*\(1\)"),
    ]:
        with pytest.raises(InputError, match=message):
            SoundFolder(tmp_path / name, tmp_path / "json").prepare()
    (tmp_path / "empty" / "a.wav").unlink()
    with pytest.raises(InputError, match="/empty has no"):
        SoundFolder(tmp_path / "empty", tmp_path / "json").prepare()
    with pytest.raises(InputError, match="/file .* folder"):
        WhamNoise(tmp_path / "file", tmp_path / "json").prepare()


def test_the_command_line(folder, tmp_path, capsys):
    arguments = ["--manifest_folder", str(tmp_path / "json")]
    assert main(["folder", str(folder), *arguments]) == 0
    assert " train, " in capsys.readouterr().out
    assert main(["folder", str(tmp_path / "absent"), *arguments]) == 2
    assert re.match(r"error: .*absent is not a folder", capsys.readouterr().err)
