"""The checks of zero-shot explanations, by the commands that a user types."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_lmac.classifiers.clap.miniclap import save_clap
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.hub.weights import save_weights
from speechbrain_lmac.recipes.two_sources import run_two_sources
from speechbrain_lmac.recipes.zero_shot_checks import run_checks
from tools.tables import write_tables

ROOT = Path(__file__).resolve().parents[2]
TRAINING = "hparams/toy_lmac_zs_stft.yaml"
CHECKS = "tests/hparams/toy_zs_checks.yaml"
TWO = "tests/hparams/toy_zs_two_sources.yaml"
CLASSES = ["burst", "chirp", "click", "hum", "siren", "tone"]


@pytest.fixture(scope="module")
def ready(tiny, tmp_path_factory):
    """Options of both commands: a CLAP and a decoder, somewhere but not trained."""
    folder = tmp_path_factory.mktemp("zs")
    torch.manual_seed(0)
    save_clap(_clap(folder), folder / "clap")
    source = f"--clap_source={folder / 'clap'}"
    hparams, _, (_, resolved) = load_experiment([str(ROOT / TRAINING), source])
    (folder / "hyperparams.yaml").write_text(resolved)
    interpreter = hparams["interpreter"]
    with torch.no_grad():  # at the beginning it does not hear its prompt
        for parameter in interpreter.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_weights(interpreter, folder / "interpreter.ckpt")
    rows = {name: str(folder) for name in ("LMAC-ZS", "LMAC-ZS, sources")}
    return [*tiny, source, f"--blocks={json.dumps({'STFT': rows})}"]


def _clap(folder):
    """The CLAP of the generated sounds, before its training, with a few words."""
    path = folder / "clap.yaml"
    path.write_text("clap: !include:parts/classifier/miniclap_tiny.yaml {}\n")
    words = ["this", "is", "the", "sound", "of", *CLASSES]
    return load_experiment([str(path)])[0]["clap"].learn_words(sorted(words), seed=0)


@pytest.fixture(scope="module")
def checked(run, ready, tmp_path_factory):
    """The output folder of the command line, from inside recipes/, and its words."""
    folder = tmp_path_factory.mktemp("zs") / "toy_zs_checks" / "1234"
    options = [*ready, "--sanity={n_clips: 2}", f"--output_folder={folder}"]
    script = ["zero_shot_checks.py", CHECKS]
    done = run([sys.executable, *script, *options], ROOT / "recipes")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_every_clip_is_explained_for_every_prompt(checked):
    folder, printed = checked
    prompts = pd.read_csv(folder / "prompts.csv")
    assert prompts.groupby("method").size().to_dict() == {
        "GradCAM++": 36,
        "LMAC-ZS": 36,
        "LMAC-ZS, sources": 36,
    }
    assert sorted(prompts["prompt"].unique()) == CLASSES
    assert (prompts.groupby(["method", "id"])["right"].sum() == 1).all()
    right = prompts[prompts["right"]]
    assert (right["prompt"] == right["label"]).all()
    names = ["similarity", "similarity_in", "similarity_out"]
    assert prompts[names].abs().to_numpy().max() <= 1 + 1e-5
    # Both methods explain the same clips.
    whole = prompts.pivot(index=["id", "prompt"], columns="method", values="similarity")
    np.testing.assert_allclose(whole["LMAC-ZS"], whole["GradCAM++"], atol=1e-4)
    assert printed.endswith((folder / "summary.md").read_text(encoding="utf-8"))


def test_the_masks_of_a_trained_decoder_change_with_the_prompt(checked):
    swaps = pd.read_csv(checked[0] / "swaps.csv")
    own = swaps[swaps["method"] == "LMAC-ZS"]
    assert len(own) == 6 * 15 and (own["swap_distance"] > 0).all()
    assert own["text_distance"].nunique() == 15


def test_the_encoder_is_randomised_from_its_last_layer_down(checked):
    sanity = pd.read_csv(checked[0] / "sanity.csv")
    layers = sanity["layer"].unique().tolist()
    assert layers[:2] == ["trained", "linear"] and layers[-1] == "norm"
    assert all(name.startswith("blocks.") for name in layers[2:-1])
    assert sanity["id"].nunique() == 2
    # The decoder does not look at the embedding: a random one changes nothing.
    first = sanity[(sanity["method"] == "LMAC-ZS") & (sanity["step"] == 1)]
    assert first["Spearman"].to_numpy() == pytest.approx(1)
    last = sanity[(sanity["method"] == "LMAC-ZS") & (sanity["layer"] == "norm")]
    assert (last["Spearman"] < 0.9).all()


def test_the_page_is_part_of_another_one(call, checked, tmp_path):
    weights = tmp_path / "toy_clap" / "1234" / "clap" / "model.ckpt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(bytes(3 * 2**19))
    record = {"command": "c", "versions": "v", "test": {"accuracy": 0.75}, "epochs": 2}
    record |= dict.fromkeys(("parameters", "epoch_tested", "seconds"), 7)
    record |= dict.fromkeys(("seconds_per_epoch", "peak_memory_mib"), 7)
    (weights.parents[1] / "training.json").write_text(json.dumps(record))
    options = ["--trainings", "toy_clap/1234", "--evaluations", checked[0]]
    call(write_tables, *options, "--output", "docs/results/zero_shot.md")
    page = (tmp_path / "docs" / "results" / "zero_shot.md").read_text(encoding="utf-8")
    assert "| toy_clap | 7 | 1.50 | 2 |" in page  # MiB of the CLAP
    assert re.search(r"### clean, STFT: 6 \w+, 6 prompts", page)
    for name in ("size_clean_STFT", "swap_clean_STFT", "sanity_STFT"):
        link = f"zero_shot_pictures/toy_zs_checks_{name}.png"
        assert f"]({link})" in page and (tmp_path / "docs" / "results" / link).is_file()


def test_the_same_command_has_the_same_results(call, ready, checked, tmp_path):
    options = [*ready, "--sanity={n_clips: 2}", "--output_folder=again"]
    call(run_checks, CHECKS, *options)
    for name in ("per_clip.csv", "sanity.csv"):
        found, expected = (
            pd.read_csv(f / name) for f in (tmp_path / "again", checked[0])
        )
        pd.testing.assert_frame_equal(found, expected, rtol=1e-3, atol=1e-4)


def test_two_sources_by_prompts(call, ready, tmp_path, capsys):
    call(run_two_sources, TWO, *ready, "--n_clips=3", "--output_folder=out")
    rows = pd.read_csv(tmp_path / "out" / "per_clip.csv")
    learned = ["LMAC-ZS", "LMAC-ZS, sources"]
    methods = ["GradCAM", "GradCAM++", *learned, "random blocks", "all ones"]
    assert rows["method"].unique().tolist() == methods
    ones = rows[rows["method"] == "all ones"]
    assert (ones["both nearer"] == 0).all() and (ones["MM A, B less absent"] == 0).all()
    own, random = (
        rows[rows["method"] == m].set_index("id") for m in ("LMAC-ZS", "random blocks")
    )
    for name in ("MM A", "MM B", "MM absent"):
        np.testing.assert_allclose(own[name], random[name], atol=1e-5)
    assert "MM A, B less absent" in capsys.readouterr().out


def test_a_classifier_without_prompts_is_refused(refused, ready, classifier, tmp_path):
    (tmp_path / "deaf.yaml").write_text(
        f"parent: {CHECKS}\n"
        f"{classifier[2:].replace('=', ': ')}\n"
        "classifier: !new:speechbrain_lmac.classifiers.FrozenClassifier\n"
        "    model: !include:parts/classifier/tiny.yaml {n_classes: 6}\n"
        "    source: !ref <classifier_source>\n"
    )
    options = [o for o in ready if "clap_source" not in o]
    message = refused(run_checks, tmp_path / "deaf.yaml", *options)
    assert "ClapClassifier, got FrozenClassifier" in message
