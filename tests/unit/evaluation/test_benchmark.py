"""Conditions x blocks x explainers: runs, finished rows, written files."""

import importlib
import linecache
import math
import re
import sys

import pandas as pd
import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.data.conditions import ConditionClips, GroundTruth
from speechbrain_lmac.domains.stft import MelDomain, STFTDomain
from speechbrain_lmac.evaluation.benchmark import Benchmark, Curves, Sanity
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.explainers import (
    AllOnesExplainer,
    AttributionExplainer,
    Baselines,
    RandomExplainer,
    Saliency,
)
from speechbrain_lmac.explainers.to_mask import absolute
from speechbrain_lmac.metrics import (
    ALL_METRICS,
    EvidenceMetric,
    Score,
    metrics_by_name,
)
from speechbrain_lmac.metrics.checks.imprint import Imprint
from speechbrain_lmac.metrics.checks.replacement import NoiseReplacement
from speechbrain_lmac.reporting.evaluation_page import write_results
from speechbrain_lmac.utils.errors import InputError

RATE, N_SAMPLES, N_CLIPS = 16000, 8000, 6
LABELS = ["dog", "rain", "absent"]


class Clips(torch.utils.data.Dataset):
    """Noise; the clips of a condition have a level of their own."""

    def __init__(self, level):
        draw = torch.Generator().manual_seed(0)
        self.wav = level * torch.randn(N_CLIPS, N_SAMPLES, generator=draw)

    def __len__(self):
        return N_CLIPS

    def __getitem__(self, index):
        return {"id": f"c{index}", "signal": self.wav[index], "label": index % 2}


def opened(level, known):
    clips = Clips(level)

    def stems(ids):
        wav = torch.stack([clips.wav[int(name[1:])] for name in ids])
        return 0.75 * wav, 0.25 * wav

    # c0 and c1 are mixtures of one clip, c2 and c3, c4 and c5
    bases = {f"c{i}": f"clip{i // 2}" for i in range(N_CLIPS)} if known else None
    return ConditionClips(
        clips,
        GroundTruth(stems if known else None),
        f"print {level}",
        f"x{level}",
        bases,
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    return CompactClassifier(n_classes=3, channels=[4, 8]).eval()


def benchmark_of(model, **options):
    blocks = {}
    for name, domain in (("STFT", STFTDomain(RATE)), ("Mel", MelDomain(RATE))):
        ones = AllOnesExplainer(domain, model)
        own = {"random cells": RandomExplainer(ones), "all ones": ones}
        baselines = Baselines({"Saliency": Saliency(to_mask=absolute)})
        blocks[name] = Block(domain, model, own, baselines)
    conditions = {"clean": opened(0.3, False), "mixtures": opened(0.1, True)}
    options = {"curves": Curves(["mixtures"], [0.1, 0.5]), "batch_size": 4, **options}
    metrics = options.pop("metrics", ALL_METRICS)
    return Benchmark(blocks, conditions, model, metrics, LABELS, **options)


def test_a_block_has_the_baselines_first(model):
    block = benchmark_of(model).blocks["Mel"]
    assert list(block.explainers) == ["Saliency", "random cells", "all ones"]
    assert isinstance(block.explainers["Saliency"], AttributionExplainer)
    assert block.explainers["Saliency"].domain is block.domain


def test_every_condition_block_method_and_clip_has_a_row(model, tmp_path):
    per_clip = benchmark_of(model).score(tmp_path, progress=False)
    assert len(per_clip) == 2 * 2 * 3 * N_CLIPS
    keys = ["condition", "block", "method", "id"]
    assert not per_clip.duplicated(keys).any()
    assert list(per_clip.columns[:4]) == ["condition", "block", "id", "method"]
    pairs = per_clip.drop_duplicates(["condition", "id"]).groupby("condition")["clip"]
    clips = {condition: names.tolist() for condition, names in pairs}
    assert clips["clean"] == [f"c{i}" for i in range(N_CLIPS)]
    assert clips["mixtures"] == [f"clip{i // 2}" for i in range(N_CLIPS)]
    # Truth only where the parts are known, SI-SDR only where it can be listened to.
    known = per_clip["condition"].eq("mixtures")
    assert per_clip["foreground share"].notna().equals(known)
    assert per_clip["SI-SDR"].notna().equals(known & per_clip["block"].eq("STFT"))
    assert per_clip["AI@10%"].notna().equals(known)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("clean Mel.csv", "clean STFT.csv", "mixtures Mel.csv", "mixtures STFT.csv")
    ]


