"""Each ablation differs from its parent by one key, and is in a table."""

import difflib
import re
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from speechbrain_lmac.config.inheritance import blocks_of
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.recipes.ablations import trained_by
from speechbrain_lmac.reporting.ablation_page import read_ablations

ROOT = Path(__file__).resolve().parents[2]
HPARAMS = ROOT / "hparams"
ABLATIONS = sorted((HPARAMS / "ablations").glob("*.yaml"))
# Of the resolved file; more would be another experiment.
MOST_CHANGED_LINES = 8


def name_of(path):
    """What a test is called."""
    return path.stem


def own(path):
    """The keys that a file has itself."""
    return blocks_of(path.read_text(encoding="utf-8"))


def parent_of(path):
    """The file that it names."""
    return path.parent / own(path)["parent"].split(":")[1].strip()


def resolved(path):
    """The lines of the file that a run writes, without where it writes to."""
    text = resolve(path)
    return [
        line
        for line in text.splitlines()
        if not re.match(
            r"(output_folder|interpreter_checkpoint|\s+(checkpoints_dir|save_file)):",
            line,
        )
    ]


def test_there_are_ablations():
    assert len(ABLATIONS) >= 12


@pytest.mark.parametrize("path", ABLATIONS, ids=name_of)
def test_an_ablation_says_what_it_is_and_changes_one_key(path):
    text = path.read_text(encoding="utf-8")
    parent = parent_of(path)
    assert parent.is_file()
    assert re.match(rf"# Ablation of {parent.stem}: .+\.\n", text)
    scripts = {"_td_": "train_lmac_td.py", "_zs_": "train_lmac_zs.py"}
    named = [script for part, script in scripts.items() if part in path.stem]
    (script,) = named or ["train_lmac.py"]
    assert f"#   python {script} hparams/ablations/{path.name}\n" in text
    changed = set(own(path)) - {"parent", "output_folder"}
    assert len(changed) == 1, changed
    folder = f"output_folder: !ref results/ablations/{path.stem}/<seed>\n"
    assert own(path)["output_folder"] == folder


@pytest.mark.parametrize("path", ABLATIONS, ids=name_of)
def test_an_ablation_changes_a_few_lines_of_what_runs(path):
    theirs, ours = resolved(parent_of(path)), resolved(path)
    lines = [
        line
        for line in difflib.ndiff(theirs, ours)
        if line[0] in "+-" and not line[1:].strip().startswith("#")
    ]
    assert 1 <= len(lines) <= MOST_CHANGED_LINES, lines


@pytest.mark.parametrize("path", ABLATIONS, ids=name_of)
def test_an_ablation_can_be_built(path, monkeypatch):
    untrained = "speechbrain_lmac.classifiers.frozen.load_classifier"
    monkeypatch.setattr(untrained, lambda model, source: None)
    untrained = "speechbrain_lmac.domains.codec.pretrained_codec"
    monkeypatch.setattr(untrained, lambda codec, source: codec)
    untrained = "speechbrain_lmac.classifiers.clap.miniclap.trained_clap"
    words = ["sound", "chirp", "click", "tone", "burst", "siren", "hum"]
    monkeypatch.setattr(untrained, lambda clap, source: clap.learn_words(words, 0))
    hparams, _, _ = load_experiment([str(path)])
    domain, classifier = hparams["domain"], hparams["classifier"]
    kind = hparams.get("explainer", AmortizedExplainer)
    explainer = kind(domain, classifier, hparams["interpreter"].eval())
    explanation = explainer.explain(torch.randn(2, 8000))
    assert explanation.mask.shape == explanation.encoded.rep.shape


def test_every_ablation_is_in_a_table():
    listed = set()
    for path in HPARAMS.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        listed |= set(re.findall(r"hparams/ablations/([\w.]+)\.yaml", text))
        listed |= set(re.findall(r"results/ablations/([\w.]+)/", text))
    of_tests = {"toy_td_alpha0.00", "toy_td_alpha1.00"}  # in tests/hparams
    assert listed - of_tests == {path.stem for path in ABLATIONS}


def test_the_table_of_the_generated_sounds_compares_with_the_parents():
    text = (HPARAMS / "toy_ablations.yaml").read_text(encoding="utf-8")
    experiments = YAML().load(text)["experiments"]
    ablations = read_ablations(experiments)
    assert [a.name for a in ablations if a.parent is None] == ["L-MAC"]
    assert [a.parent for a in ablations if a.name == "FT, lambda_g=4"] == ["L-MAC"]
    for ablation in ablations:
        if "parent" in own(ablation.path):
            expected = {"toy_lmac": "L-MAC", "toy_lmac_finetune": "FT, lambda_g=4"}
            assert ablation.parent == expected[parent_of(ablation.path).stem]
        if "ablations" in ablation.path.parts:
            assert ablation.what.startswith("Ablation of")


def test_the_recipe_that_trains_ablations_is_named_by_a_key_of_its_own(caplog):
    assert trained_by({"recipe": "ablations"}) == "train_lmac"
    zero_shot = {"recipe": "ablations", "trained_by": "train_lmac_zs"}
    assert trained_by(zero_shot) == "train_lmac_zs"
    assert not caplog.text
    for old in ("train_lmac_zs.py", "train_lmac_zs", "mine.py"):  # of version 0.3
        assert trained_by({"recipe": old}) == old.removesuffix(".py")
        assert f"`recipe: {old}` is `trained_by" in caplog.text
