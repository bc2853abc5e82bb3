"""The experiment with two sources, by explainers whose answers are known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from tqdm import tqdm

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding, ClapClassifier
from speechbrain_lmac.data.conditions import GroundTruth, source_classes
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.evaluation.row_store import RowStore
from speechbrain_lmac.evaluation.two_sources import (
    BOTH,
    absent_class,
    classes_of,
    nearness,
    score_mixtures,
    two_source_rows,
)
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.metrics.separation import ideal_ratio_mask
from speechbrain_lmac.reporting.two_sources_page import LESS_ABSENT, write_two_sources
from speechbrain_lmac.utils.errors import InputError

RATE, N = 16000, 8000
LABELS = ["low", "high", "none", "more"]
CLASSES = torch.tensor([[0, 1, 2], [1, 0, 3]])


@pytest.fixture(scope="module")
def domain():
    return MagnitudeSTFTDomain(sample_rate=RATE)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return CompactClassifier(len(LABELS), channels=(3, 4)).eval()


@pytest.fixture(scope="module")
def sources():
    """A and B of two mixtures: a low and a high tone, and the other way round."""
    time = torch.arange(N) / RATE
    low, high = (torch.sin(2 * torch.pi * hz * time) for hz in (500, 4000))
    return torch.stack([low, high]), torch.stack([high, low])


class Knowing:
    """Returns the ideal mask of the source whose class is requested."""

    def __init__(self, domain, classifier):
        self.ones = AllOnesExplainer(domain, classifier)
        self.calls = 0

    def explain(self, wav, target=None, lens=None):
        self.calls += 1
        given = self.ones.explain(wav, target)
        time = torch.arange(N) / RATE
        stems = [torch.sin(2 * torch.pi * hz * time)[None] for hz in (500, 4000)]
        domain = self.ones.domain
        spectra = [domain.magnitude(domain.encode(stem)) for stem in stems]
        low = ideal_ratio_mask(*spectra).float()
        answers = torch.stack([low[0], 1 - low[0], 0 * low[0], 0 * low[0]])
        return replace(given, mask=answers[target])


class Deaf(Knowing):
    """Returns the mask of the low tone for every class."""

    def explain(self, wav, target=None, lens=None):
        given = super().explain(wav, torch.zeros_like(target))
        return replace(given, target=target)


@pytest.mark.parametrize("gain", [0.1, 1.0, 30.0])
def test_nearness_of_orthogonal_sources_by_hand(gain):
    own, other = torch.eye(2)[:1], torch.eye(2)[1:]
    # Each SI-SDR is the ratio of both energies: 100, 1/100.
    found = nearness(gain * (10 * own + other), own, other)
    assert found.item() == pytest.approx(40, abs=1e-6)


def test_nearness_changes_its_sign_with_the_sources():
    estimate, own, other = torch.randn(3, 4, 1000, generator=torch.manual_seed(0))
    found = nearness(estimate, own, other)
    assert torch.equal(found, -nearness(estimate, other, own))
    assert nearness(own, own + 0.1 * other, other).min() > 0
    assert nearness(torch.zeros_like(own), own, other).isnan().all()


def test_an_ideal_mask_is_nearer_to_the_requested_source(domain, classifier, sources):
    wav = sources[0] + sources[1]
    explainer = Knowing(domain, classifier)
    found = score_mixtures(explainer, wav, CLASSES, sources, domain, classifier)
    assert (found["nearer A"] > 20).all() and (found["nearer B"] > 20).all()
    assert found[BOTH.name].tolist() == [100, 100]
    assert (found["SI-SDRi A"] > 10).all()
    assert found["MM absent"].tolist() == [0, 0]
    # A silent explanation of an absent class is correct.
    assert found["empty_mask"].tolist() == [False, False]


def test_a_method_without_the_class_is_never_right_twice(domain, classifier, sources):
    wav = sources[0] + sources[1]
    explainer = Deaf(domain, classifier)
    found = score_mixtures(explainer, wav, CLASSES, sources, domain, classifier)
    torch.testing.assert_close(found["nearer A"], -found["nearer B"])
    assert found["nearer A"][0] > 20 and found["nearer A"][1] < -20
    assert found[BOTH.name].tolist() == [0, 0]


def test_a_mask_of_ones_lies_between(domain, classifier, sources):
    wav = sources[0] + sources[1]
    ones = AllOnesExplainer(domain, classifier)
    found = score_mixtures(ones, wav, CLASSES, sources, domain, classifier)
    assert found["nearer A"].abs().max() < 0.05
    assert found[BOTH.name].tolist() == [0, 0]


def test_the_explanation_is_scored_for_the_requested_class(domain, classifier, sources):
    wav = sources[0] + sources[1]
    ones = AllOnesExplainer(domain, classifier)
    found = score_mixtures(ones, wav, CLASSES, sources, domain, classifier)
    with torch.no_grad():
        logits = classifier(domain.features(domain.encode(wav))).logits
    p = logits.double().softmax(1)
    for place, name in enumerate(("A", "B", "absent")):
        expected = p[torch.arange(2), CLASSES[:, place]]
        torch.testing.assert_close(found[f"p_in {name}"], expected, atol=1e-6, rtol=0)
        expected = (logits.argmax(1) == CLASSES[:, place]).double()
        assert torch.equal(found[f"Target-In {name}"], expected)


class Towers(torch.nn.Module):
    """A CLAP whose sounds are four numbers of a small network, as its words are."""

    embedding_dim, scale = len(LABELS), torch.tensor(10.0)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tower = CompactClassifier(len(LABELS), channels=(3, 4))

    def audio(self, features):
        out = self.tower(features)
        return AudioEmbedding(torch.nn.functional.normalize(out.logits), out.hidden)

    def text(self, sentences):
        return torch.eye(len(LABELS))[: len(sentences)]


def test_prompts_are_judged_like_classes(domain, sources):
    clap = ClapClassifier(Towers(), LABELS)
    wav = sources[0] + sources[1]
    found = score_mixtures(Knowing(domain, clap), wav, CLASSES, sources, domain, clap)
    assert found[BOTH.name].tolist() == [100, 100]
    assert found["MM absent"].tolist() == [0, 0]
    ones = score_mixtures(
        AllOnesExplainer(domain, clap), wav, CLASSES, sources, domain, clap
    )
    with torch.no_grad():
        embedding = clap.audio(domain.features(domain.encode(wav))).embedding
    expected = (10 * embedding).double().softmax(1)[torch.arange(2), CLASSES[:, 2]]
    torch.testing.assert_close(ones["p_in absent"], expected, atol=1e-6, rtol=0)


def entry(background, category="low"):
    return {"category": category, "background": background}


def pieces(*wavs):
    return {"pieces": [{"wav": wav, "start": 0, "length": N} for wav in wavs]}


def opened_with(background):
    """A condition of one mixture, whose background is a clip of a class or not."""
    entries = {"l+0": entry(background)}
    truth = GroundTruth(
        classes=source_classes(entries, {"{data_root}/h.wav": "high"}, LABELS)
    )
    return SimpleNamespace(clips=SimpleNamespace(ids=list(entries)), truth=truth)


def test_the_classes_of_both_sources():
    assert classes_of(opened_with(pieces("{data_root}/h.wav"))) == {"l+0": (0, 1)}


@pytest.mark.parametrize(
    "background",
    [None, {"generated": "white", "seed": 1}, pieces("{noise_root}/n.wav")],
)
def test_a_condition_without_classes_of_backgrounds_is_refused(background):
    with pytest.raises(InputError, match="background.*mixtures.yaml"):
        classes_of(opened_with(background))


def test_a_mixture_whose_background_has_no_class_is_named():
    opened = opened_with(pieces("{data_root}/h.wav"))
    unknown = GroundTruth(classes=lambda ids: (torch.tensor([0]), torch.tensor([-1])))
    opened.truth = unknown
    with pytest.raises(InputError, match="mixture l.0"):
        classes_of(opened)


def test_the_absent_class_is_drawn_of_the_others_for_each_mixture():
    drawn = [absent_class(f"clip{i}", (1, 3), 6, seed=1) for i in range(100)]
    assert set(drawn) == {0, 2, 4, 5}
    assert drawn == [absent_class(f"clip{i}", (3, 1), 6, seed=1) for i in range(100)]
    with pytest.raises(InputError, match="all 2 classes"):
        absent_class("clip", (0, 1), 2, seed=1)


@pytest.fixture
def experiment(domain, classifier, sources, tmp_path):
    """`experiment(explainers)`: the rows of two mixtures, in a file."""
    names = ["l+0", "h+0"]
    wav = sources[0] + sources[1]

    def stems(ids):
        order = [names.index(name) for name in ids]
        return sources[0][order], sources[1][order]

    def experiment(explainers):
        return two_source_rows(
            Block(domain, classifier, explainers),
            classifier,
            SimpleNamespace(truth=GroundTruth(stems)),
            [ClipBatch(names[:1], wav[:1]), ClipBatch(names[1:], wav[1:])],
            {"l+0": (0, 1), "h+0": (1, 0)},
            LABELS,
            1234,
            "cpu",
            RowStore(tmp_path / "rows.csv", dict.fromkeys(explainers, "0")),
            tqdm(disable=True),
        )

    return experiment


def test_a_condition_without_stems_is_refused():
    opened, block = SimpleNamespace(truth=GroundTruth()), SimpleNamespace()
    with pytest.raises(InputError, match="stems"):
        two_source_rows(block, None, opened, [], {}, LABELS, 1, "cpu", None, None)


def test_rows_name_the_questions_and_are_not_computed_twice(
    experiment, domain, classifier
):
    knowing, deaf = (kind(domain, classifier) for kind in (Knowing, Deaf))
    rows = experiment({"knowing": knowing, "deaf": deaf})
    assert rows["method"].tolist() == ["knowing", "knowing", "deaf", "deaf"]
    assert rows["label"].tolist() == ["low", "high"] * 2
    assert rows["other"].tolist() == ["high", "low"] * 2
    assert set(rows["absent"]) <= {"none", "more"}
    assert rows[BOTH.name].tolist() == [100, 100, 0, 0]
    assert knowing.calls == 2 * 3
    again = experiment({"knowing": knowing, "deaf": deaf})
    assert knowing.calls == 2 * 3
    pd.testing.assert_frame_equal(again, rows, check_dtype=False)


def test_the_page_has_all_and_the_recognised_mixtures(
    experiment, domain, classifier, tmp_path
):
    explainers = {"knowing": Knowing(domain, classifier), "deaf": Deaf(domain, None)}
    explainers["deaf"].ones.classifier = classifier
    rows = experiment(explainers)
    rows.insert(0, "condition", "two")
    rows.insert(1, "block", "STFT")
    rows["top_two"] = [True, False, True, False]
    write_two_sources(tmp_path / "out", rows, ["command: `x`"], 1, "knowing")
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary["n"].tolist() == [2, 2, 1, 1]
    assert summary["method"].tolist() == ["knowing", "deaf"] * 2
    own = rows[rows["method"] == "knowing"]["nearer A"]
    np.testing.assert_allclose(summary["nearer A"][0], own.mean())
    # Silent for an absent class; a method that ignores the class keeps its size.
    sizes = rows[rows["method"] == "knowing"][["MM A", "MM B"]].to_numpy()
    expected = [sizes.mean(), 0, sizes[0].mean(), 0]
    assert summary[LESS_ABSENT.name].tolist() == pytest.approx(expected, abs=1e-6)
    page = (tmp_path / "out" / "summary.md").read_text()
    assert "all mixtures (2)" in page and "likeliest (1)" in page
    assert page.count("both intervals above 0: knowing.") == 2
    compared = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert set(compared["method"]) == {"deaf"}
    rows["top_two"] = False
    write_two_sources(tmp_path / "none", rows, [], 1, "knowing")
    assert "likeliest (0)" in (tmp_path / "none" / "summary.md").read_text()
