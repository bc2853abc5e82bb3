"""The rows of a table by their names."""

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.domains import LearnedDomain, MelDomain, STFTDomain
from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.explainers import (
    AllOnesExplainer,
    AttributionExplainer,
    RandomExplainer,
    Remembered,
    Saliency,
    by_name,
)
from speechbrain_lmac.explainers.by_name import METHODS, open_explainers
from speechbrain_lmac.explainers.to_mask import positive
from speechbrain_lmac.reporting.paper_order import is_control
from speechbrain_lmac.utils.errors import InputError

RATE = 8000


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return CompactClassifier(n_classes=3, channels=[4, 8]).eval()


class Counting(AllOnesExplainer):
    """All ones, which counts how often it explains."""

    calls = 0

    def explain(self, wav, target=None, lens=None):
        """The same as the class above."""
        self.calls += 1
        return super().explain(wav, target, lens)


def settings(explainer):
    """Those of a method but for its rule for masks."""
    rule = explainer.method.to_mask
    return {**vars(explainer.method), "to_mask": (rule.func.__name__, rule.keywords)}


def test_the_papers_methods_have_our_settings(classifier):
    rows = {name: {} for name in METHODS}
    rows["SHAP"] = {"n_samples": 10, "to_mask": {"quantile": 0.9}}
    explainers, _ = open_explainers(rows, classifier, STFTDomain(RATE))
    assert list(explainers) == list(METHODS)
    drawn = {"samples_per_batch": 10, "seed": 1234}
    by_patches = {"patch": (32, 16), "masks_per_batch": 16, "seed": 1234}
    absolute, positive_ = (
        {"to_mask": (name, {"quantile": 1.0})} for name in ("absolute", "positive")
    )
    assert {name: settings(e) for name, e in explainers.items()} == {
        "Saliency": absolute,
        "SmoothGrad": {**drawn, "n_samples": 50, "noise": 0.15, **absolute},
        "IG": {"n_steps": 50, "internal_batch_size": 10, **absolute},
        "GradCAM": positive_,
        "GradCAM++": positive_,
        "Guided GradCAM": absolute,
        "Guided Backprop": absolute,
        "SHAP": {
            **drawn,
            "n_samples": 10,
            "to_mask": ("absolute", {"quantile": 0.9}),
        },
        "LayerCAM": positive_,
        "Occlusion": {"patch": (32, 16), "masks_per_batch": 16, **positive_},
        "LIME": {**by_patches, "n_samples": 200, **positive_},
        "RISE": {**by_patches, "n_samples": 500, "share": 0.5, **positive_},
    }


def test_a_kind_makes_a_second_row_of_a_method_or_control(classifier):
    domain = STFTDomain(RATE)
    rows = {"mine": AllOnesExplainer(domain, classifier), "GradCAM": {}}
    rows["GradCAM, block 1"] = {"kind": "GradCAM", "layer": 1}
    rows["blocks"] = {"kind": "random blocks", "block": [2, 3]}
    explainers, _ = open_explainers(rows, classifier, domain)
    layers = [explainers[n].method.layer for n in ("GradCAM", "GradCAM, block 1")]
    assert layers == [None, 1]
    assert explainers["blocks"].block == (2, 3)
    assert explainers["blocks"].reference is explainers["mine"]
    with pytest.raises(InputError, match="'a row'.*'GradCAM'"):
        open_explainers({"a row": {"kind": "gradcam"}}, classifier, domain)


