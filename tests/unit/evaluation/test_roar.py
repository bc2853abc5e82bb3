"""Remove and retrain: what is removed, what is retrained, what is not done twice."""

import functools
import math
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.evaluation.roar import (
    WHOLE,
    remove_and_retrain,
    retrain,
    settings_of,
)
from speechbrain_lmac.evaluation.roar_inputs import (
    Inputs,
    mean_of_bins,
    remaining_inputs,
    whole_inputs,
    without_top,
)
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.metrics.curves import ranking
from speechbrain_lmac.reporting.roar_page import roar_table
from speechbrain_lmac.training.schedules import Annealing
from speechbrain_lmac.types import ClassifierOutput, Encoded, Explanation
from speechbrain_lmac.utils.errors import InputError

FRAMES, BINS = 8, 16


class Domain:
    """Frames of a waveform of FRAMES * BINS samples, as they are."""

    def encode(self, wav, lens=None):
        return Encoded(wav.reshape(-1, FRAMES, BINS), None, wav.shape[1])

    def features(self, encoded):
        return encoded.rep


class Marks:
    """Ranks the cells of some bins before all others; counts the clips it explains."""

    def __init__(self, bins, value=1.0):
        self.bins, self.value, self.clips = bins, value, 0

    def explain(self, wav, target=None, lens=None):
        self.clips += len(wav)
        encoded = Domain().encode(wav)
        mask = torch.full_like(encoded.rep, 0.1)
        mask[:, :, self.bins] = self.value
        return Explanation(mask, torch.zeros(len(wav)).long(), encoded, None)


class Nothing:
    """A schedule that leaves the rate alone."""

    def on_step(self, optimizer, step, steps_per_epoch):
        pass

    def on_epoch(self, optimizer, epoch, valid_loss):
        pass


def batches(n, seed):
    """Clips of two classes, which differ in two bins; batches of 8 and a rest."""
    label = torch.arange(n) % 2
    rep = torch.rand(n, FRAMES, BINS, generator=torch.Generator().manual_seed(seed))
    rep[label == 0, :, 0] += 2
    rep[label == 1, :, 1] += 2
    ids = [f"{seed}-{i}" for i in range(n)]
    return [
        ClipBatch(ids[i : i + 8], rep[i : i + 8].flatten(1), label[i : i + 8])
        for i in range(0, n, 8)
    ]


SETS = {"train": batches(36, 0), "valid": batches(16, 1), "test": batches(24, 2)}
TRAINING = SimpleNamespace(
    number_of_epochs=8,
    batch_size=8,
    opt_class=functools.partial(torch.optim.Adam, lr=0.05),
    annealing=Annealing(Nothing()),
)


