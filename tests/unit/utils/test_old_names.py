"""Models, configurations and records of version 0.2 can still be used."""

import importlib.util
import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from speechbrain.inference.interfaces import foreign_class

import speechbrain_lmac
from speechbrain_lmac.classifiers.clap.front_ends import repeated
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.config.run_options import RunOptions
from speechbrain_lmac.data.class_captions import ClassCaptions
from speechbrain_lmac.domains import LearnedDomain, WaveformSTFTDomain
from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.explainers import RandomExplainer
from speechbrain_lmac.explainers.to_mask import absolute
from speechbrain_lmac.hub.registry import SHIPPED, read_record, shipped_files
from speechbrain_lmac.inference import interfaces
from speechbrain_lmac.losses import lmac, lmac_td
from speechbrain_lmac.training.training_settings import (
    SETTINGS_FILE,
    check_settings,
    settings_of,
)
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import fingerprint_of
from speechbrain_lmac.utils.old_names import (
    BECAME_PACKAGES,
    LATER,
    MODULES,
    NAMES,
    current_name,
    recorded_name,
    with_current_names,
)
from speechbrain_lmac.utils.seeding import seed_of

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "speechbrain_lmac"
# The YAML of each model of the package, as version 0.2 had it.
OLD_YAML = sorted((Path(__file__).parent / "names_of_0_2").glob("*.yaml"))
CPU = {"device": "cpu"}


@pytest.mark.parametrize("module", MODULES.values())
def test_every_module_of_the_table_exists(module):
    assert importlib.util.find_spec(f"speechbrain_lmac.{module}") is not None


def test_no_module_has_two_old_names():
    assert len(set(MODULES.values())) == len(MODULES) > 100


@pytest.mark.parametrize("name", NAMES.values())
def test_every_name_of_the_table_exists(name):
    module, _, inner = f"speechbrain_lmac.{name}".rpartition(".")
    assert callable(getattr(importlib.import_module(module), inner))


@pytest.mark.parametrize("name", LATER)
def test_brains_of_version_0_3_are_those_of_the_recipes(name):
    module, _, inner = current_name(name).rpartition(".")
    assert callable(getattr(importlib.import_module(module), inner).compute_objectives)


def test_a_brain_of_version_0_2_is_found_through_both_tables():
    old = "speechbrain_lmac.brains.FinetuningBrain"
    assert current_name(old) == "speechbrain_lmac.recipes.train_lmac.FinetunedLMAC"


def test_no_module_of_a_package_is_taken_for_a_name_in_an_old_module():
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert packages & set(MODULES) == set(BECAME_PACKAGES)
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if path.stem != "__init__" and "." in module.removeprefix("speechbrain_lmac."):
            assert current_name(f"{module}.Thing") == f"{module}.Thing"


def test_exported_names_exist():
    for module, names in BECAME_PACKAGES.items():
        package = importlib.import_module(f"speechbrain_lmac.{module}")
        assert set(names) == set(getattr(package, "__all__", ()))
        for name in names:
            full = f"speechbrain_lmac.{module}.{name}"
            assert current_name(full) == full
            assert isinstance(getattr(package, name), type)


def test_a_new_name_is_not_taken_for_an_old_one():
    for module in MODULES.values():
        name = f"speechbrain_lmac.{module}.Thing"
        assert current_name(name) == name
        assert current_name(recorded_name(name)) == name


def test_the_changelog_prints_the_table():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for old, new in {**MODULES, **NAMES}.items():
        assert f"| `{old}` | `{new}` |" in text


@pytest.fixture(params=OLD_YAML, ids=lambda path: path.stem)
def released(request, tmp_path):
    """A model of the package as version 0.2 would have published it."""
    folder = tmp_path / request.param.stem
    folder.mkdir()
    here = {path.name: path for path in (SHIPPED / folder.name).iterdir()}
    for name, path in {**here, **shipped_files(folder.name)}.items():
        if path.is_file():
            shutil.copy(path, folder / name)
    shutil.copy(request.param, folder / "hyperparams.yaml")
    return folder


def answer(model, clip):
    """The output of a model for a clip, as numbers."""
    if isinstance(model, interfaces.AudioClassifier):
        return model.classify_file(clip)[0]
    explained = model.explain_file(clip)
    return torch.stack([explained.explanation, explained.rest])