def test_some_clips_are_spread_over_all(model, tmp_path):
    benchmark = benchmark_of(model, n_clips=3)
    per_clip = benchmark.score(tmp_path, progress=False)
    assert set(per_clip["id"]) == {"c0", "c2", "c4"}
    more = benchmark_of(model, n_clips=100)
    assert len(more.clips("clean")) == N_CLIPS


@pytest.fixture
def nobody_explains(monkeypatch):
    """`nobody_explains()`: from now on each of the explainers fails."""

    def fails(self, wav, target=None):
        raise AssertionError("explained again")

    def forbid():
        for kind in (AllOnesExplainer, AttributionExplainer, RandomExplainer):
            monkeypatch.setattr(kind, "explain", fails)

    return forbid


def test_finished_rows_are_not_computed_again(model, tmp_path, nobody_explains):
    first = benchmark_of(model).score(tmp_path, progress=False)
    nobody_explains()
    second = benchmark_of(model).score(tmp_path, progress=False)
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_other_weights_are_another_evaluation(model, tmp_path):
    benchmark_of(model).score(tmp_path, progress=False)
    with torch.no_grad():
        model.linear.bias += torch.tensor([5.0, 0.0, 0.0])
    per_clip = benchmark_of(model).score(tmp_path, progress=False)
    fresh = benchmark_of(model).score(tmp_path / "fresh", progress=False)
    pd.testing.assert_frame_equal(
        per_clip.drop(columns="seconds"), fresh.drop(columns="seconds")
    )


def test_finished_rows_survive_an_error(model, tmp_path):
    benchmark = benchmark_of(model)
    domain = benchmark.blocks["Mel"].domain

    def fails(wav, target=None, lens=None):
        raise RuntimeError("out of memory")

    benchmark.blocks["Mel"].explainers["all ones"].explain = fails
    with pytest.raises(RuntimeError, match="out of memory"):
        benchmark.score(tmp_path, progress=False)
    assert len(pd.read_csv(tmp_path / "clean STFT.csv")) == 3 * N_CLIPS
    rows = pd.read_csv(tmp_path / "clean Mel.csv")
    assert rows["method"].unique().tolist() == ["Saliency"]
    assert domain is benchmark.blocks["Mel"].domain


def test_the_results_are_written(model, tmp_path):
    benchmark = benchmark_of(model)
    per_clip = benchmark.score(tmp_path / "rows", progress=False)
    sanity = benchmark.check_sanity(
        Sanity("clean", 2, ["random cells", "all ones"]), tmp_path / "rows", 7, False
    )
    write_results(
        tmp_path,
        benchmark,
        per_clip,
        ["seed: 7"],
        seed=7,
        reference="Saliency",
        published="lmac_esc50",
        sanity=sanity,
    )
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert len(summary) == 2 * 2 * 3
    ones = summary[summary["method"] == "all ones"]
    assert (ones[["AI", "AD", "AG"]] == 0).all(axis=None)
    comparison = pd.read_csv(tmp_path / "comparison.csv")
    assert set(comparison["method"]) == {"random cells", "all ones"}
    paired = comparison[comparison["metric"] == "AI"].groupby("condition")
    assert paired["n"].unique().to_dict() == {"clean": [6], "mixtures": [6]}
    assert paired["clips"].unique().to_dict() == {"clean": [6], "mixtures": [3]}
    assert (comparison["q"] >= comparison["p"])[comparison["p"].notna()].all()
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert curves["condition"].unique().tolist() == ["mixtures"]
    assert sorted(curves["share"].unique()) == [0.1, 0.5]
    checked = pd.read_csv(tmp_path / "sanity.csv")
    assert checked["method"].unique().tolist() == ["Saliency"]
    assert sorted(checked["id"].unique()) == ["c0", "c3"]
    page = (tmp_path / "summary.md").read_text("utf-8")
    for part in ("## clean", "x0.3.", "### mixtures, Mel", "IRM overlap", "p_out area"):
        assert part in page, part
    pictures = [line.split("(")[1][:-1] for line in page.splitlines() if "![" in line]
    assert len(pictures) == 4
    assert all((tmp_path / picture).stat().st_size > 10_000 for picture in pictures)
    assert page.count("* q < 0.001") == 4
    # The published row of Saliency on mixtures stands beside ours, with its warning.
    assert "| 31.73 |" in page and "AD-double-softmax" in page
    assert page.count("halved table") == 2  # STFT and Mel; clean has none
    text = (tmp_path / "summary.tex").read_text("utf-8")
    assert text.count(r"\begin{table}") == 2


