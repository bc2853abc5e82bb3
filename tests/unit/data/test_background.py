"""The training clips that a method compares with."""

import json
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_lmac.data.background import TrainingClips, balanced_draw
from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.utils.errors import InputError

RATE = 8000
CLASSES = {"dog": 6, "cat": 3, "bird": 2}
N_SAMPLES = 40


def clip_of(name):
    """A clip whose samples tell its name, with a peak of 1."""
    wav = np.zeros(N_SAMPLES, dtype="float32")
    wav[0] = 1.0
    wav[1 + int(name[-1])] = {"d": 0.25, "c": 0.5, "b": 0.75}[name[0]]
    return wav


@pytest.fixture
def names():
    return [f"{kind}{place}" for kind, n in CLASSES.items() for place in range(n)]


@pytest.fixture
def dataset(tmp_path, names):
    def prepare(data_folder, manifest_folder, categories):
        raise AssertionError("the recipe prepares")

    write_manifest(tmp_path, names)
    for name in names:
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, clip_of(name), RATE, subtype="FLOAT")
    return ClipDataset(prepare, str(tmp_path), list(CLASSES), 3, RATE, N_SAMPLES / RATE)


def write_manifest(folder, names):
    manifest = {
        name: {"wav": f"{{data_root}}/{name}.wav", "category": name[:-1]}
        for name in names
    }
    (folder / "train.json").write_text(json.dumps(manifest))


def names_of(wav):
    """Which clips these waveforms are."""
    kinds = {0.25: "dog", 0.5: "cat", 0.75: "bird"}
    places = wav[:, 1:].argmax(1).tolist()
    levels = wav[:, 1:].amax(1).tolist()
    return [f"{kinds[level]}{p}" for p, level in zip(places, levels, strict=True)]


@pytest.mark.parametrize("n_clips", [1, 2, 3, 6])
def test_classes_have_equal_shares(dataset, tmp_path, n_clips):
    wav = TrainingClips(dataset, tmp_path, n_clips, seed=1)()
    assert wav.shape == (n_clips, N_SAMPLES)
    chosen = names_of(wav)
    assert len(set(chosen)) == n_clips
    shares = Counter(name[:-1] for name in chosen).values()
    assert len(shares) == min(3, n_clips)
    assert max(shares) - min(shares) <= 1


def test_a_class_that_has_no_more_clips_leaves_its_turn(dataset, tmp_path):
    chosen = names_of(TrainingClips(dataset, tmp_path, 10, seed=1)())
    shares = Counter(name[:-1] for name in chosen)
    assert shares == {"bird": 2, "cat": 3, "dog": 5}


def test_the_draw_depends_on_the_seed_and_not_on_the_manifests_order(
    dataset, tmp_path, names
):
    first = TrainingClips(dataset, tmp_path, 4, seed=1)()
    torch.manual_seed(99)
    write_manifest(tmp_path, names[::-1])
    assert torch.equal(TrainingClips(dataset, tmp_path, 4, seed=1)(), first)
    draws = {
        tuple(names_of(TrainingClips(dataset, tmp_path, 4, s)())) for s in range(9)
    }
    assert len(draws) > 3


def test_clips_are_read_at_the_first_call_and_once(dataset, tmp_path):
    folder = tmp_path / "later"
    clips = TrainingClips(dataset, str(folder), 2, seed=1)  # nothing there yet
    folder.mkdir()
    (tmp_path / "train.json").rename(folder / "train.json")
    wav = clips()
    for path in tmp_path.glob("*.wav"):
        path.unlink()
    assert clips() is wav


def test_fewer_clips_than_requested_are_all_used_with_a_warning(
    dataset, tmp_path, names, caplog
):
    chosen = names_of(TrainingClips(dataset, tmp_path, 99, seed=1)())
    assert sorted(chosen) == sorted(names)
    assert "99 clips" in caplog.text and "the 11 of" in caplog.text


def test_missing_manifests_are_named(dataset, tmp_path):
    clips = TrainingClips(dataset, tmp_path / "none", 2, seed=1)
    with pytest.raises(InputError, match=r"none/train.json.*manifest_folder"):
        clips()


@pytest.mark.parametrize("n_clips", [0, -1, 2.5])
def test_a_number_of_clips_that_means_nothing_is_refused(dataset, tmp_path, n_clips):
    with pytest.raises(InputError, match="n_clips must be"):
        TrainingClips(dataset, tmp_path, n_clips, seed=1)


def test_every_clip_has_a_place_in_the_order():
    classes = {str(item): str(item % 3) for item in range(10)}
    assert sorted(balanced_draw(classes, 99, 1)) == sorted(classes)
    assert balanced_draw({}, 5, 1) == []