def test_a_model_of_the_last_release_is_loaded_in_every_way(released):
    assert "speechbrain_lmac.domains." in (released / "hyperparams.yaml").read_text()
    kind = getattr(interfaces, read_record(released).interface)
    clip = released / "example.wav"
    expected = answer(kind.from_hparams(SHIPPED / released.name, run_opts=CPU), clip)
    models = [
        kind.from_hparams(released, run_opts=CPU),
        kind.from_hparams(released, trust_remote_code=True, run_opts=CPU),
        foreign_class(
            source=str(released),
            pymodule_file="custom_interface.py",
            classname=kind.__name__,
            run_opts=CPU,
        ),
    ]
    for model in models:
        assert torch.equal(answer(model, clip), expected)


def test_an_old_yaml_is_built_with_one_warning(tmp_path, caplog):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "objective: !new:speechbrain_lmac.objectives.WeightedObjective\n"
        "    weights: {mask_in: 1.0, mask_l1: 2.0}\n"
        "    terms:\n"
        "        mask_in: !name:speechbrain_lmac.objectives.mask_in\n"
        "        mask_l1: !name:speechbrain_lmac.objectives.mask_l1\n"
    )
    with caplog.at_level(logging.WARNING):
        hparams, _, (_, resolved) = load_experiment([str(path)])
    assert isinstance(hparams["objective"], lmac.WeightedObjective)
    assert "speechbrain_lmac.losses.lmac.mask_l1" in resolved
    (record,) = caplog.records
    assert "speechbrain_lmac.objectives.mask_in is now " in record.getMessage()


def test_a_function_that_is_called_while_the_file_is_read_has_its_old_name(tmp_path):
    path = tmp_path / "mine.yaml"
    tag = "!applyref:speechbrain_lmac.draws.seed_of"
    assert with_current_names(tag)[0].endswith("_lmac.utils.seeding.seed_of")
    path.write_text(f"seed: {tag} [dog]\n")
    assert load_experiment([str(path)])[0]["seed"] == seed_of("dog")


@pytest.mark.parametrize(
    "old, new",
    [
        ("learned.LearnedDomain", "domains.LearnedDomain"),
        ("domains_clap.ClapSTFTDomain", "domains.ClapSTFTDomain"),
        ("domains_clap.ClapMelDomain", "domains.ClapMelDomain"),
        ("domains.STFTDomain", "domains.STFTDomain"),
    ],
)
def test_a_training_goes_on_with_the_yaml_of_today(tmp_path, old, new):
    """Its settings have the name of then."""
    before, now = (f"!new:speechbrain_lmac.{name}" for name in (old, new))
    texts = (p.read_text(encoding="utf-8") for p in (ROOT / "hparams").rglob("*.yaml"))
    assert any(f"{now}\n" in text for text in texts)
    (tmp_path / SETTINGS_FILE).write_text(json.dumps({"settings": {"domain": before}}))
    (tmp_path / "epochs.csv").write_text("epoch\n1\n")
    check_settings(tmp_path, settings={"domain": now})


def test_a_training_of_the_last_release_goes_on(tmp_path):
    old = 'objective: !new:speechbrain_lmac.objectives.WeightedObjective {a: "b"}'
    new = 'objective: !new:speechbrain_lmac.losses.lmac.WeightedObjective {a: "b"}'
    settings = settings_of(old, RunOptions())
    assert settings["objective"] == "!new:speechbrain_lmac.objectives.WeightedObjective"
    (tmp_path / SETTINGS_FILE).write_text(json.dumps({"settings": settings}))
    (tmp_path / "epochs.csv").write_text("epoch\n1\n")
    check_settings(tmp_path, settings=settings_of(new, RunOptions()))
    other = new.replace("WeightedObjective", "OtherObjective")
    with pytest.raises(InputError, match="losses.lmac.WeightedObjective"):
        check_settings(tmp_path, settings=settings_of(other, RunOptions()))


@pytest.mark.parametrize(
    "thing, of_version_0_2",
    [
        (lmac.mask_in, "8f551026a07313bc"),
        (lmac_td.sum_to_input, "bbb10ec54bd5e78e"),
        (repeated, "770292bff654fac3"),
        (absolute, "5f03aa28d2193a3b"),
        (
            [LearnedDomain, Codec, ClassCaptions, WaveformSTFTDomain, RandomExplainer],
            "c9343fbb0687325f",
        ),
    ],
    ids=["loss", "codec's loss", "filling", "to mask", "classes"],
)
def test_finished_rows_of_the_last_release_are_known_again(thing, of_version_0_2):
    assert fingerprint_of(thing) == of_version_0_2


def test_old_python_imports_end():
    for name in ("options", "brains", "domains_clap", "learned"):
        assert importlib.util.find_spec(f"speechbrain_lmac.{name}") is None
    with pytest.raises(AttributeError, match="'brains'"):
        speechbrain_lmac.brains  # noqa: B018