def test_methods_of_two_domains_stand_in_one_table(model, tmp_path):
    benchmark = benchmark_of(model)
    mel = benchmark.blocks["Mel"].explainers
    mel["blocks of mel"] = mel.pop("random cells")
    per_clip = benchmark.score(tmp_path / "rows", progress=False)
    write_results(
        tmp_path,
        benchmark,
        per_clip,
        ["seed: 7"],
        seed=7,
        reference="blocks of mel",
        together=["STFT", "Mel"],
    )
    joined = ["STFT and Mel", "mixtures"]
    summary = pd.read_csv(tmp_path / "summary.csv").set_index(["block", "condition"])
    methods = ["Saliency, STFT", "random cells", "all ones, STFT"]
    methods += ["Saliency, Mel", "all ones, Mel", "blocks of mel"]
    assert sorted(summary.loc[tuple(joined), "method"]) == sorted(methods)
    # What only a listenable domain has, SI-SDR, is no score of the joined table, nor
    # what is measured of the masks.
    assert summary.loc[tuple(joined), "foreground share"].notna().all()
    for score in ("SI-SDR", "IRM overlap", "SPS", "MM"):
        assert summary.loc[tuple(joined), score].isna().all(), score
    # Controls are ahead of nobody, of whatever block.
    page = (tmp_path / "summary.md").read_text("utf-8")
    table = page.split("### mixtures, STFT and Mel")[1].split("With known sources")[0]
    verdict = table.strip().splitlines()[-1]
    assert "blocks of mel leads" in verdict
    assert "all ones" not in verdict
    # The difference to a method of the other domain, clip by clip, by hand.
    compared = pd.read_csv(tmp_path / "comparison.csv")
    row = compared.query(
        "block == 'STFT and Mel' and condition == 'mixtures' and "
        "method == 'random cells' and metric == 'Fid-In'"
    ).iloc[0]
    rows = per_clip[per_clip["condition"] == "mixtures"].set_index(["method", "id"])
    less = rows.loc["blocks of mel", "Fid-In"] - rows.loc["random cells", "Fid-In"]
    assert row["n"] == len(less) > 0
    assert row["difference"] == pytest.approx(less.mean())


def page_of(benchmark, tmp_path, reference="Saliency"):
    """What is written of a benchmark with few resamples of anything."""
    per_clip = benchmark.score(tmp_path / "rows", progress=False)
    write_results(tmp_path, benchmark, per_clip, [], seed=7, reference=reference)
    return (tmp_path / "summary.md").read_text("utf-8")


def test_only_the_chosen_scores_are_judged(model, tmp_path):
    benchmark = benchmark_of(model, metrics=metrics_by_name(["AI", "SPS"]), curves=None)
    for block in benchmark.blocks.values():  # no control by its name
        block.explainers["Mine"] = block.explainers.pop("all ones")
    page = page_of(benchmark, tmp_path)
    # All ones gain nothing, nor does a saliency of random weights.
    verdicts = [v for v in page.splitlines() if v.startswith("Saliency leads")]
    assert len(verdicts) == 2 * 2 and all("none of AI." in v for v in verdicts)
    clean = page.split("## mixtures")[0]
    assert "AG" not in clean and "Fid-In" not in clean


def test_controls_alone_are_no_rivals(model, tmp_path):
    page = page_of(benchmark_of(model), tmp_path)
    assert "leads" not in page
    lines = [line for line in page.splitlines() if "Saliency is compared with" in line]
    assert len(lines) == 4 and all("controls" in line for line in lines)


def test_a_method_alone_is_compared_with_nobody(model, tmp_path):
    benchmark = benchmark_of(model)
    for block in benchmark.blocks.values():
        del block.explainers["all ones"], block.explainers["random cells"]
    page = page_of(benchmark, tmp_path)
    assert "leads" not in page and "Saliency minus" not in page


def test_a_page_has_the_number_of_scored_clips_of_a_condition(model, tmp_path):
    some, all_of_them = benchmark_of(model, n_clips=2), benchmark_of(model)
    assert re.match(r"x0\.3; 2 of \w+ 6 ", some.description("clean"))
    assert all_of_them.description("clean") == "x0.3"
    page = page_of(some, tmp_path)
    assert f"{some.description('clean')}." in page
    latex = (tmp_path / "summary.tex").read_text("utf-8")
    assert some.description("clean") in latex