class Learner(torch.nn.Module):
    """One layer on the mean over time, with dropout."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(BINS, 2)

    def forward(self, features):
        pooled = torch.nn.functional.dropout(features.mean(1), 0.1, self.training)
        return ClassifierOutput(self.linear(pooled), ())


def run(explainers, path, model=None, shares=(0.125,), repeats=1, settings="a1"):
    return remove_and_retrain(
        explainers,
        Domain(),
        SETS,
        model or Learner(),
        TRAINING,
        shares,
        repeats,
        1234,
        path,
        settings,
        progress=False,
    )


def test_without_the_deciding_cells_accuracy_is_chance(tmp_path):
    # 2 of 16 bins are an eighth of the cells
    explainers = {"knows": Marks([0, 1]), "does not": Marks([8, 9])}
    rows = run(explainers, tmp_path / "roar.csv").set_index("method")
    assert rows.accuracy[WHOLE] == 1.0
    assert rows.accuracy["does not"] == 1.0
    assert 0.2 < rows.accuracy["knows"] < 0.8
    assert rows.share.tolist() == [0.0, 0.125, 0.125]
    assert (rows.n_test == 24).all()


def test_the_fill_is_the_mean_of_each_bin_of_the_training_clips():
    wavs = torch.cat([batch.wav for batch in SETS["train"]])
    expected = wavs.view(-1, BINS).mean(0)
    torch.testing.assert_close(mean_of_bins(Domain(), SETS["train"]), expected)
    with pytest.raises(InputError, match="no clip"):
        mean_of_bins(Domain(), [])


def test_clips_without_labels_are_refused():
    unlabelled = [replace(batch, label=None) for batch in SETS["train"]]
    with pytest.raises(InputError, match="labels"):
        whole_inputs(Domain(), unlabelled)


def test_the_highest_cells_are_filled_and_no_others():
    rep = torch.rand(2, FRAMES, BINS)
    mask = torch.rand(2, FRAMES, BINS)
    fill = torch.arange(BINS) + 10.0
    left = without_top(rep, ranking(mask), 0.25, fill)
    removed = left != rep
    assert removed.flatten(1).sum(1).tolist() == [FRAMES * BINS // 4] * 2
    assert torch.equal(left[removed], fill.expand_as(rep)[removed])
    for values, gone in zip(mask, removed, strict=True):
        assert values[gone].min() > values[~gone].max()


def test_inputs_keep_the_clips_in_order_with_their_labels():
    fill = torch.full((BINS,), -1.0)
    marks = Marks([3])
    inputs = remaining_inputs(marks, Domain(), SETS["train"], [1 / 16, 1.0], fill)
    whole = whole_inputs(Domain(), SETS["train"])
    assert marks.clips == 36  # once for both shares
    assert torch.equal(inputs[1 / 16].labels, whole.labels)
    assert (inputs[1 / 16].features[:, :, 3] == -1).all()
    others = [i for i in range(BINS) if i != 3]
    assert torch.equal(
        inputs[1 / 16].features[:, :, others], whole.features[:, :, others]
    )
    assert (inputs[1.0].features == -1).all()


def test_a_retraining_depends_on_its_key_alone():
    data = {s: whole_inputs(Domain(), SETS[s]) for s in SETS}
    weights = []
    for key, noise in ((1, 0), (1, 5), (2, 0)):
        torch.manual_seed(noise)
        model = Learner()  # other weights, which are replaced
        retrain(model, data, TRAINING, ("test", key))
        weights.append(model.linear.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_epoch_with_the_lowest_validation_loss_is_tested():
    data = {s: whole_inputs(Domain(), SETS[s]) for s in SETS}
    # Validation labels turned round: the more is learned, the worse they fit.
    wrong = Inputs(data["valid"].features, 1 - data["valid"].labels)
    _, epoch = retrain(Learner(), {**data, "valid": wrong}, TRAINING, ("test", 1))
    assert epoch < TRAINING.number_of_epochs
    _, epoch = retrain(Learner(), data, TRAINING, ("test", 1))
    assert epoch > 1


def test_a_diverging_training_is_refused():
    data = {s: whole_inputs(Domain(), SETS[s]) for s in SETS}
    broken = Inputs(data["valid"].features * math.nan, data["valid"].labels)
    with pytest.raises(InputError, match="finite validation loss.* lr"):
        retrain(Learner(), {**data, "valid": broken}, TRAINING, ("test", 1))


def test_finished_rows_are_not_computed_again_and_the_rest_is_the_same(tmp_path):
    whole = run({"a": Marks([0]), "b": Marks([1])}, tmp_path / "one.csv", repeats=2)
    path = tmp_path / "two.csv"
    run({"a": Marks([0])}, path)  # one method, one repeat
    before = pd.read_csv(path)
    explainers = {"a": Marks([0]), "b": Marks([1])}
    rows = run(explainers, path, repeats=2)
    same = ["method", "share", "repeat", "accuracy", "n_test", "epoch"]
    pd.testing.assert_frame_equal(rows[same], whole[same])
    after = pd.read_csv(path)
    pd.testing.assert_frame_equal(after[: len(before)], before)
    assert len(after) == len(rows) == 6

    explainers = {"a": Marks([0]), "b": Marks([1])}
    again = run(explainers, path, repeats=2)
    assert [explainer.clips for explainer in explainers.values()] == [0, 0]
    pd.testing.assert_frame_equal(again, rows)


def test_rows_of_an_interrupted_run_stay(tmp_path):
    class Breaks(Marks):
        def explain(self, wav, target=None, lens=None):
            raise KeyboardInterrupt

    path = tmp_path / "roar.csv"
    with pytest.raises(KeyboardInterrupt):
        run({"a": Marks([0]), "b": Breaks([1])}, path)
    assert pd.read_csv(path).method.tolist() == [WHOLE, "a"]


def test_rows_of_other_settings_are_refused(tmp_path):
    path = tmp_path / "roar.csv"
    run({}, path, settings="1234e5")
    text = path.read_text()
    with pytest.raises(InputError, match="roar.csv .*settings"):
        run({}, path, settings="1234e6")
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="roar.csv"):
        run({}, path)
    path.write_text(text)
    assert len(run({}, path, settings="1234e5")) == 1


def test_invalid_masks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="mask .*0..1"):
        run({"a": Marks([0], -0.5)}, tmp_path / "roar.csv")
    with pytest.raises(InputError, match="NaN .*clip 0-0, 0-1"):
        run({"a": Marks([0], math.nan)}, tmp_path / "roar.csv")


def test_settings_tell_weights_and_values_apart():
    torch.manual_seed(0)
    model, other = Learner(), Learner()
    first = settings_of([model], 1, "a")
    assert first == settings_of([model], 1, "a")
    assert len({first, settings_of([other], 1, "a"), settings_of([model], 2, "a")}) == 3


def test_the_table_has_a_row_per_method():
    rows = pd.DataFrame(
        {
            "method": [WHOLE, "a|b", "a|b"],
            "share": [0.0, 0.1, 0.1],
            "repeat": [1, 1, 2],
            "accuracy": [1.0, 0.5, 0.75],
        }
    )
    assert roar_table(rows) == [
        "| method | 0 % removed | 10 % removed |",
        "| --- | --- | --- |",
        f"| {WHOLE} | 100.0 (100.0 to 100.0) |  |",
        "| a\\|b |  | 62.5 (50.0 to 75.0) |",
    ]


def test_padded_clips_are_retrained_on_their_recordings():
    domain = STFTDomain(16000, n_mels=32)
    wav = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    own = 10 * domain.hop_length
    wav[0, own:] = 0
    lens = torch.tensor([own / 4000, 1.0])
    label = torch.tensor([0, 1])
    together = [ClipBatch(["a", "b"], wav, label, lens)]
    alone = [
        ClipBatch(["a"], wav[:1, :own], label[:1]),
        ClipBatch(["b"], wav[1:], label[1:]),
    ]
    explainer = AllOnesExplainer(domain, CompactClassifier(2, 32, [4, 4]).eval())
    means = mean_of_bins(domain, together)
    torch.testing.assert_close(means, mean_of_bins(domain, alone))
    found = remaining_inputs(explainer, domain, together, [0.5], means)[0.5]
    assert found.lengths.tolist() == [11, 22]
    assert whole_inputs(domain, together).lengths.tolist() == [11, 22]
    assert whole_inputs(domain, alone[:1]).lengths is None
    model = CompactClassifier(2, 32, [4, 4]).eval()
    with torch.no_grad():
        logits = found.logits(model, torch.arange(2))
        for place, batch in enumerate(alone):
            one = remaining_inputs(explainer, domain, [batch], [0.5], means)[0.5]
            expected = one.logits(model, torch.arange(1))[0]
            torch.testing.assert_close(logits[place], expected, rtol=1e-4, atol=1e-5)
