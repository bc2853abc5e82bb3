"""Captions of others: the layouts of Clotho and AudioCaps, any table, and faults."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_lmac.data.caption_dataset import CaptionDataset, WrittenPrompts
from speechbrain_lmac.data.dataset import collate_clips
from speechbrain_lmac.data_prep.captions_prepare import (
    caption_terms,
    main,
    prepare_audiocaps,
    prepare_caption_table,
    prepare_clotho,
    split_of,
)
from speechbrain_lmac.utils.errors import InputError

PARTS = ("development", "validation", "evaluation")
CAPTIONS = [f"caption_{i}" for i in range(1, 6)]


def write_sound(path, seconds=0.1, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = 0.1 * np.random.default_rng(len(path.name)).standard_normal(
        round(seconds * rate)
    )
    soundfile.write(path, sound, rate)


def write_table(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)


def make_clotho(folder, tables="", audio=""):
    """Two recordings in each part; names as Clotho has them, with blanks and dots."""
    for part in PARTS:
        names = [f"{part[:3]} rain, v1.2.wav", "same name.wav"]
        rows = [[n, *(f"{n} {part} {c}, heard" for c in CAPTIONS)] for n in names]
        table = folder / tables / f"clotho_captions_{part}.csv"
        write_table(table, ["file_name", *CAPTIONS], rows)
        for name in names:
            write_sound(folder / audio / part / name)
    return folder


def entries(manifests, split):
    return json.loads(getattr(manifests, split).read_text())


@pytest.mark.parametrize(
    "tables, audio", [("", ""), ("clotho_csv_files", "clotho_audio_files")]
)
def test_clotho(tmp_path, tables, audio):
    clotho = make_clotho(tmp_path / "clotho", tables, audio)
    manifests = prepare_clotho(clotho, tmp_path / "json")
    assert manifests.counts == {"train": 2, "valid": 2, "test": 2}
    assert manifests.warnings == ()
    names = set()
    for split, part in zip(("train", "valid", "test"), PARTS, strict=True):
        for name, entry in entries(manifests, split).items():
            names.add(name)
            file = entry["wav"].removeprefix("{data_root}/")
            assert (clotho / file).is_file() and f"{part}/" in file
            assert len(entry["captions"]) == 5 and part in entry["captions"][3]
            assert entry["captions"][4].endswith("caption_5, heard")
            assert entry["duration"] == pytest.approx(0.1)
    assert len(names) == 6  # "same name.wav" is in all parts
    assert not any("/" in name for name in names)


def audiocaps_rows(part):
    n_captions = 1 if part == "train" else 5
    return [
        [
            f"{len(part)}{clip}{number}",
            f"yt-{part}_{clip}",
            30 + clip,
            f"{part} {number}",
        ]
        for clip in range(2)
        for number in range(n_captions)
    ]


@pytest.mark.parametrize("tables", ["", "dataset/"])
@pytest.mark.parametrize("folder", ["{part}", "audio/{part}", "audio"])
@pytest.mark.parametrize("named_by", ["youtube", "audiocap"])
def test_audiocaps(tmp_path, tables, folder, named_by):
    root = tmp_path / "audiocaps"
    for part in ("train", "val", "test"):
        rows = audiocaps_rows(part)
        columns = ["audiocap_id", "youtube_id", "start_time", "caption"]
        write_table(root / f"{tables}{part}.csv", columns, rows)
        for audiocap, youtube, start, caption in rows:
            if caption.endswith("0"):  # one file of each recording
                name = f"{youtube}_{start}" if named_by == "youtube" else audiocap
                write_sound(root / folder.format(part=part) / f"{name}.flac")
    manifests = prepare_audiocaps(root, tmp_path / "json")
    assert manifests.counts == {"train": 2, "valid": 2, "test": 2}
    for split, n_captions in (("train", 1), ("valid", 5), ("test", 5)):
        for entry in entries(manifests, split).values():
            assert len(entry["captions"]) == n_captions


def test_recordings_that_vanished_are_counted(tmp_path):
    clotho = make_clotho(tmp_path / "clotho")
    (clotho / "development" / "same name.wav").unlink()
    manifests = prepare_clotho(clotho, tmp_path / "json")
    assert manifests.counts == {"train": 1, "valid": 2, "test": 2}
    assert manifests.warnings == ("missing audio (1 of 6): same name.wav",)
    assert prepare_clotho(clotho, tmp_path / "json").warnings == manifests.warnings
    write_sound(clotho / "development" / "same name.wav")  # it came back
    assert prepare_clotho(clotho, tmp_path / "json").counts["train"] == 2


def test_a_split_without_any_is_a_fault(tmp_path):
    clotho = make_clotho(tmp_path / "clotho")
    for path in (clotho / "validation").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"recordings \(1\): valid"):
        prepare_clotho(clotho, tmp_path / "json")
    assert not (tmp_path / "json").exists()


def test_all_faults_are_in_one_error(tmp_path):
    clotho = make_clotho(tmp_path / "clotho")
    (clotho / "development" / "same name.wav").write_bytes(b"RIFF")
    (clotho / "evaluation" / "same name.wav").write_bytes(b"")
    table = clotho / "clotho_captions_validation.csv"
    rows = [["same name.wav", "one", "", "three", "four", "five"]] * 2
    write_table(table, ["file_name", *CAPTIONS], rows)
    with pytest.raises(InputError) as error:
        prepare_clotho(clotho, tmp_path / "json")
    for words in (
        *("unreadable audio file (1)", "empty audio file (1)"),
        *("empty caption (2)", "recording listed twice (1)", "5 faults"),
    ):
        assert words in str(error.value)


def test_another_layout_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no clotho_captions_development\.csv "):
        prepare_clotho(tmp_path, tmp_path / "json")
    write_table(tmp_path / "clotho_captions_development.csv", ["file_name"], [])
    with pytest.raises(InputError, match="caption_1, caption_2"):
        prepare_clotho(tmp_path, tmp_path / "json")
    with pytest.raises(InputError, match=r" train\.csv .* dataset/train\.csv"):
        prepare_audiocaps(tmp_path, tmp_path / "json")


def make_table(folder, columns=("path", "caption"), more=()):
    """40 recordings of two captions each."""
    rows = [[f"a/{i}.wav", f"sound {i} {n}", *more] for i in range(40) for n in (1, 2)]
    write_table(folder / "captions.csv", columns, rows)
    for i in range(40):
        write_sound(folder / "a" / f"{i}.wav")
    return folder


def test_any_table_is_split_by_its_paths(tmp_path):
    folder = make_table(tmp_path / "mine")
    manifests = prepare_caption_table(folder, tmp_path / "json")
    assert sum(manifests.counts.values()) == 40
    assert manifests.counts["train"] > 20
    for split in ("train", "valid", "test"):
        for entry in entries(manifests, split).values():
            file = entry["wav"].removeprefix("{data_root}/")
            assert split_of(file) == split
            assert len(entry["captions"]) == 2


def test_a_table_may_name_the_splits(tmp_path):
    folder = make_table(tmp_path / "mine", ("path", "caption", "split"), ["train"])
    with pytest.raises(InputError, match=r"\(2\): valid, test"):
        prepare_caption_table(folder, tmp_path / "json")
    rows = [
        [f"a/{i}.wav", "text", split]
        for i, split in enumerate(["train", "valid", "test", "dev", "train"])
    ]
    rows.append(["a/4.wav", "text", "test"])  # in two
    write_table(folder / "captions.csv", ("path", "caption", "split"), rows)
    with pytest.raises(InputError, match=r"3\.wav \(dev\), 4\.wav"):
        prepare_caption_table(folder, tmp_path / "json")
    write_table(folder / "captions.csv", ("path", "caption", "split"), rows[:3])
    manifests = prepare_caption_table(folder, tmp_path / "json")
    assert list(entries(manifests, "valid")) == ["valid-a-1"]


def test_the_command(tmp_path, capsys):
    clotho = make_clotho(tmp_path / "clotho")
    (clotho / "development" / "same name.wav").unlink()
    assert main(["clotho", str(clotho), str(tmp_path / "json")]) == 0
    output = capsys.readouterr()
    assert ": 1 train, 2 valid, " in output.out
    assert "missing audio (1" in output.err
    assert main(["audiocaps", str(clotho), str(tmp_path / "json")]) == 2
    assert "error: " in capsys.readouterr().err


@pytest.fixture
def dataset(tmp_path):
    folder = str(make_clotho(tmp_path / "clotho"))
    dataset = CaptionDataset(prepare_clotho, folder, sample_rate=8000, clip_seconds=0.2)
    dataset.prepare_manifests(tmp_path / "json")
    return dataset


def test_a_dataset_of_captions_has_sounds_and_no_labels(dataset, tmp_path):
    clips = dataset.load(tmp_path / "json", "train", ["dog"])
    batch = collate_clips([clips[0], clips[1]])
    assert batch.wav.shape == (2, 1600)
    assert batch.label is None
    torch.testing.assert_close(batch.lens, torch.tensor([0.5, 0.5]))
    assert dataset.class_order(tmp_path / "json", ["dog"]) == ["dog"]
    with pytest.raises(InputError, match="clotho .* classes"):
        dataset.class_order(tmp_path / "json", None)


def test_each_prompt_is_a_caption_of_its_clip(dataset, tmp_path):
    clips = dataset.load(tmp_path / "json", "train", [])
    prompts = WrittenPrompts(tmp_path / "json")
    batch = collate_clips([clips[0], clips[1]])
    captions = entries(dataset.prepare_manifests(tmp_path / "json"), "train")
    for caption, clip in zip(prompts.of(batch), batch.ids, strict=True):
        assert caption in captions[clip]["captions"]
    assert prompts.of(batch) == WrittenPrompts(tmp_path / "json").of(batch)
    # Another batch, another caption: all of a clip's occur in the end.
    turns = [collate_clips([clips[0], *[clips[1]] * n]) for n in range(30)]
    assert len({prompts.of(turn)[0] for turn in turns}) == 5


def test_unknown_terms_are_refused():
    assert caption_terms("audiocaps")["name"] == "AudioCaps"
    with pytest.raises(InputError, match="audiocaps, got 'mine'"):
        caption_terms("mine")
