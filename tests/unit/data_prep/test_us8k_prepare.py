"""Manifests of UrbanSound8K: its folds as they are, and every fault in one message."""

import json

import numpy as np
import pytest
import soundfile

from speechbrain_lmac.data.dataset import ClipDataset, collate_clips
from speechbrain_lmac.data_prep import us8k_prepare
from speechbrain_lmac.data_prep.us8k_prepare import (
    US8K_CLASSES,
    prepare_us8k,
    us8k_folds,
)
from speechbrain_lmac.dsp.audio import AudioReader
from speechbrain_lmac.dsp.audio_check import check_audio
from speechbrain_lmac.utils.errors import InputError

LONGEST = 0.6


@pytest.fixture(scope="module")
def whole(make_us8k, tmp_path_factory):
    """A folder in the layout and the rows of its table; not to be changed."""
    folder = tmp_path_factory.mktemp("us8k") / "UrbanSound8K"
    return folder, make_us8k(folder, LONGEST)


@pytest.fixture
def us8k(make_us8k, tmp_path):
    """The same, to be damaged."""
    folder = tmp_path / "UrbanSound8K"
    return folder, make_us8k(folder, 0.05)


def prepare(folder, json_folder, **options):
    options = {"categories": list(US8K_CLASSES)} | options
    return prepare_us8k(folder, json_folder, **options)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def path_of(folder, row):
    return folder / "audio" / f"fold{row['fold']}" / row["slice_file_name"]


def test_the_split_of_each_fold_is_fixed():
    assert us8k_folds(10) == {
        "train_folds": [1, 2, 3, 4, 5, 6, 7, 8],
        "valid_folds": [9],
        "test_folds": [10],
    }
    for fold in range(1, 11):
        train, valid, test = us8k_folds(fold).values()
        assert test == [fold]
        assert valid == [10 if fold == 1 else fold - 1]
        assert sorted(train + valid + test) == list(range(1, 11))


@pytest.mark.parametrize("fold", [0, 11, "10", 1.0, True, None])
def test_an_unknown_fold_is_refused(fold, whole, tmp_path):
    with pytest.raises(InputError, match="fold .*1 to 10"):
        prepare(whole[0], tmp_path, fold=fold)


@pytest.mark.parametrize("fold", [1, 10])
def test_every_clip_is_where_its_fold_says(whole, tmp_path, fold):
    folder, rows = whole
    manifests = prepare(folder, tmp_path, fold=fold)
    assert manifests.counts == {"train": 80, "valid": 10, "test": 10}
    assert manifests.warnings == ()
    clips = {**read(manifests.train), **read(manifests.valid), **read(manifests.test)}
    assert len(clips) == 100
    for row in rows:
        entry = clips[row["slice_file_name"].removesuffix(".wav")]
        with soundfile.SoundFile(path_of(folder, row)) as sound:
            duration, rate = sound.frames / sound.samplerate, sound.samplerate
        assert entry == {
            "wav": f"{{data_root}}/audio/fold{row['fold']}/{row['slice_file_name']}",
            "duration": duration,
            "sample_rate": rate,
            "category": row["class"],
            "fold": row["fold"],
        }
    assert {c["fold"] for c in read(manifests.test).values()} == {fold}
    assert {c["fold"] for c in read(manifests.valid).values()} == {fold - 1 or 10}


def test_formats_of_all_kinds_are_heard_at_their_length(whole, tmp_path):
    """Whole sound is decoded, whatever the width, the rate and the channels."""
    folder, rows = whole
    formats = set()
    for row in rows:
        path, length = path_of(folder, row), row["end"] - row["start"]
        info = soundfile.info(path)
        formats.add((info.subtype, info.channels))
        # MS-ADPCM is written in blocks of up to 2036 samples, and one at the end.
        slack = 2 * 2036 if info.subtype == "MS_ADPCM" else 1
        found = check_audio(path).n_frames - length * info.samplerate
        assert -1 < found < slack, (path, info)
        if row["fold"] == 1:
            wav = AudioReader(16000)(path)
            assert len(wav) / 16000 == pytest.approx(info.duration, abs=1e-3)
            assert 0.2 < wav.abs().max() < 0.5
    assert len(formats) == 6 * 2


def test_short_clips_are_padded_and_their_share_is_known(whole, tmp_path):
    folder, rows = whole
    dataset = ClipDataset(
        prepare_us8k, str(folder), US8K_CLASSES, 10, 16000, clip_seconds=LONGEST
    )
    dataset.prepare_manifests(tmp_path)
    clips = dataset.load(tmp_path, "test", list(US8K_CLASSES))
    batch = collate_clips([clips[i] for i in range(10)])
    assert batch.wav.shape == (10, 9600)
    seconds = {r["slice_file_name"][:-4]: r["end"] - r["start"] for r in rows}
    for clip, wav, lens in zip(batch.ids, batch.wav, batch.lens, strict=True):
        assert lens.item() == pytest.approx(seconds[clip] / LONGEST, abs=0.15)
        assert not wav[round(lens.item() * 9600) :].any()
    assert batch.lens.min() < 0.2 and batch.lens.max() == 1


