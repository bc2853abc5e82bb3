"""Lists of metrics: names, functions of a user, errors."""

from functools import partial

import pytest
import torch

from speechbrain_lmac.metrics import (
    AI,
    MM,
    SPS_HEARD,
    EvidenceMetric,
    identity_of,
    metrics_by_name,
)
from speechbrain_lmac.metrics.separation import SI_SDR
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import fingerprint_of


def keep_share(evidence, level=0.5):
    """Share of the cells that the mask keeps.

    More than `level` of them.
    """
    return (evidence.mask > level).double().mean((1, 2))


def evidence_of(*values):
    """Clips whose masks have one value each."""
    mask = torch.tensor(values)[:, None, None].expand(-1, 2, 3)
    target = torch.zeros(len(values), dtype=torch.int64)
    return Evidence(mask, target, *torch.zeros(3, len(values), 2))


@pytest.mark.parametrize("function", [keep_share, partial(keep_share, level=0.5)])
def test_a_function_is_a_metric_of_its_name_without_a_direction(function):
    first, own = metrics_by_name(["MM", function])
    assert first is MM
    assert (own.name, own.higher_is_better, own.unit) == ("keep_share", None, "")
    assert own.description == "Share of the cells that the mask keeps"
    assert own(evidence_of(0.25, 0.75)).tolist() == [0.0, 1.0]


def test_a_metric_needs_a_name_and_a_function_only():
    own = EvidenceMetric("kept", function=keep_share)
    assert own.description == "Share of the cells that the mask keeps"
    full = EvidenceMetric("kept", False, "%", "kept cells", function=keep_share)
    assert metrics_by_name([own]) == (own,) and full.description == "kept cells"


def test_an_object_with_name_and_direction_is_one():
    class Kept:
        name, higher_is_better = "kept", False

        def __call__(self, evidence):
            return evidence.mask.mean()

    (own,) = metrics_by_name([Kept()])
    assert (own.name, own.higher_is_better) == ("kept", False)
    with pytest.raises(InputError, match=r"'kept'.*\(2,\).*got.*\(\)"):
        own(evidence_of(0.5, 0.5))


@pytest.mark.parametrize(
    "values, got",
    [
        (torch.tensor(0.5), r"got.* \(\)"),
        (torch.zeros(2, 3), r"got.* \(2, 3\)"),
        (torch.zeros(2, 1), r"got.* \(2, 1\)"),
        (torch.zeros(2, dtype=torch.complex64), "complex64"),
        (0.5, "got 0.5"),
        (None, "got None"),
    ],
)
def test_a_metric_must_return_one_number_per_clip(values, got):
    own = EvidenceMetric("mine", function=lambda evidence: values)
    with pytest.raises(InputError, match=rf"'mine'.* \(2,\).*{got}"):
        own(evidence_of(0.5, 0.5))


def test_a_truth_value_counts_as_1_or_0():
    own = EvidenceMetric("mine", function=lambda e: e.mask.amax((1, 2)) > 0.5)
    values = own(evidence_of(0.25, 0.75))
    assert values.tolist() == [0.0, 1.0] and values.dtype == torch.float64


def test_names_stand_between_commas_too():
    assert [m.name for m in metrics_by_name("AI, SPS-heard")] == ["AI", "SPS-heard"]


@pytest.mark.parametrize(
    "names, message",
    [
        (["AI", "sps"], "metric sps; known: AI, .*'SPS' for 'sps'"),
        (["foreground share"], "'foreground share' .* automatically .*stems"),
        (["AI area"], "'AI area' .* automatically .*`curves`"),
        (["my_metrics.keep_share"], "!name:my_metrics.keep_share"),
        (["SSIM"], "'SSIM' .* automatically .*`sanity`"),
        ([["AI"]], "metric .'AI'.; known"),
        ([SI_SDR], "'SI-SDR' .*function"),
        ([EvidenceMetric], "EvidenceMetric .*!new:"),
        ([keep_share, partial(keep_share, level=0.1)], "two .*'keep_share'"),
        ([EvidenceMetric("AI", function=keep_share), AI], "two .*'AI'"),
        ([EvidenceMetric("label", function=keep_share)], "'label': .*column"),
        ({"AI": None}, "list.*got {'AI': None}"),
    ],
)
def test_lists_that_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        metrics_by_name(names)


def test_finished_scores_depend_on_the_settings_of_an_own_metric():
    one, other = (
        EvidenceMetric("kept", function=partial(keep_share, level=level))
        for level in (0.1, 0.2)
    )
    assert fingerprint_of(identity_of(one)) != fingerprint_of(identity_of(other))
    assert identity_of(AI) == "AI"  # as in tables of earlier versions


def test_a_score_of_the_masked_audio_needs_it():
    with pytest.raises(ValueError, match="masked_audio"):
        SPS_HEARD(evidence_of(0.5))