def test_each_check_has_its_table_with_its_chance_level_first(model, tmp_path):
    class Half:
        def scores(self, domain, truth):
            known = truth.stems is not None
            return (Score("half", unit="%"),) if known else ()

        def __call__(self, batch):
            first = torch.arange(len(batch.evidence.target)) == 0
            return {"half": torch.where(first, 50.0, torch.nan)}

    checks = [Imprint(noises=["white"]), Half(), NoiseReplacement()]
    benchmark = benchmark_of(model, n_clips=2, curves=None, checks=checks)
    page = page_of(benchmark, tmp_path)
    tables = re.findall(
        r"\| method \| (?:imprint white ↓|half) \|\n.*\n\| (.*?) \|", page
    )
    assert tables == ["all ones"] * 6  # the second one only with known stems
    assert "| 50.00 [50.00, 50.00] (1) |" in page
    assert set(pd.read_csv(tmp_path / "operators.csv")["second"]) == {"noise"}
    rows = pd.read_csv(tmp_path / "summary.csv")
    assert rows["non_finite"].max() <= 2 and rows["half_n"].dropna().eq(1).all()


def test_the_rows_of_an_own_metric_are_scored_again_when_its_code_is_another(
    model, tmp_path, monkeypatch
):
    def scores(text):
        (tmp_path / "my_kept.py").write_text(
            f"def kept(evidence):\n    return evidence.mask.mean((1, 2)) * {text}\n"
        )
        monkeypatch.delitem(sys.modules, "my_kept", raising=False)
        importlib.invalidate_caches()
        linecache.clearcache()
        module = importlib.import_module("my_kept")
        metrics = metrics_by_name([module.kept, "AI"])
        benchmark = benchmark_of(model, metrics=metrics, curves=None, n_clips=2)
        return benchmark.score(tmp_path / "rows", progress=False)["kept"]

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert (scores("20.0") == 2 * scores("10.0")).all()


def test_a_score_of_the_whole_batch_is_refused(model, tmp_path):
    mean = EvidenceMetric("kept", function=lambda evidence: evidence.mask.mean())
    benchmark = benchmark_of(model, metrics=[mean])
    with pytest.raises(InputError, match=r"'kept' .*\(4,\), got .*\(\)"):
        benchmark.score(tmp_path, progress=False)


def test_together_names_blocks(model, tmp_path):
    benchmark = benchmark_of(model)
    with pytest.raises(InputError, match="'TD'.*STFT, Mel"):
        write_results(tmp_path, benchmark, None, [], seed=7, together=["TD", "STFT"])


def test_the_sanity_check_is_not_repeated(model, tmp_path, nobody_explains):
    leave_out = ["random cells", "all ones"]
    sanity = Sanity("clean", 2, leave_out)
    first = benchmark_of(model).check_sanity(sanity, tmp_path, 7, False)
    nobody_explains()
    second = benchmark_of(model).check_sanity(sanity, tmp_path, 7, False)
    pd.testing.assert_frame_equal(first, second)
    assert math.isclose(first.loc[first["step"] == 0, "Spearman"].min(), 1.0)


def test_only_a_module_can_be_randomised(model, tmp_path):
    benchmark = benchmark_of(model)
    for block in benchmark.blocks.values():
        block.classifier = lambda features: None
    with pytest.raises(InputError, match="Module.*got function"):
        benchmark.check_sanity(Sanity("clean", 2), tmp_path, 7, False)


@pytest.mark.parametrize("options", [{"n_clips": 0}, {"n_clips": "all"}])
def test_an_invalid_number_of_clips_is_refused(model, options):
    with pytest.raises(InputError, match="n_clips"):
        benchmark_of(model, **options)


def test_blocks_do_not_share_the_files_of_their_rows(model):
    block = benchmark_of(model).blocks["STFT"]
    with pytest.raises(InputError, match="'STFT' and 'STFT.1'.*rename"):
        Benchmark({"STFT": block, "STFT.1": block}, {}, model, [], LABELS)
    Benchmark({"STFT.0.5": block, "STFT.1": block, 2: block}, {}, model, [], LABELS)


def test_curves_and_sanity_of_a_condition_that_is_not_chosen(model, tmp_path, caplog):
    benchmark = benchmark_of(model, curves=Curves(["noise", "mixtures"], [0.5]))
    assert re.search("curves.*'noise'.*clean, mixtures", caplog.text)
    assert benchmark.shares("mixtures") == (0.5,) and not benchmark.shares("clean")
    caplog.clear()
    assert benchmark.check_sanity(Sanity("noise", 2), tmp_path, 7, False) is None
    assert re.search("sanity.*'noise'", caplog.text)
    assert not list(tmp_path.iterdir())
