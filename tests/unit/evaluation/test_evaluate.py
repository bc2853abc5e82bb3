"""The tables: what is in a row, what is counted, what is written."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.evaluation.evaluate import curve_column, evaluate
from speechbrain_lmac.evaluation.row_store import RowStore
from speechbrain_lmac.evaluation.statistics import curves_of, summarise
from speechbrain_lmac.explainers.controls import (
    AllOnesExplainer,
    RandomExplainer,
    Remembered,
)
from speechbrain_lmac.metrics import PAPER_METRICS
from speechbrain_lmac.metrics.curves import AREAS, CURVES, area_under_curve
from speechbrain_lmac.types import ClassifierOutput, Encoded, Explanation
from speechbrain_lmac.utils.errors import InputError

CLASSES = ["dog", "rain"]


class Domain:
    """Two frames of two bins."""

    features_from_waveform = False

    def encode(self, wav, lens=None):
        rep = wav.reshape(-1, 2, 2)
        return Encoded(rep, torch.ones_like(rep), wav.shape[1])

    def apply_mask(self, encoded, mask):
        return encoded.with_rep(encoded.rep * mask)

    def features(self, encoded):
        return encoded.rep


def classifier(features):
    """The mean of each bin is the logit of a class."""
    return ClassifierOutput(features.mean(1), ())


class FirstBin:
    """Keeps the first of the two bins; counts its calls."""

    def __init__(self, mask=((1.0, 0.0), (1.0, 0.0))):
        self.mask = torch.tensor(mask)
        self.calls = 0

    def explain(self, wav, target=None, lens=None):
        self.calls += 1
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


def test_a_remembered_reference_explains_once_per_batch():
    first_bin = FirstBin()
    reference = Remembered(first_bin)
    explainers = {"first bin": reference, "random": RandomExplainer(reference)}
    run(explainers, DOG, RAIN, SURE, size=2)
    assert first_bin.calls == 2


class OfStems(FirstBin):
    """Keeps the cells in which the foreground is louder."""

    def explain_mixture(
        self, wav, foreground, background, target=None, lens=None, classes=None
    ):
        explanation = self.explain(wav, target, lens)
        louder = (foreground > background).reshape(-1, 2, 2).float()
        return replace(explanation, mask=louder)


def test_stems_are_handed_to_the_explainers_that_need_them(monkeypatch, caplog):
    scores = "speechbrain_lmac.evaluation.evaluate.source_scores"
    masks = []
    monkeypatch.setattr(scores, lambda domain, e, *stems: masks.append(e.mask) or {})
    explainers = {"first": FirstBin(), "ideal": OfStems(), "best": OfStems()}
    clips = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]
    louder = torch.tensor(clips) > 2
    truth = GroundTruth(lambda ids: (louder.float(), (~louder).float()))
    rows = run(explainers, *clips, truth=truth)
    assert rows["method"].tolist() == [n for n in explainers for _ in clips]
    expected = [[[0.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]]
    assert masks[1].tolist() == expected and masks[0].tolist() != expected
    # Without stems these rows are left out, with one message.
    assert not caplog.records
    rows = run(explainers, *clips, size=1)
    assert set(rows["method"]) == {"first"}
    (record,) = caplog.records
    assert "ideal, best" in record.getMessage() and "first" not in record.getMessage()
    with pytest.raises(InputError, match="ideal.*stems"):
        run({"ideal": OfStems()}, *clips)


def test_stems_are_rendered_once_per_batch_and_not_for_finished_rows(monkeypatch):
    rendered = []

    def stems(ids):
        rendered.append(list(ids))
        return torch.ones(len(ids), 4), torch.ones(len(ids), 4)

    scores = "speechbrain_lmac.evaluation.evaluate.source_scores"
    monkeypatch.setattr(scores, lambda domain, explanation, *stems: {})
    store = RowStore()
    options = {"truth": GroundTruth(stems), "store": store, "class_names": CLASSES}
    run({"first": FirstBin(), "second": FirstBin()}, DOG, RAIN, SURE, **options)
    assert rendered == [["clip0", "clip1"], ["clip2"]]
    run({"first": FirstBin(), "second": FirstBin()}, DOG, RAIN, SURE, **options)
    assert len(rendered) == 2


def test_the_time_of_a_batch_is_shared_by_its_clips(monkeypatch):
    readings = iter([10.0, 13.0, 20.0, 21.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(readings))
    table = run({"first bin": FirstBin()}, DOG, RAIN, SURE, size=2)
    assert table.seconds.tolist() == [1.5, 1.5, 1.0]


def test_an_evaluation_without_clips_or_explainers_is_refused():
    with pytest.raises(InputError, match="1 explainers and 0 clips"):
        run({"first bin": FirstBin()})
    with pytest.raises(InputError, match="0 explainers and"):
        run({}, DOG)


def test_a_batch_that_does_not_fit_together_is_refused():
    wav = torch.zeros(2, 4)
    for batch, message in [
        (ClipBatch(["a"], wav), r"wav .*\(1, samples\).*got \(2, 4\)"),
        (ClipBatch(["a", "b"], wav, torch.zeros(1)), "label .*2 .*got 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate({}, [batch], Domain(), classifier)


def test_empty_masks_broken_and_saturated_clips_are_counted():
    nothing = FirstBin(mask=((0.0, 0.0), (0.0, 0.0)))
    table = run({"first bin": FirstBin(), "nothing": nothing}, DOG, BROKEN, SURE)
    assert table.predicted.isna().tolist() == [False, True, False] * 2
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


# --- Curves ---------------------------------------------------------------------------


SHARES = (0.25, 0.5, 1.0)


def test_curves_and_their_areas_are_columns():
    table = run({"first bin": FirstBin()}, DOG, RAIN, SURE, shares=SHARES)
    # Of the four cells half are the first bin's: what the mask itself keeps.
    for whole, column in (("p_in", "p_in@50%"), ("p_out", "p_out@50%")):
        assert table[column].tolist() == pytest.approx(table[whole].tolist())
    assert (table["Fid-In@100%"] == 1).all()
    assert table["p_in@100%"].tolist() == pytest.approx(table.p.tolist())
    curves = curves_of(table, SHARES)
    assert len(curves) == 9
    assert curves.columns.tolist() == [
        "id",
        "method",
        "share",
        *(c.name for c in CURVES),
    ]
    here = curves[curves.id == "clip1"].sort_values("share")
    for curve, area in zip(CURVES, AREAS, strict=True):
        values = torch.tensor(here[curve.name].to_numpy())[None]
        found = table.set_index("id").loc["clip1", area.name]
        assert found == pytest.approx(area_under_curve(values, SHARES).item())


def test_a_share_is_written_in_percent():
    assert [curve_column("AI", share) for share in (0.01, 0.005, 1)] == [
        *("AI@1%", "AI@0.5%", "AI@100%")
    ]


# --- Rows that are finished -----------------------------------------------------------


class Interrupted(FirstBin):
    """Is stopped at its second call."""

    def explain(self, wav, target=None, lens=None):
        if self.calls == 1:
            raise KeyboardInterrupt
        return super().explain(wav, target)


def explainers_of(first):
    return {"first": first, "second": FirstBin()}


def stored(path, explainers, *clips, prints="ab", **options):
    prints = dict(zip(explainers, prints, strict=True))
    store = RowStore(path, prints)
    try:
        return run(explainers, *clips, store=store, class_names=CLASSES, **options)
    finally:
        store.save()


def test_an_interrupted_evaluation_goes_on(tmp_path):
    path = tmp_path / "rows" / "clean STFT.csv"
    with pytest.raises(KeyboardInterrupt):
        stored(path, explainers_of(Interrupted()), DOG, RAIN, SURE, BROKEN)
    assert len(pd.read_csv(path)) == 4  # two methods, the first batch

    again = explainers_of(FirstBin())
    table = stored(path, again, DOG, RAIN, SURE, BROKEN)
    assert [explainer.calls for explainer in again.values()] == [1, 1]
    clips = (DOG, RAIN, SURE, BROKEN)
    whole = run(explainers_of(FirstBin()), *clips, class_names=CLASSES)
    pd.testing.assert_frame_equal(
        table.drop(columns="seconds"), whole.drop(columns="seconds"), check_exact=True
    )


def test_finished_rows_are_not_computed_again(tmp_path):
    path = tmp_path / "rows.csv"
    first = stored(path, explainers_of(FirstBin()), DOG, RAIN, SURE)
    again = explainers_of(FirstBin())
    second = stored(path, again, DOG, RAIN, SURE, size=3)
    assert [explainer.calls for explainer in again.values()] == [0, 0]
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_rows_of_another_fingerprint_are_computed_again(tmp_path):
    path = tmp_path / "rows.csv"
    stored(path, explainers_of(FirstBin()), DOG, RAIN)
    again = explainers_of(FirstBin(mask=((0.0, 1.0), (0.0, 1.0))))
    table = stored(path, again, DOG, RAIN, prints="cb")
    assert [explainer.calls for explainer in again.values()] == [1, 0]
    assert table[table.method == "first"].p_in.tolist() == pytest.approx([0.5, 0.9])
    # The old rows are gone from the file.
    assert pd.read_csv(path).fingerprint.tolist() == ["b", "b", "c", "c"]


def test_a_method_that_is_added_leaves_the_others(tmp_path):
    path = tmp_path / "rows.csv"
    stored(path, explainers_of(FirstBin()), DOG, RAIN)
    again = {**explainers_of(FirstBin()), "third": FirstBin()}
    table = stored(path, again, DOG, RAIN, prints="abc")
    assert [explainer.calls for explainer in again.values()] == [0, 0, 1]
    assert table.method.tolist() == ["first"] * 2 + ["second"] * 2 + ["third"] * 2


def test_the_file_holds_the_exact_numbers(tmp_path):
    path = tmp_path / "rows.csv"
    table = stored(path, {"random": RandomExplainer(FirstBin())}, RAIN, prints="a")
    read = pd.read_csv(path)
    numbers = table.select_dtypes("float").columns
    assert len(numbers) > 8
    pd.testing.assert_frame_equal(read[numbers], table[numbers], check_exact=True)


# --- Explainers that do not keep their promise ----------------------------------------


@pytest.mark.parametrize(
    "mask, message",
    [
        (
            ((1.0, 0.0),),
            r"'bad': mask .*\(1, 2, 2\), got \(1, 1, 2\)",
        ),
        (
            ((-0.5, 0.0), (1.0, 0.0)),
            r"'bad': mask .* 0..1, got -0.5 to 1",
        ),
        (((2.0, 0.0), (1.0, 0.0)), r"'bad': mask .* 0..1, got 0 to 2"),
    ],
)
def test_an_invalid_mask_is_refused_by_the_method(mask, message):
    class Bad(FirstBin):
        def explain(self, wav, target=None, lens=None):
            explanation = super().explain(wav, target)
            return replace(explanation, mask=torch.tensor(mask)[None])

    with pytest.raises(ValueError, match=message):
        run({"bad": Bad()}, DOG)


def test_a_mask_of_nan_is_counted():
    broken = FirstBin(mask=((math.nan, 0.0), (1.0, 0.0)))
    table = run({"broken": broken}, DOG, SURE, shares=SHARES)
    summary = summarise(table, PAPER_METRICS, n_boot=20)
    assert summary.non_finite.tolist() == [2]
    assert summary.AI_n.tolist() == [0]
    assert table["p_in@50%"].isna().all()