def test_an_unchanged_dataset_is_left_alone_and_another_fold_is_not(
    us8k, tmp_path, monkeypatch
):
    folder, _ = us8k
    first = prepare(folder, tmp_path / "json")
    checked = []
    monkeypatch.setattr(
        us8k_prepare,
        "check_audio",
        lambda path: checked.append(path) or check_audio(path),
    )
    assert prepare(folder, tmp_path / "json") == first
    assert not checked
    other = prepare(folder, tmp_path / "json", fold=3)
    assert len(checked) == 100
    assert read(other.test) != read(first.valid)
    assert {c["fold"] for c in read(other.test).values()} == {3}


def test_silence_is_a_warning(us8k, tmp_path):
    folder, rows = us8k
    soundfile.write(path_of(folder, rows[0]), np.zeros(800), 16000)
    manifests = prepare(folder, tmp_path / "json")
    assert manifests.warnings == (f"silent clips (1): {rows[0]['slice_file_name']}",)


def test_every_fault_is_in_one_error(us8k, write_us8k, tmp_path):
    folder, rows = us8k
    names = [row["slice_file_name"] for row in rows]
    path_of(folder, rows[0]).unlink()
    path_of(folder, rows[1]).write_bytes(b"no sound\n" * 100)
    whole = path_of(folder, rows[2]).read_bytes()
    path_of(folder, rows[2]).write_bytes(whole[: len(whole) // 2])
    rows[3]["fold"] = 7  # it lies in fold1
    rows[4]["classID"] = 3  # of the class drilling
    rows[5]["class"], rows[5]["classID"] = "engine idling", 5
    for place, fold in ((6, 0), (7, 11), (8, ""), (9, "two")):
        rows[place]["fold"] = fold
    write_us8k(folder, [*rows, rows[20], rows[30]])
    with pytest.raises(InputError) as caught:
        prepare(folder, tmp_path / "json", categories=[*US8K_CLASSES, "thunder"])
    assert str(caught.value).splitlines() == [
        f"{folder} has 13 faults, no manifest written:",
        f"  classID of another class than drilling (1): {names[4]} (3, drilling)",
        f"  missing audio file (1): {names[0]}",
        f"  unreadable audio file (1): {names[1]}",
        f"  truncated or damaged audio file (1): {names[2]}",
        f"  clip in fold1, but in fold7 in the table (1): {names[3]}",
        f"  unknown class (1): {names[5]} (engine idling)",
        f"  unknown fold (4): {names[6]} (0), {names[7]} (11), {names[8]} (none), "
        f"{names[9]} (two)",
        f"  clip listed twice (2): {names[20]}, {names[30]}",
        "  class without a training clip (1): thunder",
    ]
    assert not (tmp_path / "json").exists()


def test_a_missing_class_and_a_missing_fold_are_faults(us8k, write_us8k, tmp_path):
    folder, rows = us8k
    rest = [r for r in rows if r["class"] != "siren" or r["fold"] in (9, 10)]
    write_us8k(folder, [row for row in rest if row["fold"] != 5])
    with pytest.raises(InputError) as caught:
        prepare(folder, tmp_path / "json")
    assert "has 2 faults" in str(caught.value)
    assert "1, 2, 3, 4, 6, 7, 8, 9, 10) (1): 5" in str(caught.value)
    assert "clip (1): siren" in str(caught.value)


def test_a_missing_dataset_names_its_source(tmp_path):
    with pytest.raises(InputError) as caught:
        prepare(tmp_path / "no", tmp_path / "json")
    message = str(caught.value)
    assert "https://urbansounddataset.weebly" in message
    assert str(tmp_path / "no" / "metadata" / "UrbanSound8K.csv") in message
    assert str(tmp_path / "no" / "audio" / "fold1") in message
    assert "--data_folder" in message


def test_another_layout_is_refused_and_the_folder_below_is_found(us8k, tmp_path):
    with pytest.raises(InputError) as caught:
        prepare(tmp_path, tmp_path / "json")
    message = str(caught.value)
    assert "missing: metadata/UrbanSound8K.csv, audio;" in message
    assert message.endswith(f" {us8k[0]}")
    (us8k[0] / "metadata" / "UrbanSound8K.csv").write_text("filename,fold\na.wav,1\n")
    with pytest.raises(InputError, match="slice_file_name, classID, class;"):
        prepare(us8k[0], tmp_path / "json")
    (us8k[0] / "metadata" / "UrbanSound8K.csv").write_text(
        "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
    )
    with pytest.raises(InputError, match="/UrbanSound8K.csv has no"):
        prepare(us8k[0], tmp_path / "json")


def test_the_clips_of_the_real_table_have_the_ids_of_their_classes():
    # From the dataset's page.
    assert US8K_CLASSES.index("dog_bark") == 3
    assert US8K_CLASSES.index("gun_shot") == 6
    assert list(US8K_CLASSES) == sorted(US8K_CLASSES)
    assert len(US8K_CLASSES) == 10
