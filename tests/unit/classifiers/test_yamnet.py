"""YAMNet: patches, batches, rates, its files, and Google's weights where they are.

The network and its features are compared with those of transformers in
tests/oracle/test_yamnet.py.
"""

import csv
import math
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.zoo.yamnet import (
    PATCH_HOP_LENGTH,
    PATCH_LENGTH,
    TAGS_FILE,
    WEIGHTS_FILE,
    TrainedYAMNet,
    YAMNet,
    log_mel_patches,
    patch_count,
)
from speechbrain_lmac.data_prep.esc50_prepare import esc50_classes
from speechbrain_lmac.dsp.audio import fix_length, read_mono
from speechbrain_lmac.hub.weights import save_weights
from speechbrain_lmac.metrics.checks.listeners import SecondListener
from speechbrain_lmac.metrics.checks.second_listener import best_class
from speechbrain_lmac.utils.errors import InputError
from tests.listeners import random_yamnet, yamnet_part

TAGS = ["Dog", "Rain", "Speech"]


def noise(*shape):
    """Waveforms of white noise, the same in every test."""
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def write_yamnet(folder, model, column="display_name"):
    """A model in the files of `TrainedYAMNet`."""
    folder.mkdir(exist_ok=True)
    save_weights(model, folder / WEIGHTS_FILE)
    with open(folder / TAGS_FILE, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["index", "mid", column])
        table.writerows([i, f"/m/{i}", tag] for i, tag in enumerate(model.tags))
    return folder


# --- Patches --------------------------------------------------------------------------


