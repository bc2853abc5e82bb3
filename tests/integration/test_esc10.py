"""Laws on real recordings; skipped, loudly, where ESC10_FOLDER names none."""

import csv

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from torch.utils.data import DataLoader, Subset

from speechbrain_lmac.data.dataset import collate_clips
from speechbrain_lmac.evaluation.evaluate import evaluate
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.metrics import metrics_by_name

YAML = "hparams/esc10_classifier_compact.yaml"


@pytest.fixture(scope="module")
def experiment(esc10_folder, pytestconfig, tmp_path_factory):
    """The ESC-10 experiment with its manifests prepared, nothing trained."""
    folder = tmp_path_factory.mktemp("esc10")
    overrides = {
        "data_folder": str(esc10_folder),
        "output_folder": str(folder),
        "dataset": {"cache_folder": str(folder / "cache")},
    }
    with open(pytestconfig.rootpath / YAML, encoding="utf-8") as stream:
        hparams = load_hyperpyyaml(stream, overrides)
    hparams["manifests"] = hparams["dataset"].prepare_manifests(folder / "manifest")
    hparams["clips"] = hparams["dataset"].load(
        folder / "manifest", "test", sorted(hparams["dataset"].categories)
    )
    return hparams


def test_the_published_folds_have_their_clips(experiment):
    assert experiment["manifests"].counts == {"train": 240, "valid": 80, "test": 80}


def test_the_classes_are_those_of_the_table(esc10_folder, experiment):
    with open(esc10_folder / "meta" / "esc50.csv", encoding="utf-8") as file:
        named = {row["category"] for row in csv.DictReader(file)}
    assert set(experiment["dataset"].categories) == named


def test_real_clips_survive_the_domain(experiment):
    """Odd recordings too: Ogg, digital silence at the end, full scale."""
    clips = [experiment["clips"][place] for place in range(0, 80, 8)]
    wav = collate_clips(clips).wav
    assert wav.shape == (10, 80000)
    assert torch.allclose(wav.abs().amax(1), torch.ones(10))
    domain = experiment["domain"]
    encoded = domain.encode(wav)
    error = (domain.decode(encoded) - wav).square().sum(1) / wav.square().sum(1)
    assert (10 * error.log10() < -60).all()
    assert torch.isfinite(domain.features(encoded)).all()


def test_keeping_everything_changes_nothing_on_real_clips(experiment):
    """The all-ones row of a table, with batches of 8 and an uneven last one."""
    model, domain = experiment["model"].eval(), experiment["domain"]
    per_clip = evaluate(
        {"all ones": AllOnesExplainer(domain, model)},
        DataLoader(Subset(experiment["clips"], range(13)), 8, collate_fn=collate_clips),
        domain,
        model,
        metrics_by_name(["AI", "AD", "AG", "Fid-In", "MM"]),
    )
    assert len(per_clip) == 13
    assert (per_clip["AI"] == 0).all()
    assert (per_clip[["AD", "AG"]].abs() < 1e-3).all(axis=None)
    assert (per_clip[["Fid-In", "MM"]] == 1).all(axis=None)
