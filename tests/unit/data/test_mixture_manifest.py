"""Frozen mixtures: updates, errors, warnings."""

import json

import numpy as np
import pytest
import soundfile

from speechbrain_lmac.data.conditions import MixtureCondition, StemCondition
from speechbrain_lmac.data.contaminants import CorpusSpeech, OtherClips, WhiteNoise
from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.data.mixture_manifest import prepare_mixtures
from speechbrain_lmac.data_prep.esc50_prepare import prepare_esc50
from speechbrain_lmac.data_prep.noise_prepare import SoundFolder
from speechbrain_lmac.utils.errors import InputError

RATE = 16000
CLASSES = ["dog", "rain"]


def write_clip(folder, name, sound, rate=RATE, subtype="FLOAT"):
    soundfile.write(folder / "audio" / name, sound, rate, subtype)


@pytest.fixture
def dataset(tmp_path):
    """(ClipDataset, manifest folder): two clips of each class in each fold."""
    folder = tmp_path / "set"
    (folder / "audio").mkdir(parents=True)
    (folder / "meta").mkdir()
    lines = ["filename,fold,category"]
    for fold in range(1, 6):
        for i in range(4):
            name = f"{fold}-{i}.wav"
            sound = np.random.default_rng(10 * fold + i).standard_normal(RATE // 10)
            write_clip(folder, name, 0.1 * sound)
            lines.append(f"{name},{fold},{CLASSES[i % 2]}")
    (folder / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")
    return open_dataset(folder, tmp_path / "json")


def open_dataset(folder, manifests):
    dataset = ClipDataset(prepare_esc50, folder, CLASSES, 2, RATE, 0.1)
    dataset.prepare_manifests(manifests)
    return dataset, manifests


def test_what_is_frozen(dataset):
    path, record = prepare_mixtures(*dataset, "test", OtherClips(), seed=7)
    assert json.loads(path.read_text()) == record
    assert list(record["clips"])[:3] == ["5-0+0", "5-0+1", "5-1+0"]
    entry = record["clips"]["5-0+0"]
    assert entry["base"] == "5-0"
    assert entry["category"] == "dog"
    assert entry["gains"] == [0.8, 0.2]
    assert entry["foreground"] == "{data_root}/audio/5-0.wav"
    (piece,) = entry["background"]["pieces"]
    assert piece["wav"] in ("{data_root}/audio/5-1.wav", "{data_root}/audio/5-3.wav")
    assert (piece["start"], piece["length"]) == (0, RATE // 10)
    assert (record["sample_rate"], record["n_samples"]) == (RATE, RATE // 10)
    assert record["seed"] == 7
    assert len(record["files"]) == 4
    assert str(dataset[0].data_folder) not in path.read_text()  # it may move


def test_remade_when_options_or_the_list_of_clips_change_only(dataset, tmp_path):
    path, record = prepare_mixtures(*dataset, "test", OtherClips())
    state = path.stat().st_mtime_ns, path.stat().st_ino
    assert prepare_mixtures(*dataset, "test", OtherClips()) == (path, record)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == state
    other, _ = prepare_mixtures(*dataset, "test", OtherClips(), snr_db=0)
    assert other != path  # beside the first, which stays
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == state
    table = tmp_path / "set" / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace("5-3.wav,5,rain\n", ""))
    dataset = open_dataset(tmp_path / "set", tmp_path / "json")
    again, less = prepare_mixtures(*dataset, "test", OtherClips())
    assert again == path and len(less["clips"]) == 6


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_files_that_are_not_what_they_were(dataset, tmp_path, fault):
    condition = MixtureCondition(OtherClips())
    first = condition.open(*dataset, "test", CLASSES)
    clip = tmp_path / "set" / "audio" / "5-2.wav"
    if fault == "missing":
        clip.unlink()
    else:  # of the same size and length
        write_clip(tmp_path / "set", "5-2.wav", np.full(RATE // 10, 0.1))
    with pytest.raises(InputError) as caught:
        condition.open(*dataset, "test", CLASSES)
    assert f"{fault} (1): {clip}" in str(caught.value)
    path = next((tmp_path / "json" / "mixtures").iterdir())
    assert f"delete {path}" in str(caught.value)
    if fault == "changed":
        path.unlink()
        again = condition.open(*dataset, "test", CLASSES)
        assert again.clips.entries == first.clips.entries
        assert again.fingerprint != first.fingerprint


def test_a_broken_manifest_is_made_anew(dataset):
    path, record = prepare_mixtures(*dataset, "test", WhiteNoise())
    path.write_text(path.read_text()[:100])
    assert prepare_mixtures(*dataset, "test", WhiteNoise()) == (path, record)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gains": [1, 1], "snr_db": 3}, "gains or snr_db, not both"),
        ({"gains": [1, 0]}, "gains must be two numbers above 0"),
        ({"gains": [1]}, "gains must be two numbers above 0"),
        ({"snr_db": "loud"}, "snr_db must be a number, got 'loud'"),
        ({"protocol": "ours"}, "protocol must be one of own, published, got 'ours'"),
        ({"per_clip": 0}, "per_clip must be a whole number of at least 1, got 0"),
    ],
)
def test_impossible_options(dataset, options, message):
    with pytest.raises(InputError, match=message):
        MixtureCondition(OtherClips(), **options).open(*dataset, "test", CLASSES)
    assert not (dataset[1] / "mixtures").exists()


def test_splits_and_labels_that_do_not_exist(dataset):
    condition = MixtureCondition(WhiteNoise())
    with pytest.raises(InputError, match="split .*'dev'"):
        condition.open(*dataset, "dev", CLASSES)
    with pytest.raises(InputError, match=r"classes \['rain'\]"):
        condition.open(*dataset, "test", ["dog"])


def test_a_class_that_has_no_clip_in_the_fold(dataset, tmp_path):
    table = tmp_path / "set" / "meta" / "esc50.csv"
    rows = [line for line in table.read_text().splitlines() if ",5,rain" not in line]
    table.write_text("\n".join(rows) + "\n")
    dataset = open_dataset(tmp_path / "set", tmp_path / "json")
    _, record = prepare_mixtures(*dataset, "test", WhiteNoise())
    assert record["warnings"] == ["classes without a clip in test (1): rain"]
    with pytest.raises(InputError, match=" class .*dog"):
        prepare_mixtures(*dataset, "test", OtherClips())


def mixtures_with(record, clip):
    """The mixtures with a clip as background."""
    return [
        name
        for name, entry in record["clips"].items()
        if entry["background"]["pieces"][0]["wav"].endswith(f"/{clip}.wav")
    ]


def test_silent_clips_and_silent_contaminants_are_counted(dataset, tmp_path):
    write_clip(tmp_path / "set", "5-0.wav", np.zeros(RATE // 10))
    dataset = open_dataset(tmp_path / "set", tmp_path / "json")
    _, record = prepare_mixtures(*dataset, "test", OtherClips())
    # 5-0 may be added to the two clips of the other class; both add both, of two.
    assert record["warnings"] == [
        "mixtures with a silent clip (2): 5-0+0, 5-0+1",
        "mixtures with a silent background (2): "
        + ", ".join(mixtures_with(record, "5-0")),
    ]
    condition = MixtureCondition(OtherClips()).open(*dataset, "test", CLASSES)
    mixture, foreground, background = condition.clips.render("5-0+0")
    assert mixture.isfinite().all() and not foreground.any() and background.any()


def test_a_nan_in_a_corpus(dataset, tmp_path):
    (tmp_path / "speech").mkdir()
    soundfile.write(tmp_path / "speech" / "a.wav", np.array([np.nan]), RATE, "FLOAT")
    corpus = SoundFolder(tmp_path / "speech", tmp_path / "speech.json")
    with pytest.raises(InputError, match="NaN .*a.wav"):
        prepare_mixtures(*dataset, "test", CorpusSpeech(corpus))
    assert not (tmp_path / "json" / "mixtures").exists()


def test_missing_stems(dataset, tmp_path):
    condition = StemCondition(tmp_path / "stems")
    with pytest.raises(InputError, match=r"stems \(8\): .*5-0.wav"):
        condition.open(*dataset, "test", CLASSES)
