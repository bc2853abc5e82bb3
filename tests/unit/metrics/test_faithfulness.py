"""AI, AD, AG, FF, Fid-In and Target-In against numbers worked out on paper."""

import math

import pytest
import torch

from speechbrain_lmac.metrics.faithfulness import (
    AI_TOLERANCE,
    average_drop,
    average_drop_double_softmax,
    average_gain,
    average_increase,
    faithfulness,
    input_fidelity,
    saturated,
    target_fidelity,
    target_probability,
)

SCORES_OF_TARGET = [
    average_increase,
    average_drop,
    average_drop_double_softmax,
    average_gain,
    faithfulness,
]


def logits_of(p):
    """Two-class logits (1, 2) with probability p of class 0."""
    return torch.tensor([[p, 1 - p]], dtype=torch.float64).log() + 3.0


def score(function, p, p_after):
    return function(logits_of(p), logits_of(p_after), torch.tensor([0])).item()


# p, p_after: AI, AD, AG, FF (of p_after as p_out)
ON_PAPER = [
    (0.8, 0.2, 0.0, 75.0, 0.0, 0.6),
    (0.2, 0.8, 100.0, 0.0, 75.0, -0.6),
    (0.5, 0.6, 100.0, 0.0, 20.0, -0.1),
    (0.9, 0.99, 100.0, 0.0, 90.0, -0.09),
    (0.6, 0.6, 0.0, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("p", "p_after", "ai", "ad", "ag", "ff"), ON_PAPER)
def test_known_answers(p, p_after, ai, ad, ag, ff):
    assert score(average_increase, p, p_after) == ai
    assert score(average_drop, p, p_after) == pytest.approx(ad, abs=1e-10)
    assert score(average_gain, p, p_after) == pytest.approx(ag, abs=1e-10)
    assert score(faithfulness, p, p_after) == pytest.approx(ff, abs=1e-10)


def test_the_target_is_scored_and_not_the_predicted_class():
    logits = torch.cat([logits_of(0.8), logits_of(0.8)])
    logits_in = torch.cat([logits_of(0.2), logits_of(0.2)])
    drop = average_drop(logits, logits_in, torch.tensor([0, 1]))
    torch.testing.assert_close(drop, torch.tensor([75.0, 0.0], dtype=torch.float64))


def test_increase_needs_more_than_the_tolerance():
    assert score(average_increase, 0.5, 0.5 + 0.9 * AI_TOLERANCE) == 0.0
    assert score(average_increase, 0.5, 0.5 + 1.1 * AI_TOLERANCE) == 100.0


def test_a_change_next_to_certainty_is_not_rounded_away():
    """p = 1 - e^-40 and 1 - e^-39 are both 1.0 in float64."""
    logits, logits_out = torch.tensor([[40.0, 0.0]]), torch.tensor([[39.0, 0.0]])
    change = faithfulness(logits, logits_out, torch.tensor([0])).item()
    assert change == pytest.approx(math.exp(-39) - math.exp(-40), rel=1e-9, abs=0)


def test_double_softmax_is_the_softmax_of_probabilities():
    # softmax((0.8, 0.2)) = 1 / (1 + e^-0.6), softmax((0.2, 0.8)) = 1 / (1 + e^0.6)
    full, part = 1 / (1 + math.exp(-0.6)), 1 / (1 + math.exp(0.6))
    expected = 100 * (full - part) / full
    assert score(average_drop_double_softmax, 0.8, 0.2) == pytest.approx(expected)


@pytest.mark.parametrize("n_classes", [2, 50])
def test_double_softmax_cannot_exceed_63_2(n_classes):
    sure = torch.zeros(1, n_classes)
    sure[0, 0] = 200.0
    target = torch.tensor([0])
    drop = average_drop_double_softmax(sure, sure.roll(1, 1), target)
    assert drop.item() == pytest.approx(100 * (1 - 1 / math.e), abs=1e-9)
    assert average_drop(sure, sure.roll(1, 1), target).item() == pytest.approx(100)


def test_gain_where_p_is_one_in_float32():
    """The others share e^-18 = 1.5e-8, which `1 - p` in float32 rounds to 0."""
    logits = torch.tensor([[18.0, 0.0]])
    assert logits.softmax(1)[0, 0] == 1.0
    target = torch.tensor([0])
    half_of_the_rest = torch.tensor([[18.0 + math.log(2), 0.0]], dtype=torch.float64)
    gain = average_gain(logits, half_of_the_rest, target)
    assert gain.item() == pytest.approx(50, abs=1e-5)
    assert not saturated(logits, target)


def test_a_saturated_item_gains_nothing():
    # e^-23 = 1.03e-10 and e^-23.1 = 0.93e-10, to both sides of the limit
    logits = torch.tensor([[23.0, 0.0], [23.1, 0.0], [1000.0, 0.0]])
    target = torch.zeros(3, dtype=torch.long)
    assert saturated(logits, target).tolist() == [False, True, True]
    gain = average_gain(logits, logits + torch.tensor([9.0, 0.0]), target)
    assert gain[0] > 99
    assert gain[1:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3, 1e5])
