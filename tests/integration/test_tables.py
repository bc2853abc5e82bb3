"""The tables of all methods, by the commands that a user types."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from speechbrain_lmac.recipes.evaluate import run_evaluation
from speechbrain_lmac.recipes.train_lmac import train_lmac
from speechbrain_lmac.reporting.paper_order import CONTROLS
from tests.integration.conftest import blocks_of

ROOT = Path(__file__).resolve().parents[2]
STFT = [
    *("Saliency", "SmoothGrad", "IG", "GradCAM", "GradCAM++", "Guided GradCAM"),
    *("Guided Backprop", "SHAP", "L2I, RT=0.2", "L2I, RT=0.4", "L-MAC"),
    *("L-MAC FT, lambda_g=4", "random cells", "random blocks", "all ones"),
]
MEL = [method for method in STFT if "L2I" not in method]
FEW = "{SmoothGrad: {n_samples: 2}, IG: {n_steps: 2}, SHAP: {n_samples: 2}}"
FINETUNED = "L-MAC FT, lambda_g=4"


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A folder of short recordings, which stand for speech."""
    folder = tmp_path_factory.mktemp("data") / "speech"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(30):
        samples = 0.1 * rng.standard_normal(2000 + 100 * index)
        soundfile.write(folder / f"{index}.wav", samples, 8000)
    return folder


@pytest.fixture
def table(
    tiny, classifier, trained_lmac, trained_lmac_mel, trained_finetune, trained_l2i
):
    """Options of both tables on what was trained (on the mel: not finetuned)."""
    l2i = {f"L2I, RT={share}": {"folder": trained_l2i} for share in (0.2, 0.4)}
    stft = {"L-MAC": trained_lmac, FINETUNED: trained_finetune, **l2i}
    mel = {"L-MAC": trained_lmac_mel, FINETUNED: trained_lmac_mel}
    baselines = f"--baselines={FEW}"
    return [*tiny, baselines, classifier, blocks_of(STFT=stft, Mel=mel), "--n_clips=2"]


def test_the_table_out_of_domain(run, table, speech, tmp_path):
    conditions = "--conditions=mixtures,white_noise,speech"
    script = ["evaluate.py", "hparams/toy_table.yaml", conditions]
    options = [*table, f"--speech_folder={speech}", f"--output_folder={tmp_path}"]
    done = run([sys.executable, *script, *options], ROOT / "recipes")

    assert done.returncode == 0, done.stderr
    summary = pd.read_csv(tmp_path / "summary.csv")
    keys = ["condition", "block", "method"]
    assert summary[keys].to_numpy().tolist() == [
        [condition, block, method]
        for condition in ("mixtures", "white_noise", "speech")
        for block, methods in (("STFT", STFT), ("Mel", MEL))
        for method in methods
    ]
    assert (summary["n"] == 2).all()
    ones = summary[summary["method"] == "all ones"]
    assert (ones[["AI", "AD", "AG"]] == 0).all(axis=None)
    # Every condition knows its sources.
    assert summary["foreground share"].notna().sum() >= len(summary) - 6
    per_clip = pd.read_csv(tmp_path / "per_clip.csv")
    assert per_clip["id"].str.fullmatch(r"5-\d+-A-\d\+[01]").all()
    page = done.stdout
    assert page.endswith((tmp_path / "summary.md").read_text("utf-8"))
    for part in (
        "12.04 dB",
        "6.02 dB",
        "no clip of",
        "of the split test",
        "curves_mixtures",
    ):
        assert part in page, part
    assert set(pd.read_csv(tmp_path / "curves.csv")["condition"]) == {"mixtures"}
    assert (tmp_path / "summary.tex").read_text().count(r"\begin{table}") == 3


def test_the_table_in_domain_goes_on_where_it_was(call, table, tmp_path, monkeypatch):
    options = [*table, "--sanity={n_clips: 1}", "--output_folder=out"]
    options += ["--conditions=clean,noise"]
    with monkeypatch.context() as no_pictures:  # which the second run draws
        for name in ("evaluation_page.write_curves", "sanity_page.write_sanity"):
            place = f"speechbrain_lmac.reporting.{name}"
            no_pictures.setattr(place, lambda *_: None)
        call(run_evaluation, "hparams/toy_table.yaml", *options)

    out = tmp_path / "out"
    first = pd.read_csv(out / "per_clip.csv")
    assert set(first["condition"]) == {"clean", "noise"}
    sanity = pd.read_csv(out / "sanity.csv")
    assert set(sanity["method"]) == set(STFT) - set(CONTROLS)
    assert sanity["layer"].unique().tolist()[:2] == ["trained", "model.linear"]
    finished = {path: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}

    # As if it had been stopped within the last condition.
    last = out / "rows" / "noise Mel.csv"
    rows = pd.read_csv(last)
    rows[rows["method"] != "L-MAC"].to_csv(last, index=False)
    call(run_evaluation, "hparams/toy_table.yaml", *options)

    again = pd.read_csv(out / "per_clip.csv")
    pd.testing.assert_frame_equal(
        again.drop(columns="seconds"), first.drop(columns="seconds")
    )
    for path, when in finished.items():
        assert path == last or path.stat().st_mtime_ns == when, path.name
    pictures = {"curves_clean_STFT", "curves_clean_Mel", "sanity_STFT", "sanity_Mel"}
    assert {path.stem for path in out.glob("*.png")} == pictures


def test_a_table_of_chosen_scores_and_of_an_own_metric(call, one_method, tmp_path):
    (tmp_path / "my_metrics.py").write_text(
        "def keep_share(evidence):\n"
        '    """Share of the cells that the mask keeps by more than half."""\n'
        "    return (evidence.mask > 0.5).double().mean((1, 2))\n"
    )
    metrics = "--metrics=[AI, AD, SPS-heard, !name:my_metrics.keep_share ]"
    options = ["--methods=L-MAC,all ones", "--n_clips=2", "--output_folder=out"]
    others = [option for option in one_method if not option.startswith("--methods")]
    call(run_evaluation, *others, metrics, *options)

    summary = pd.read_csv(tmp_path / "out" / "summary.csv").set_index("method")
    assert list(summary.index) == ["L-MAC", "all ones"]
    assert summary.loc["all ones", "keep_share"] == 1
    page = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert re.search(r"- \*\*keep_share\*\*: Share of .* by more than half\.", page)
    assert "L-MAC is compared with" in page and "leads" not in page
    assert re.search(r"split test.*; 2 of these \d+ ", page)


def test_a_training_names_metrics_as_a_table_does(call, tiny, classifier, tmp_path):
    child = tmp_path / "named.yaml"
    child.write_text(f"parent: {ROOT}/hparams/toy_lmac.yaml\nmetrics: [AI, MM]\n")
    few = ["--number_of_epochs=1", "--batch_size=6", "--output_folder=out"]
    call(train_lmac, child, *tiny, classifier, *few)

    epochs = pd.read_csv(tmp_path / "out" / "epochs.csv")
    assert {"valid_AI", "valid_MM"} <= set(epochs.columns)
    assert "valid_AD" not in epochs.columns