def test_every_control_is_opened_by_its_name(classifier):
    domain = STFTDomain(RATE)
    mine = Counting(domain, classifier)
    rows = {"mine": mine} | {name: {} for name in by_name.CONTROLS}
    clips = torch.randn(2, 1000, generator=torch.Generator().manual_seed(3))
    explainers, _ = open_explainers(rows, classifier, domain, lambda: clips, seed=7)
    wav = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    for name in by_name.OPTIMISED:
        explainers[name].steps = 1
    for name in ["mine", *by_name.OF_REFERENCE]:
        assert explainers[name].explain(wav).mask.shape[:2] == (2, 1000 // 93 + 1)
    # Once for these clips and once for each pool, after which they are explained anew.
    assert mine.calls == 5
    seeds = {name: e.seed for name, e in explainers.items() if hasattr(e, "seed")}
    assert seeds == dict.fromkeys(by_name.SEEDED, 7)
    assert explainers["other clip, same class"].same_class
    assert not explainers["other clip, any class"].same_class
    assert [explainers[f"ideal{n} mask"].exponent for n in ("", " ratio")] == [1, 2]
    with pytest.raises(InputError, match="background"):
        open_explainers(rows, classifier, domain)
    assert all(map(is_control, by_name.CONTROLS))


def test_controls_ask_their_reference_once(classifier):
    domain = STFTDomain(RATE)
    first, mine = AllOnesExplainer(domain, classifier), Counting(domain, classifier)
    rows = {"first": first, "mine": mine, "random cells": {}, "all ones": {}}
    rows["random blocks"] = {"reference": "mine", "block": [2, 3]}
    explainers, _ = open_explainers(rows, classifier, domain, seed=7)
    assert isinstance(explainers["mine"], Remembered)
    cells, blocks = explainers["random cells"], explainers["random blocks"]
    assert cells.reference is explainers["first"] and cells.reference.explainer is first
    assert blocks.reference is explainers["mine"]
    assert (cells.block, blocks.block, blocks.seed) == ((1, 1), (2, 3), 7)
    wav = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    for name in ("mine", "random blocks"):
        explainers[name].explain(wav)
    assert mine.calls == 1


@pytest.mark.parametrize(
    "domain, block",
    [
        (STFTDomain(RATE), (16, 32)),
        (MelDomain(RATE), (16, 8)),
        (LearnedDomain(STFTDomain(RATE), Codec(RATE)), (186, 8)),
    ],
    ids=["STFT", "Mel", "TD"],
)
def test_random_blocks_have_the_size_of_their_domain(classifier, domain, block):
    rows = {"mine": AllOnesExplainer(domain, classifier), "random blocks": {}}
    explainers, found = open_explainers(rows, classifier)
    assert explainers["random blocks"].block == block
    assert found is domain  # of the first that has one


def test_only_chosen_rows_are_opened(classifier, tmp_path):
    gone = str(tmp_path / "no training")
    domain = STFTDomain(RATE)
    mine = AllOnesExplainer(domain, classifier)
    rows = {"L2I": gone, "Saliency": {}, "mine": mine, "all ones": {}}
    rows |= {"random cells": {"reference": "mine"}, "left out": None}
    explainers, _ = open_explainers(rows, classifier, only=["m*", "random*"])
    assert list(explainers) == ["mine", "random cells"]
    assert open_explainers(rows, classifier, only=["nothing"]) == ({}, None)
    with pytest.raises(InputError, match="interpreter.*no training"):
        open_explainers(rows, classifier)


def test_objects_stand_for_themselves(classifier):
    domain = STFTDomain(RATE)
    rows = {"mine": AllOnesExplainer(domain, classifier), "other": Saliency(positive)}
    explainers, _ = open_explainers(rows, classifier, domain)
    assert explainers["mine"] is rows["mine"]
    assert isinstance(explainers["other"], AttributionExplainer)
    assert explainers["other"].method is rows["other"]
    random = RandomExplainer(rows["mine"], seed=3)
    rows["random cells"] = random  # an object under one of our names
    assert open_explainers(rows, classifier, domain)[0]["random cells"] is random


@pytest.mark.parametrize(
    "rows, message",
    [
        ({"Salience": {}}, "'Salience'.*Saliency, SmoothGrad"),
        ({"smothgrad": {}}, "'smothgrad'.* 'SmoothGrad'"),
        ({"mine": 3}, "'mine': 3.*Saliency"),
        ({"IG": {"steps": 3}}, "IntegratedGradients.*'steps'"),
        ({"random cells": {}}, "'random cells'.*got None"),
        (
            {"random cells": {"reference": "IG"}, "IG": {}},
            "'random cells'.*got 'IG'",
        ),
    ],
)
def test_invalid_rows_are_refused(classifier, rows, message):
    with pytest.raises(InputError, match=message):
        open_explainers(rows, classifier, STFTDomain(RATE))


def test_methods_alone_need_a_domain(classifier):
    with pytest.raises(InputError, match="`domain`"):
        open_explainers({"Saliency": {}}, classifier)
