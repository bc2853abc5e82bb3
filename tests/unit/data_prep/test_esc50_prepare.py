"""Manifests of ESC-50: content, updates, and every fault in one message."""

import csv
import io
import json
import os
import zipfile

import numpy as np
import pytest
import soundfile

from speechbrain_lmac.data_prep import esc50_prepare
from speechbrain_lmac.data_prep.esc50_prepare import esc50_classes, prepare_esc50
from speechbrain_lmac.data_prep.manifest import write_manifests
from speechbrain_lmac.data_prep.toy_prepare import make_toy
from speechbrain_lmac.dsp.toy_sounds import TOY_CLASSES
from speechbrain_lmac.utils.errors import InputError

RATE = 8000
CLASSES = ["dog", "rain"]
COLUMNS = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]


def noise(seed=0, n_samples=RATE // 10):
    return 0.1 * np.random.default_rng(seed).standard_normal(n_samples)


def write_table(folder, rows, columns=COLUMNS):
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    with open(folder / "meta" / "esc50.csv", "w", newline="") as file:
        table = csv.DictWriter(file, columns, restval="0", extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def esc50_rows(suffix="wav", esc10="True"):
    """A clip of each of two classes in each of five folds."""
    return [
        {
            "filename": f"{fold}-{fold}{target}-A-{target}.{suffix}",
            "fold": fold,
            "category": category,
            "esc10": esc10,
        }
        for fold in range(1, 6)
        for target, category in enumerate(CLASSES)
    ]


def make_esc50(folder, rows, columns=COLUMNS):
    write_table(folder, rows, columns)
    (folder / "audio").mkdir()
    for seed, row in enumerate(rows):
        soundfile.write(folder / "audio" / row["filename"], noise(seed), RATE)
    return folder


@pytest.fixture
def esc50(tmp_path):
    return make_esc50(tmp_path / "ESC-50", esc50_rows())


def prepare(esc50, **options):
    options = {"categories": CLASSES, "download": False} | options
    return prepare_esc50(esc50, esc50.parent / "json", **options)


def states(folder):
    """Name -> (inode, time of change): both are new when a file is rewritten."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.iterdir()}


def no_decoding(path):
    raise AssertionError(f"{path} was decoded again")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_entries_say_what_is_in_the_file(tmp_path, suffix):
    esc50 = make_esc50(tmp_path / "ESC-50", esc50_rows(suffix))
    manifests = prepare(esc50)
    assert manifests.counts == {"train": 6, "valid": 2, "test": 2}
    assert manifests.warnings == ()
    assert json.loads(manifests.valid.read_text()) == {
        f"4-4{target}-A-{target}": {
            "wav": f"{{data_root}}/audio/4-4{target}-A-{target}.{suffix}",
            "duration": 0.1,
            "sample_rate": RATE,
            "category": category,
            "fold": 4,
        }
        for target, category in enumerate(CLASSES)
    }
    folds = [clip["fold"] for clip in json.loads(manifests.train.read_text()).values()]
    assert folds == [1, 1, 2, 2, 3, 3]
    assert {clip[0] for clip in json.loads(manifests.test.read_text())} == {"5"}


def test_the_toy_dataset_is_in_the_layout(tmp_path):
    toy = make_toy(tmp_path / "toy", 30, seconds=1.0)
    manifests = prepare(toy, categories=TOY_CLASSES)
    assert manifests.counts == {"train": 18, "valid": 6, "test": 6}


def test_subset_and_unused_folds_are_left_out(tmp_path):
    """Neither audio nor classes of the folds left out are checked."""
    rows = esc50_rows()
    esc50 = make_esc50(tmp_path / "ESC-50", rows)
    other = {"filename": "no.wav", "fold": 1, "category": "cow", "esc10": "False"}
    write_table(esc50, [*rows, other])
    (esc50 / "audio" / rows[4]["filename"]).unlink()  # of fold 3
    manifests = prepare(esc50, subset="esc10", train_folds=[1, 2])
    assert manifests.counts == {"train": 4, "valid": 2, "test": 2}
    with pytest.raises(InputError, match=r"unknown class \(1\): no.wav"):
        prepare(esc50)


def test_an_unchanged_dataset_is_left_alone(esc50, monkeypatch):
    first = prepare(esc50)
    before = states(esc50.parent / "json")
    assert sorted(before) == [
        "manifest.fingerprint.json",
        "test.json",
        "train.json",
        "valid.json",
    ]
    monkeypatch.setattr(esc50_prepare, "check_audio", no_decoding)
    assert prepare(esc50) == first
    esc50.rename(esc50.parent / "moved")  # {data_root} takes care of it
    assert prepare(esc50.parent / "moved") == first
    assert states(esc50.parent / "json") == before


def change_audio(esc50):
    soundfile.write(esc50 / "audio" / "1-10-A-0.wav", noise(n_samples=RATE), RATE)
    return {}


def change_time(esc50):
    os.utime(esc50 / "audio" / "1-10-A-0.wav", ns=(0, 0))
    return {}


def change_audio_behind_the_clock(esc50):
    path = esc50 / "audio" / "1-10-A-0.wav"
    time = path.stat().st_mtime_ns
    soundfile.write(path, noise(n_samples=RATE), RATE)
    os.utime(path, ns=(time, time))
    return {}


def change_table(esc50):
    rows = esc50_rows()
    rows[0]["category"], rows[2]["category"] = "rain", "dog"
    rows[1]["category"] = "dog"
    write_table(esc50, rows)
    return {}


def change_folds(esc50):
    return {"train_folds": [1, 2]}


def swap_folds(esc50):
    return {"valid_folds": [5], "test_folds": [4]}


def lose_manifest(esc50):
    (esc50.parent / "json" / "test.json").unlink()
    return {}


def damage_fingerprint(esc50):
    (esc50.parent / "json" / "manifest.fingerprint.json").write_text("{")
    return {}


@pytest.mark.parametrize(
    "change",
    [
        change_audio,
        change_audio_behind_the_clock,
        change_time,
        change_table,
        change_folds,
        swap_folds,
        lose_manifest,
        damage_fingerprint,
    ],
)
def test_a_change_remakes_the_manifests(esc50, change):
    prepare(esc50)
    before = states(esc50.parent / "json")
    options = change(esc50)
    manifests = prepare(esc50, **options)
    after = states(esc50.parent / "json")
    assert sorted(after) == sorted({**before, "test.json": None})
    assert all(after[name] != state for name, state in before.items())
    train = json.loads(manifests.train.read_text())
    longer = change in (change_audio, change_audio_behind_the_clock)
    assert train["1-10-A-0"]["duration"] == (1.0 if longer else 0.1)
    valid = json.loads(manifests.valid.read_text())
    assert {clip[0] for clip in valid} == {"5" if change is swap_folds else "4"}
    assert train["1-10-A-0"]["category"] == (
        "rain" if change is change_table else "dog"
    )
    assert len(train) == (4 if change is change_folds else 6)


def test_silence_is_a_warning_each_time_and_no_fault(esc50, caplog):
    soundfile.write(esc50 / "audio" / "1-10-A-0.wav", np.zeros(RATE // 10), RATE)
    for _ in range(2):
        caplog.clear()
        manifests = prepare(esc50)
        assert manifests.warnings == ("silent clips (1): 1-10-A-0.wav",)
        assert "silent clips (1): 1-10-A-0.wav" in caplog.text
    assert manifests.counts["train"] == 6


def test_every_fault_is_in_one_error(tmp_path):
    rows = [dict(esc50_rows()[0], filename=f"1-{n}-A-0.wav") for n in range(30)]
    esc50 = make_esc50(tmp_path / "ESC-50", rows + esc50_rows("flac")[2:])
    audio = esc50 / "audio"
    for n in range(12):
        (audio / f"1-{n}-A-0.wav").unlink()
    (audio / "1-12-A-0.wav").write_text("no sound at all\n" * 100)
    whole = (audio / "1-13-A-0.wav").read_bytes()
    (audio / "1-13-A-0.wav").write_bytes(whole[: len(whole) * 2 // 3])
    (audio / "1-14-A-0.wav").write_bytes(b"")
    soundfile.write(audio / "1-15-A-0.wav", np.zeros(0), RATE)
    bad = np.array([0.1, np.nan, np.inf])
    soundfile.write(audio / "1-16-A-0.wav", bad, RATE, subtype="FLOAT")
    for n, fold in ((17, "0"), (18, "one"), (19, "-1"), (20, "1.5"), (21, "")):
        rows[n]["fold"] = fold
    rows[22]["category"] = "Dog"
    write_table(esc50, [*rows, *esc50_rows("flac")[2:], rows[23], rows[23]])
    with pytest.raises(InputError) as caught:
        prepare(esc50, categories=[*CLASSES, "cow"], test_folds=[5, 7])
    first, *kinds = str(caught.value).splitlines()
    assert first == f"{esc50} has 27 faults, no manifest written:"
    assert kinds == [
        "  missing audio file (12): "
        + ", ".join(f"1-{n}-A-0.wav" for n in range(10))
        + " and 2 more",
        "  unreadable audio file (1): 1-12-A-0.wav",
        "  truncated or damaged audio file (1): 1-13-A-0.wav",
        "  empty audio file (2): 1-14-A-0.wav, 1-15-A-0.wav",
        "  audio file with NaN or infinite samples (1): 1-16-A-0.wav",
        "  unknown fold (5): 1-17-A-0.wav (0), 1-18-A-0.wav (one), "
        "1-19-A-0.wav (-1), 1-20-A-0.wav (1.5), 1-21-A-0.wav (none)",
        "  unknown class (1): 1-22-A-0.wav (Dog)",
        "  clip listed twice (2): 1-23-A-0.wav, 1-23-A-0.wav",
        "  fold without clips (folds found: 1, 2, 3, 4, 5) (1): 7",
        "  class without a training clip (1): cow",
    ]
    assert not (tmp_path / "json").exists()


def test_each_class_needs_a_training_clip(tmp_path):
    rows = esc50_rows()
    rows[6]["category"] = "cow"  # in fold 4 only
    esc50 = make_esc50(tmp_path / "ESC-50", rows)
    with pytest.raises(InputError, match=r"clip \(1\): cow"):
        prepare(esc50, categories=[*CLASSES, "cow"])
    manifests = prepare(
        esc50, categories=[*CLASSES, "cow"], train_folds=[1, 4], valid_folds=[2]
    )
    assert manifests.counts["train"] == 4
    with pytest.raises(InputError, match="cow"):  # a list of classes is an option too
        prepare(esc50, train_folds=[1, 4], valid_folds=[2])


def test_two_files_of_one_name_are_one_clip_twice(esc50):
    extra = dict(esc50_rows()[0], filename="1-10-A-0.flac")
    soundfile.write(esc50 / "audio" / "1-10-A-0.flac", noise(), RATE)
    write_table(esc50, [*esc50_rows(), extra])
    with pytest.raises(InputError, match=r"twice \(1\): 1-10-A-0.flac"):
        prepare(esc50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"valid_folds": [3]}, "fold 3 .*train_folds .*valid_folds"),
        ({"test_folds": []}, r"test_folds .*got \[\]"),
        ({"test_folds": 5}, "test_folds .*got 5"),
        ({"train_folds": [0]}, "train_folds .*got 0"),
        ({"train_folds": ["1"]}, "train_folds .*got '1'"),
        ({"subset": "esc11"}, "subset .*esc10.*got 'esc11'"),
        ({"categories": []}, r"categories .*got \[\]"),
        ({"categories": ["dog", "dog"]}, r"categories .*\['dog', 'dog'\]"),
        ({"categories": "dog"}, "categories .*'dog'"),
    ],
)
def test_impossible_options(esc50, options, message):
    with pytest.raises(InputError, match=message):
        prepare(esc50, **options)


def test_a_table_with_missing_columns(esc50):
    rows = [{"filename": "a.wav", "label": "dog"}]
    write_table(esc50, rows, columns=["filename", "label"])
    message = r"esc50.csv: fold, category; .*: filename, label"
    with pytest.raises(InputError, match=message):
        prepare(esc50)


def test_the_column_esc10_is_needed_for_the_subset_only(tmp_path):
    columns = ["filename", "fold", "category"]
    esc50 = make_esc50(tmp_path / "ESC-50", esc50_rows(), columns)
    assert prepare(esc50).counts["train"] == 6
    with pytest.raises(InputError, match="esc50.csv: esc10;"):
        prepare(esc50, subset="esc10")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "esc50.csv: filename, fold, category; .*none"),
        (b"filename,fold,category\n", "esc50.csv has no clip$"),
        (b"\xff\xfe\x00", "cannot read the table .*esc50.csv"),
    ],
)
def test_a_table_that_is_none(esc50, content, message):
    (esc50 / "meta" / "esc50.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        prepare(esc50)


def test_a_table_saved_by_a_spreadsheet(esc50):
    """Marked as UTF-8, with lines that end as on Windows."""
    table = esc50 / "meta" / "esc50.csv"
    assert b"\r\n" in table.read_bytes()
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert prepare(esc50).counts["train"] == 6


def test_a_subset_without_clips(tmp_path):
    esc50 = make_esc50(tmp_path / "ESC-50", esc50_rows(esc10="False"))
    with pytest.raises(InputError, match="no clip .*esc10"):
        prepare(esc50, subset="esc10")


def test_folders_that_are_not_esc50(tmp_path, esc50):
    for download in (True, False):  # nothing is downloaded over a user's files
        (esc50 / "audio").rename(esc50 / "sounds")
        with pytest.raises(InputError, match="missing: audio; .*--data_folder"):
            prepare(esc50, download=download)
        with pytest.raises(InputError, match="missing: meta/esc50.csv, audio"):
            prepare(esc50 / "sounds", download=download)
        (esc50 / "sounds").rename(esc50 / "audio")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="/file .* folder"):
        prepare(tmp_path / "file")
    with pytest.raises(InputError, match="no dataset .*absent.*--data_folder"):
        prepare(tmp_path / "absent")
    assert not (tmp_path / "json").exists()


def archive_of(esc50, leave_out=()):
    """An archive as of GitHub: everything in one folder named after the branch."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for path in sorted(esc50.rglob("*")):
            if path.name not in leave_out:
                bundle.write(path, f"ESC-50-master/{path.relative_to(esc50)}")
    return buffer.getvalue()


@pytest.mark.parametrize("exists", [True, False])
def test_a_missing_dataset_is_downloaded(tmp_path, esc50, exists):
    (tmp_path / "master.zip").write_bytes(archive_of(esc50))
    folder = tmp_path / "data" / "ESC-50"
    if exists:
        folder.mkdir(parents=True)
    url = (tmp_path / "master.zip").as_uri()
    assert prepare(folder, download=True, url=url).counts["train"] == 6
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"ESC-50", "json"}


def test_an_archive_without_all_clips_is_refused(tmp_path, esc50):
    (tmp_path / "master.zip").write_bytes(archive_of(esc50, ["1-10-A-0.wav"]))
    url = (tmp_path / "master.zip").as_uri()
    with pytest.raises(InputError, match=r"archive \(1\): 1-10-A-0.wav"):
        prepare(tmp_path / "data" / "ESC-50", download=True, url=url)
    assert list((tmp_path / "data").iterdir()) == []


def test_no_manifest_is_half_written(tmp_path, monkeypatch):
    """The third of four files fails: an old set stays, a new folder goes."""
    clip = {"a": {"wav": "a.wav"}}
    whole = {"train": clip, "valid": clip, "test": clip}
    write_manifests(tmp_path / "old", whole, "first")
    before = states(tmp_path / "old")
    broken = whole | {"test": {"a": object()}}
    for folder in (tmp_path / "old", tmp_path / "deep" / "new"):
        with pytest.raises(TypeError):
            write_manifests(folder, broken, "second")
    assert states(tmp_path / "old") == before
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="write .*/file"):
        write_manifests(tmp_path / "file", whole, "first")


def test_a_fault_leaves_earlier_manifests_as_they_were(esc50):
    prepare(esc50)
    before = states(esc50.parent / "json")
    (esc50 / "audio" / "1-10-A-0.wav").unlink()
    with pytest.raises(InputError, match="has 1 fault"):
        prepare(esc50)
    assert states(esc50.parent / "json") == before


def test_the_classes_are_those_of_the_published_table():
    classes, ten = esc50_classes(), esc50_classes("esc10")
    assert len(set(classes)) == 50 and len(set(ten)) == 10
    assert set(ten) < set(classes)
    assert (classes, ten) == (sorted(classes), sorted(ten))  # the order of the logits
    classes.clear()
    assert len(esc50_classes()) == 50  # each caller has its own list
    with pytest.raises(InputError, match="subset .*'esc20'"):
        esc50_classes("esc20")