@pytest.mark.parametrize("n_samples", [160, 399, 15599, 15600])
def test_a_short_waveform_is_one_patch_that_ends_in_silence(n_samples):
    mel = YAMNet(TAGS, width=0.05).mel
    wav = noise(2, n_samples)
    patches = log_mel_patches(wav, mel)
    assert patches.shape == (2, 1, 96, 64)
    whole = log_mel_patches(F.pad(wav, (0, PATCH_LENGTH - n_samples)), mel)
    assert torch.equal(patches, whole)
    behind = -(-n_samples // 160)  # the first frame that begins behind it
    silence = torch.full_like(patches[:, 0, behind:], math.log(0.001))
    torch.testing.assert_close(patches[:, 0, behind:], silence)
    assert (patches[:, 0, 0] > math.log(0.001)).any()


def test_every_patch_begins_half_a_patch_after_the_one_before():
    mel = YAMNet(TAGS, width=0.05).mel
    wav = noise(1, 80000)
    patches = log_mel_patches(wav, mel)
    assert patches.shape == (1, patch_count(80000), 96, 64)
    for place in (1, 4, 9):  # the last one ends in silence
        part = wav[:, place * PATCH_HOP_LENGTH :][:, :PATCH_LENGTH]
        torch.testing.assert_close(patches[:, place], log_mel_patches(part, mel)[:, 0])


def test_the_end_of_a_waveform_has_an_effect():
    wav = noise(1, 15700)
    cut = wav.clone()
    cut[:, 15600:] = 0
    model = random_yamnet(TAGS)
    assert (model.scores(wav, 16000) - model.scores(cut, 16000)).abs().max() > 1e-3


# --- Scores ---------------------------------------------------------------------------


def test_the_score_of_a_clip_is_the_mean_of_its_patches():
    model = random_yamnet(TAGS)
    wav = noise(1, 24000)
    parts = F.pad(wav, (0, PATCH_LENGTH + 2 * PATCH_HOP_LENGTH - 24000))
    parts = parts.unfold(1, PATCH_LENGTH, PATCH_HOP_LENGTH)[0]
    expected = torch.cat([model.scores(part[None], 16000) for part in parts])
    assert expected.std(0).min() > 1e-3  # the patches differ
    assert ((expected > 0) & (expected < 1)).all()
    torch.testing.assert_close(model.scores(wav, 16000)[0], expected.mean(0))


def test_a_clip_has_the_same_scores_alone_and_in_a_batch():
    model = random_yamnet(TAGS)
    wavs = noise(3, 20000) * torch.tensor([[0.01], [1.0], [0.1]])
    together = model.scores(wavs, 16000)
    assert together.std(0).min() > 1e-3
    alone = torch.cat([model.scores(wav[None], 16000) for wav in wavs])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(model.scores(wavs.flip(0), 16000), together.flip(0))


@pytest.mark.parametrize("rate", [8000, 44100])
def test_waveforms_of_another_rate_are_resampled(rate):
    def tones(rate):
        time = torch.arange(rate) / rate
        frequencies = torch.tensor([[440.0], [2000.0]])
        return 0.3 * torch.sin(2 * math.pi * frequencies * time)

    model = random_yamnet(TAGS)
    expected = model.scores(tones(16000), 16000)
    resampled = model.scores(tones(rate), rate)
    unconverted = model.scores(tones(rate), 16000)
    error, without = ((s - expected).abs().max() for s in (resampled, unconverted))
    assert error < 0.25 * without  # the filter's edge, and the bands beyond half a rate


# --- Files ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random weights of the published size, with the tags of the YAML part."""
    tags = [tag for mapped in yamnet_part().values() for tag in mapped]
    return write_yamnet(tmp_path_factory.mktemp("yamnet"), random_yamnet(tags, 1.0))


def test_a_folder_has_weights_and_tags(folder):
    trained = TrainedYAMNet(folder)
    model = random_yamnet(trained.tags, 1.0)
    wav = noise(1, 8000)
    assert torch.equal(trained.scores(wav, 16000), model.scores(wav, 16000))
    assert not trained.training
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_missing_and_wrong_files_are_named(folder, tmp_path):
    with pytest.raises(InputError, match=TAGS_FILE):
        TrainedYAMNet(tmp_path)
    small = random_yamnet(TAGS, 0.05)
    other = write_yamnet(tmp_path / "narrow", small)
    with pytest.raises(InputError, match=WEIGHTS_FILE):
        TrainedYAMNet(other)
    write_yamnet(other, small, column="name")
    with pytest.raises(InputError, match=f"{TAGS_FILE}.*display_name"):
        TrainedYAMNet(other)


def test_the_yaml_part_has_a_tag_for_each_class_of_esc10(folder):
    from hyperpyyaml import load_hyperpyyaml

    path = Path(__file__).resolve().parents[3] / "hparams/parts/listener/yamnet.yaml"
    text = f"part: !include:{path} {{source: {folder}, level: 0.5}}"
    listener = load_hyperpyyaml(text)["part"]
    classes = esc50_classes("esc10")
    indices = listener.tag_indices(classes)
    tags = [[listener.classifier.tags[i] for i in own] for own in indices]
    assert tags[classes.index("dog")] == ["Dog", "Bark", "Bow-wow"]
    assert listener.level == 0.5
    assert listener.class_scores(noise(1, 4000), 8000, classes).shape == (1, 10)


# --- Google's weights -----------------------------------------------------------------


@pytest.fixture(scope="module")
def published():
    """`TrainedYAMNet` with the weights in YAMNET_FOLDER; without it, skipped."""
    if not os.environ.get("YAMNET_FOLDER"):
        pytest.skip("needs YAMNET_FOLDER, a folder with yamnet.safetensors")
    return TrainedYAMNet(Path(os.environ["YAMNET_FOLDER"]).resolve())


def test_published_weights_have_the_features_and_tags(published):
    assert len(published.tags) == 521 and published.tags[0] == "Speech"
    # The weights had 8 bits.
    assert (published.mel - YAMNet(TAGS).mel).abs().max() < 1.01 / 256
    assert published.scores(torch.zeros(1, 16000), 16000).argmax() == (
        published.tags.index("Silence")
    )


def test_published_weights_find_the_classes_of_esc10(published, esc10_folder):
    # 94 % of all 400 clips; here two clips of each class of the last fold.
    listener = SecondListener(published, yamnet_part())
    classes = esc50_classes("esc10")
    with open(esc10_folder / "meta" / "esc50.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] == "5"]
    rows = [r for c in classes for r in [r for r in rows if r["category"] == c][:2]]
    wavs = [
        fix_length(read_mono(esc10_folder / "audio" / row["filename"], 16000), 80000)
        for row in rows
    ]
    scores = listener.class_scores(torch.stack(wavs), 16000, classes)
    labels = torch.tensor([classes.index(row["category"]) for row in rows])
    assert best_class(scores, labels).mean() >= 85
