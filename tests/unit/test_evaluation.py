"""The tables: what is in a row, what is counted, what is written."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_lmac.dataio import ClipBatch
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.evaluation import (
    bootstrap_interval,
    evaluate,
    summarise,
    summary_page,
    write_tables,
)
from speechbrain_lmac.explainers.controls import (
    AllOnesExplainer,
    RandomExplainer,
    Remembered,
)
from speechbrain_lmac.metrics import (
    AD_DOUBLE_SOFTMAX,
    AI,
    MM,
    PAPER_METRICS,
    EvidenceMetric,
    metrics_by_name,
)
from speechbrain_lmac.types import ClassifierOutput, Encoded, Explanation

CLASSES = ["dog", "rain"]


class Domain:
    """Two frames of two bins."""

    def encode(self, wav):
        rep = wav.reshape(-1, 2, 2)
        return Encoded(rep, torch.ones_like(rep), wav.shape[1])

    def apply(self, encoded, mask):
        return encoded.with_rep(encoded.rep * mask)

    def features(self, encoded):
        return encoded.rep


def classifier(features):
    """The mean of each bin is the logit of a class."""
    return ClassifierOutput(features.mean(1), ())


class FirstBin:
    """Keeps the first of the two bins; counts how often it is asked."""

    def __init__(self, mask=((1.0, 0.0), (1.0, 0.0))):
        self.mask = torch.tensor(mask)
        self.asked = 0

    def explain(self, wav, target=None):
        self.asked += 1
        encoded = Domain().encode(wav)
        logits = classifier(encoded.rep).logits
        target = logits.argmax(1) if target is None else target
        mask = self.mask.expand_as(encoded.rep)
        return Explanation(mask, target, encoded, logits)


LN3 = math.log(3)

# of the four cells of a clip, the first bin's are 0 and 2, the second bin's 1 and 3
DOG = [LN3, 0.0, LN3, 0.0]  # p(dog) = 3/4
RAIN = [LN3, 2 * LN3, LN3, 2 * LN3]  # p(rain) = 3/4, alone: p_in 1/4, p_out 9/10
SURE = [50.0, 0.0, 50.0, 0.0]
BROKEN = [math.nan, 0.0, 0.0, 0.0]


def batches(*clips, labels=True, size=2):
    for start in range(0, len(clips), size):
        part = clips[start : start + size]
        yield ClipBatch(
            ids=[f"clip{start + i}" for i in range(len(part))],
            wav=torch.tensor(part),
            label=torch.zeros(len(part), dtype=torch.long) if labels else None,
        )


def run(explainers, *clips, **options):
    labels = options.pop("labels", True)
    size = options.pop("size", 2)
    return evaluate(
        explainers,
        batches(*clips, labels=labels, size=size),
        Domain(),
        classifier,
        progress=False,
        **options,
    )


def test_a_row_per_clip_and_method_with_known_scores():
    table = run(
        {"first bin": FirstBin(), "ones": AllOnesExplainer(Domain(), classifier)},
        DOG,
        RAIN,
        SURE,
        class_names=CLASSES,
    )
    assert list(table.columns[:8]) == [
        *("id", "method", "label", "predicted", "correct", "p", "p_in", "p_out")
    ]
    names = [metric.name for metric in PAPER_METRICS]
    assert list(table.columns[8:]) == [*names, "empty_mask", "saturated", "seconds"]
    assert len(table) == 6

    rows = table[table.method == "first bin"].set_index("id")
    assert rows.label.tolist() == ["dog"] * 3
    assert rows.predicted.tolist() == ["dog", "rain", "dog"]
    assert rows.correct.tolist() == [True, False, True]
    assert rows.p.tolist() == pytest.approx([0.75, 0.75, 1.0])
    assert rows.p_in.tolist() == pytest.approx([0.75, 0.25, 1.0])
    assert rows.p_out.tolist() == pytest.approx([0.5, 0.9, 0.5])
    assert rows.AD.tolist() == pytest.approx([0, 200 / 3, 0], abs=1e-5)
    assert rows.FF.tolist() == pytest.approx([0.25, -0.15, 0.5])
    assert rows["Fid-In"].tolist() == [1, 0, 1]
    assert rows.MM.tolist() == [0.5] * 3
    assert rows.saturated.tolist() == [False, False, True]
    assert not rows.empty_mask.any()

    ones = table[table.method == "ones"]
    assert (ones[["AI", "AD", "AG"]] == 0).all(axis=None)


def test_the_size_of_the_batches_does_not_matter():
    explainers = {"random": RandomExplainer(FirstBin())}
    one, three = (
        run(explainers, DOG, RAIN, SURE, size=size).drop(columns=["seconds", "id"])
        for size in (1, 3)
    )
    pd.testing.assert_frame_equal(one, three, rtol=1e-6)


def test_unlabelled_clips_have_no_correct():
    table = run({"first bin": FirstBin()}, DOG, RAIN, labels=False)
    assert table.label.isna().all()
    assert table.correct.isna().all()
    assert table.predicted.tolist() == [0, 1]


def test_a_remembered_reference_is_asked_once_per_batch():
    first_bin = FirstBin()
    reference = Remembered(first_bin)
    explainers = {"first bin": reference, "random": RandomExplainer(reference)}
    run(explainers, DOG, RAIN, SURE, size=2)
    assert first_bin.asked == 2


def test_the_time_of_a_batch_is_shared_by_its_clips(monkeypatch):
    readings = iter([10.0, 13.0, 20.0, 21.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(readings))
    table = run({"first bin": FirstBin()}, DOG, RAIN, SURE, size=2)
    assert table.seconds.tolist() == [1.5, 1.5, 1.0]


def test_nothing_to_evaluate_is_said():
    with pytest.raises(InputError, match="nothing to evaluate"):
        run({"first bin": FirstBin()})
    with pytest.raises(InputError, match="nothing to evaluate"):
        run({}, DOG)


def test_a_batch_that_does_not_fit_together_is_refused():
    wav = torch.zeros(2, 4)
    for batch, message in [
        (ClipBatch(["a"], wav), r"shape \(1, samples\) for 1 ids, got \(2, 4\)"),
        (ClipBatch(["a", "b"], wav, torch.zeros(1)), "label must have 2 classes"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate({}, [batch], Domain(), classifier, progress=False)


def test_empty_masks_broken_and_saturated_clips_are_counted():
    nothing = FirstBin(mask=((0.0, 0.0), (0.0, 0.0)))
    table = run({"first bin": FirstBin(), "nothing": nothing}, DOG, BROKEN, SURE)
    assert table.predicted.isna().tolist() == [False, True] * 2 + [False] * 2
    assert table.correct.isna().sum() == 2
    summary = summarise(table, n_boot=50).set_index("method")
    assert summary.n.tolist() == [3, 3]
    assert summary["empty"].tolist() == [0, 3]
    assert summary.non_finite.tolist() == [1, 3]
    assert summary.saturated.tolist() == [1, 1]
    # the broken clip has a mask, but no AI
    assert summary.SPS_n.tolist() == [3, 0]
    assert summary.AI_n.tolist() == [2, 2]
    # DOG and SURE: the mean leaves the broken clip out
    assert summary.FF["first bin"] == pytest.approx((0.25 + 0.5) / 2)
    assert summary.loc["nothing", ["SPS", "SPS_low", "SPS_high"]].isna().all()
    assert summary.MM["nothing"] == 0


def per_clip_of(scores, method="m"):
    return pd.DataFrame(
        {
            "method": method,
            "AI": scores,
            "empty_mask": False,
            "saturated": False,
            "seconds": 0.5,
        }
    )


def test_an_infinite_score_is_not_averaged():
    summary = summarise(per_clip_of([1.0, 3.0, np.inf, np.nan]), [AI], n_boot=20)
    assert summary.AI[0] == 2.0
    assert (summary.AI_n[0], summary.non_finite[0], summary.n[0]) == (2, 2, 4)
    assert summary.seconds_per_clip[0] == 0.5


def test_methods_keep_their_order_and_clips_do_not_matter():
    scores = np.random.default_rng(0).gamma(1, size=40)
    forth, back = per_clip_of(scores, "z"), per_clip_of(scores[::-1], "a")
    summary = summarise(pd.concat([forth, back]), [AI], n_boot=200)
    assert summary.method.tolist() == ["z", "a"]
    assert summary.loc[0].drop("method").equals(summary.loc[1].drop("method"))


def test_the_interval_of_a_constant_is_the_constant():
    assert bootstrap_interval(np.full(37, 100.0)) == (100.0, 100.0)
    assert bootstrap_interval(np.full(37, 0.1)) == pytest.approx((0.1, 0.1), rel=1e-14)
    assert bootstrap_interval(np.array([0.3])) == (0.3, 0.3)
    assert np.isnan(bootstrap_interval(np.array([]))).all()


def test_the_interval_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="the bootstrap has no oracle")
    values = np.random.default_rng(3).gamma(0.5, size=50)
    n_boot = 10_000
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=n_boot,
        method="percentile",
        rng=np.random.default_rng(4),
    )
    # The limits of 10000 resamples scatter by 0.03 standard errors (one sigma), those
    # of a 90 or 99 % interval lie 0.3 or more away.
    tolerance = 0.15 * theirs.standard_error
    low, high = bootstrap_interval(values, n_boot, seed=5)
    assert low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)


def test_the_seed_decides_the_interval():
    values = np.random.default_rng(0).normal(size=30)
    first = bootstrap_interval(values, 100, seed=1)
    assert first == bootstrap_interval(values, 100, seed=1)
    assert first != bootstrap_interval(values, 100, seed=2)


@pytest.fixture
def tables():
    metrics = [*PAPER_METRICS, AD_DOUBLE_SOFTMAX]
    explainers = {"a|b": FirstBin(), "random": RandomExplainer(FirstBin())}
    table = run(explainers, DOG, RAIN, SURE, BROKEN, metrics=metrics)
    return table, summarise(table, metrics, n_boot=50)


def test_files_hold_the_exact_numbers(tables, tmp_path):
    per_clip, summary = tables
    write_tables(per_clip, summary, tmp_path / "new" / "folder", ["seed: 1234"])
    folder = tmp_path / "new" / "folder"
    files = {"per_clip.csv", "summary.csv", "summary.md"}
    assert {path.name for path in folder.iterdir()} == files
    for name, table in (("per_clip", per_clip), ("summary", summary)):
        read = pd.read_csv(folder / f"{name}.csv", float_precision="round_trip")
        assert list(read.columns) == list(table.columns)
        numbers = table.select_dtypes("float").columns
        assert len(numbers) > 8
        pd.testing.assert_frame_equal(
            read[numbers], table[numbers], check_exact=True, check_dtype=False
        )
    assert (folder / "summary.md").read_text("utf-8") == summary_page(
        summary, ["seed: 1234"]
    )


def test_a_failed_write_leaves_the_old_file_whole(tables, tmp_path, monkeypatch):
    per_clip, summary = tables
    write_tables(per_clip, summary, tmp_path, ["the old one"])
    names = ["per_clip.csv", "summary.csv", "summary.md"]
    old = [(tmp_path / name).read_bytes() for name in names]

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="disk full"):
        write_tables(per_clip[:1], summary[:1], tmp_path, ["the new one"])
    assert [(tmp_path / name).read_bytes() for name in names] == old


def test_the_page_can_be_read(tables):
    page = summary_page(tables[1], ["evaluate.py x.yaml", "seed: 1234"])
    lines = page.splitlines()
    assert lines[2:4] == ["- evaluate.py x.yaml", "- seed: 1234"]
    header, rule, *rows = [line for line in lines if line.startswith("|")]
    assert header == (
        "| method | AI ↑ | AD ↓ | AD-double-softmax ↓ | AG ↑ | FF ↑ | Fid-In ↑ | SPS ↑ "
        "| COMP ↓ | MM | clips | empty | non-finite | saturated | s/clip |"
    )
    assert rows[0].startswith("| a\\|b | 0.00 [0.00, 0.00] | 22.22 [0.00, ")
    assert "| 0.500 [0.500, 0.500] | 4 | 0 | 1 | 1 |" in rows[0]
    cells = [row.replace("\\|", "").count("|") for row in (header, rule, *rows)]
    assert cells == [16] * 4
    assert "p_in - p > 1e-06" in page
    for metric in (*PAPER_METRICS, AD_DOUBLE_SOFTMAX):
        assert f"- **{metric.name}**: " in page


def test_the_page_shows_the_metrics_there_are(tables):
    own = EvidenceMetric("own", None, "", "a metric of the user", lambda e: e.mask)
    table = tables[0].assign(own=1.0)
    summary = summarise(table, [*metrics_by_name(["AI"]), own], n_boot=20)
    page = summary_page(summary, [], [AI, MM, own])
    assert "| method | AI ↑ | own | clips |" in page
    assert "**MM**" not in page
