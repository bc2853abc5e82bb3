"""The blocks of a table as its YAML file names them."""

import types

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.domains import MelDomain, STFTDomain
from speechbrain_lmac.evaluation.blocks import chosen_methods, open_blocks
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.utils.errors import InputError

RATE = 8000


@pytest.fixture
def hparams():
    """Two blocks that share baselines, of which one has its own classifier."""
    first, second = (CompactClassifier(n_classes=3, channels=[4, 8]) for _ in range(2))
    stft, mel = STFTDomain(RATE), MelDomain(RATE)
    baselines = {"Saliency": {}, "IG": {"n_steps": 3}}
    return {
        "dataset": types.SimpleNamespace(sample_rate=RATE),
        "classifier": first,
        "background": len,
        "seed": 5,
        "blocks": {
            "STFT": {
                "baselines": baselines,
                "L-MAC": AllOnesExplainer(stft, first),
                "random cells": {},
            },
            "Mel": {
                "classifier": second,
                "first": AllOnesExplainer(mel, second),
                "baselines": baselines,
            },
        },
    }


def test_baselines_stand_where_they_are_named(hparams):
    blocks = open_blocks(hparams)
    stft, mel = blocks["STFT"], blocks["Mel"]
    assert list(stft.explainers) == ["Saliency", "IG", "L-MAC", "random cells"]
    assert list(mel.explainers) == ["first", "Saliency", "IG"]
    assert stft.classifier is hparams["classifier"]
    assert mel.classifier is mel.explainers["IG"].classifier
    assert mel.classifier is hparams["blocks"]["Mel"]["classifier"]
    assert mel.explainers["IG"].background is len
    assert mel.explainers["IG"].method.n_steps == 3
    assert stft.explainers["random cells"].seed == 5
    assert isinstance(mel.domain, MelDomain)


def test_opened_blocks_stay_as_they_are(hparams):
    blocks = open_blocks(hparams)
    again = open_blocks({**hparams, "blocks": blocks})
    assert again == blocks and all(isinstance(b, Block) for b in again.values())


def test_methods_choose_rows_and_leave_empty_blocks_out(hparams):
    blocks = open_blocks({**hparams, "methods": ["L-*", "random*"]})
    assert {name: list(block.explainers) for name, block in blocks.items()} == {
        "STFT": ["L-MAC", "random cells"]
    }
    with pytest.raises(InputError, match="'L-MAX'.*STFT, Mel"):
        open_blocks({**hparams, "methods": ["Saliency", "L-MAX"]})
    known = "'L-MAC'.*: Saliency; IG; L-MAC; random cells; first"
    for close in ("LMAC", "l-mac", "L-MA"):
        with pytest.raises(InputError, match=f"explainer '{close}' .*{known}"):
            open_blocks({**hparams, "methods": [close]})
    with pytest.raises(InputError, match="blocks"):
        open_blocks({**hparams, "methods": []})


@pytest.mark.parametrize(
    "methods, chosen",
    [
        ("L-MAC,all ones", ["L-MAC", "all ones"]),
        ("TD, alpha=0.75,all ones", ["TD, alpha=0.75", "all ones"]),
        ("TD, alpha=*,L-MAC", ["TD, alpha=*", "L-MAC"]),
        ("TD,alpha=0.75", ["TD, alpha=0.75"]),
        ("TD, L-MAC", ["TD", "L-MAC"]),
        ("*", ["*"]),
        # As YAML reads '[TD, alpha=0.75, L-MAC]'.
        (["TD", "alpha=0.75", "L-MAC"], ["TD, alpha=0.75", "L-MAC"]),
        (["TD, alpha=0.75"], ["TD, alpha=0.75"]),
        ([], []),
        (None, None),
    ],
)
def test_methods_stand_between_commas_though_names_have_some(methods, chosen):
    available = ["L-MAC", "TD", "TD, alpha=0.75", "all ones"]
    assert chosen_methods(methods, available) == chosen


def test_no_training_is_opened_for_a_misspelt_method(hparams):
    hparams["blocks"]["STFT"]["L-MAC"] = "results/nowhere"
    with pytest.raises(InputError, match="explainer 'Salience'.*'Saliency'"):
        open_blocks({**hparams, "methods": "L-MAC,Salience"})


def test_a_null_block_is_skipped(hparams):
    hparams["blocks"]["Mel"] = None
    assert list(open_blocks(hparams)) == ["STFT"]


def test_a_block_at_another_rate_is_refused(hparams):
    hparams["dataset"].sample_rate = 16000
    with pytest.raises(InputError, match="16000 Hz, domain 8000"):
        open_blocks(hparams)


def test_all_parts_of_a_block_move(hparams):
    block = open_blocks(hparams)["STFT"]
    block.explainers["L-MAC"].explainer.interpreter = moved = torch.nn.Linear(1, 1)
    block.to("meta")
    parts = [moved, block.classifier]
    assert {p.device.type for part in parts for p in part.parameters()} == {"meta"}
