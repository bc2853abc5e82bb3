"""A dataset's clips and batches: lengths, levels, classes, errors."""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_lmac.data.dataset import ClipBatch, ClipDataset, collate_clips
from speechbrain_lmac.utils.errors import InputError

RATE = 16000


def dataset_of(folder, categories=("cat", "dog"), n_classes=2):
    """Two clips, a short and a long one, prepared."""
    manifest = {}
    for name, category, seconds in (("a", "dog", 0.2), ("b", "cat", 3.0)):
        tone = np.sin(2 * np.pi * 1000 * np.arange(round(44100 * seconds)) / 44100)
        soundfile.write(folder / f"{name}.wav", -0.5 * tone, 44100)
        manifest[name] = {"wav": f"{{data_root}}/{name}.wav", "category": category}

    def prepare(data_folder, manifest_folder, categories):
        assert data_folder == str(folder)
        text = str(manifest).replace("'", '"')
        (manifest_folder / "train.json").write_text(text)

    dataset = ClipDataset(
        prepare, str(folder), categories, n_classes, RATE, clip_seconds=0.5
    )
    dataset.prepare_manifests(folder)
    return dataset


def test_a_batch_has_one_length_one_level_and_the_classifiers_indices(tmp_path):
    clips = dataset_of(tmp_path).load(tmp_path, "train", ["bird", "dog", "cat"])
    batch = collate_clips([clips[0], clips[1]])
    assert isinstance(batch, ClipBatch)
    assert batch.ids == ["a", "b"]
    assert batch.label.tolist() == [1, 2]
    assert batch.wav.shape == (2, 8000)
    assert batch.wav.abs().amax(1).tolist() == [1.0, 1.0]
    assert batch.wav[0, :3200].any()
    assert not batch.wav[0, 3300:].any()
    assert batch.wav[1, -100:].any()


def test_a_batch_knows_what_of_a_short_clip_is_recording(tmp_path):
    clips = dataset_of(tmp_path).load(tmp_path, "train", ["dog", "cat"])
    short, long = clips[0], clips[1]
    assert collate_clips([short, long]).lens.tolist() == pytest.approx([0.4, 1.0])
    assert collate_clips([long, long]).lens is None
    assert (
        collate_clips([{"id": "a", "signal": torch.ones(3), "label": 0}]).lens is None
    )


def test_what_is_added_to_a_clip_fills_its_padding():
    wav = torch.tensor([[0.5, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    batch = ClipBatch(["a", "b"], wav, lens=torch.tensor([0.5, 0.25]))
    assert batch.with_wav(wav, [False, False]).lens.tolist() == [0.5, 0.25]
    noisy = wav + torch.tensor([[0.0], [0.1]])
    mixed = batch.with_wav(noisy, [False, True])
    assert mixed.lens.tolist() == [0.5, 1.0] and mixed.wav is noisy
    assert batch.lens.tolist() == [0.5, 0.25]
    assert ClipBatch(["a"], wav[:1]).with_wav(noisy[:1], [True]).lens is None


def test_classes_missing_in_the_classifier_are_named(tmp_path):
    with pytest.raises(InputError, match=r"classes \['dog'\]"):
        dataset_of(tmp_path).load(tmp_path, "train", ["cat", "bird"])


def test_a_wrong_number_of_classes_is_refused(tmp_path):
    with pytest.raises(InputError, match="2 .*n_classes: 3"):
        dataset_of(tmp_path, n_classes=3)