def test_ranges_hold_for_any_finite_logits(scale):
    generator = torch.Generator().manual_seed(0)
    logits, logits_in = scale * torch.randn(2, 500, 7, generator=generator)
    target = torch.randint(7, (500,), generator=generator)
    for function in (average_drop, average_gain, average_drop_double_softmax):
        scores = function(logits, logits_in, target)
        assert scores.dtype == torch.float64
        assert ((scores >= 0) & (scores <= 100)).all(), function
    # scaled up, some target has p = 0 in float64: 0 / 0 in the formula
    if scale > 1e4:
        assert (target_probability(logits, target) == 0).any()


@pytest.mark.parametrize("function", SCORES_OF_TARGET)
def test_equal_logits_score_exactly_0(function):
    generator = torch.Generator().manual_seed(0)
    logits = 20 * torch.randn(100, 5, generator=generator)
    scores = function(logits, logits.clone(), logits.argmax(1))
    assert scores.tolist() == [0.0] * 100


@pytest.mark.parametrize("function", SCORES_OF_TARGET)
@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("sure", [1.0, 99.0])
def test_broken_logits_have_no_score(function, broken, column, sure):
    whole = torch.tensor([[sure, 0.0]])
    nothing = whole.clone()
    nothing[0, column] = broken
    target = torch.tensor([0])
    assert function(whole, nothing, target).isnan().all()
    assert function(nothing, whole, target).isnan().all()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_broken_logits_have_no_fidelity(broken):
    whole = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    half = torch.tensor([[1.0, 0.0], [broken, 0.0]])
    for fidelity in (input_fidelity(whole, half), input_fidelity(half, whole)):
        assert fidelity[0] == 1.0
        assert fidelity[1].isnan()


def test_a_class_that_is_excluded_is_no_error():
    logits = torch.tensor([[0.0, 0.0, -math.inf]])
    assert target_probability(logits, torch.tensor([0])).item() == pytest.approx(0.5)
    assert input_fidelity(logits, logits).item() == 1.0


def test_shapes_are_checked():
    logits, target = torch.zeros(4, 50), torch.zeros(4, dtype=torch.long)
    message = r"logits_in.*\(4, 50\), got \(3, 50\)"
    for function in (average_increase, average_drop, average_gain):
        with pytest.raises(ValueError, match=message):
            function(logits, logits[:3], target)
    with pytest.raises(ValueError, match=message):
        input_fidelity(logits, logits[:3])
    with pytest.raises(ValueError, match=r"target.*\(4,\).*got \(4, 1\)"):
        average_drop(logits, logits, target.unsqueeze(1))


def test_target_fidelity_is_of_the_explained_class():
    logits_in = torch.tensor([[3.0, 1.0, 2.0]] * 3)
    found = target_fidelity(logits_in, torch.tensor([0, 1, 2]))
    assert found.tolist() == [1.0, 0.0, 0.0]
    found = target_fidelity(torch.tensor([[math.nan, 1.0]]), torch.tensor([1]))
    assert found.isnan().all()
