"""Faithfulness at equal sizes of the masks."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from speechbrain_lmac.metrics.curves import (
    AREAS,
    CURVES,
    SHARES,
    area_under_curve,
    curve_table,
    ranking,
    size_areas,
    size_curves,
    top_cells,
)
from speechbrain_lmac.types import ClassifierOutput, Encoded, Explanation
from speechbrain_lmac.utils.errors import InputError

FRAMES, BINS = 10, 20
CELLS = FRAMES * BINS
DECIDING = 77  # the cell that a classifier uses


class Domain:
    """Frames of a waveform of FRAMES * BINS samples."""

    features_from_waveform = False

    def encode(self, wav, lens=None):
        rep = wav.reshape(-1, FRAMES, BINS)
        return Encoded(rep, None, wav.shape[1])

    def apply_mask(self, encoded, mask):
        return encoded.with_rep(encoded.rep * mask)

    def features(self, encoded):
        return encoded.rep


class OneCell:
    """Class 0 against class 1: twice the one cell, less one. Counts its inputs."""

    def __init__(self):
        self.items = 0

    def __call__(self, features):
        self.items += len(features)
        cell = features.flatten(1)[:, DECIDING]
        return ClassifierOutput(torch.stack([2 * cell - 1, 0 * cell], 1), ())


class Dense(torch.nn.Module):
    """All cells count, each in its own way."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layer = torch.nn.Linear(CELLS, 4)

    def forward(self, features):
        return ClassifierOutput(self.layer(features.flatten(1)), ())


def clips(n):
    return torch.rand(n, CELLS, generator=torch.Generator().manual_seed(0))


def masks(n):
    return torch.rand(n, FRAMES, BINS, generator=torch.Generator().manual_seed(1))


def curves_of(mask, classifier, wav=None, target=None, **options):
    wav = torch.ones(len(mask), CELLS) if wav is None else wav
    target = torch.zeros(len(mask)).long() if target is None else target
    encoded = Domain().encode(wav)
    explanation = Explanation(mask, target, encoded, classifier(encoded.rep).logits)
    return size_curves(Domain(), classifier, explanation, **options)


def test_the_cell_that_decides_is_found_at_once_or_last():
    first, last = torch.full((2, 1, FRAMES, BINS), 0.5)
    first.view(-1)[DECIDING] = 1.0
    last.view(-1)[DECIDING] = 0.0
    sure, unsure = (1 / (1 + math.exp(-logit)) for logit in (1, -1))

    curves = curves_of(first, OneCell())
    assert curves["p_in"][0].tolist() == pytest.approx([sure] * 6)
    assert curves["p_out"][0].tolist() == pytest.approx([unsure] * 6)
    assert curves["AI"][0].tolist() == [0.0] * 6
    assert curves["AD"][0].tolist() == pytest.approx([0.0] * 6)
    assert curves["Fid-In"][0].tolist() == [1.0] * 6

    curves = curves_of(last, OneCell(), shares=[0.01, 0.5, 1.0])
    assert curves["p_in"][0].tolist() == pytest.approx([unsure, unsure, sure])
    assert curves["p_out"][0].tolist() == pytest.approx([sure, sure, unsure])
    drop = 100 * (sure - unsure) / sure
    assert curves["AD"][0].tolist() == pytest.approx([drop, drop, 0.0])
    assert curves["Fid-In"][0].tolist() == [0.0, 0.0, 1.0]


def test_an_increase_is_measured_against_the_whole():
    wav = torch.ones(1, CELLS)
    mask = torch.zeros(1, FRAMES, BINS)
    mask.view(-1)[:2] = 1.0  # two cells of 200 are the first percent

    class Against(OneCell):
        def __call__(self, features):
            rest = features.flatten(1)[:, 2:].sum(1) / 20
            return ClassifierOutput(torch.stack([-rest, 0 * rest], 1), ())

    curves = curves_of(mask, Against(), wav)
    assert curves["AI"][0].tolist() == [100.0] * 6
    assert curves["p_in"][0, 0].item() == 0.5


def test_a_monotone_transform_of_the_mask_changes_nothing():
    mask, wav = masks(3), clips(3)
    before = curves_of(mask, Dense(), wav)
    for transformed in (mask**5, 0.3 + 0.1 * mask, mask.sqrt()):
        after = curves_of(transformed, Dense(), wav)
        for name in before:
            assert torch.equal(before[name], after[name])


def test_scores_do_not_depend_on_the_batch():
    mask, wav, classifier = masks(3), clips(3), Dense()
    mask[1] = 1.0  # all ties
    mask[2] *= mask[2] > 0.9  # mostly ties
    together = curves_of(mask, classifier, wav)
    for i in range(3):
        alone = curves_of(mask[i : i + 1], classifier, wav[i : i + 1])
        for name in together:
            torch.testing.assert_close(
                alone[name][0], together[name][i], rtol=1e-5, atol=1e-6
            )


def test_masks_without_a_ranking_are_the_same_random_cells():
    wav = clips(1)
    ones, zeros = torch.ones(1, FRAMES, BINS), torch.zeros(1, FRAMES, BINS)
    curves = [curves_of(mask, Dense(), wav) for mask in (ones, zeros, 0.5 * ones)]
    for name in curves[0]:
        assert torch.equal(curves[0][name], curves[1][name])
        assert torch.equal(curves[0][name], curves[2][name])
    other_seed = curves_of(ones, Dense(), wav, seed=7)
    assert not torch.equal(other_seed["p_in"], curves[0]["p_in"])


def test_equal_cells_are_neither_in_order_nor_in_one_place():
    order = ranking(torch.ones(1, FRAMES, BINS))[0]
    assert sorted(order.tolist()) == list(range(CELLS))
    first = order[: CELLS // 2]
    # a half of the cells drawn from all: frames 0 to 9 and bins 0 to 19
    assert (first // BINS).unique().numel() == FRAMES
    assert (first % BINS).unique().numel() > BINS - 3
    other_shape = ranking(torch.ones(1, BINS, FRAMES))[0]
    assert not torch.equal(order, other_shape)


def test_a_ranking_is_numpys_where_no_cells_are_equal():
    mask = masks(2)
    expected = np.argsort(-mask.flatten(1).numpy(), axis=1)
    assert ranking(mask).tolist() == expected.tolist()


@pytest.mark.parametrize("share", [0.001, 0.003, 0.01, 0.12, 0.5, 1.0])
def test_exactly_the_share_is_kept_and_the_values_kept_are_the_largest(share):
    mask = masks(2)
    kept = top_cells(ranking(mask), share, (FRAMES, BINS))
    count = round(share * CELLS)
    assert kept.flatten(1).sum(1).tolist() == [count] * 2
    assert set(kept.unique().tolist()) <= {0.0, 1.0}
    for values, chosen in zip(mask, kept.bool(), strict=True):
        if 0 < count < CELLS:
            assert values[chosen].min() > values[~chosen].max()


def test_one_share_is_classified_at_a_time_without_a_gradient():
    classifier = OneCell()
    mask = masks(2).requires_grad_()
    curves = curves_of(mask, classifier)
    assert classifier.items == 2 + len(SHARES) * 2 * 2
    assert [score.name for score in CURVES] == list(curves)
    for values in curves.values():
        assert values.shape == (2, len(SHARES))
        assert values.dtype == torch.float64 and not values.requires_grad


def test_a_nan_in_a_mask_costs_its_own_clip_only():
    mask, wav = masks(2), clips(2)
    broken = mask.clone()
    broken[0, 3, 3] = math.nan
    before, after = (curves_of(m, Dense(), wav) for m in (mask, broken))
    for name in before:
        assert after[name][0].isnan().all()
        assert torch.equal(after[name][1], before[name][1])


def test_invalid_masks_are_refused():
    with pytest.raises(ValueError, match=r"mask.* 0..1, got -0.4"):
        curves_of(masks(1) - 0.5, Dense())
    with pytest.raises(ValueError, match=r"\(1, 10, 20\), got \(1, 10, 19\)"):
        curves_of(masks(1)[:, :, 1:], Dense())


@pytest.mark.parametrize(
    "shares",
    [[], [0.0], [1.1], [-0.1, 0.5], [0.5, 0.1], [0.1, 0.1], [math.nan], ["1"], [True]],
)
def test_invalid_shares_are_refused(shares):
    with pytest.raises(InputError, match=rf"shares.*got {re.escape(str(shares))}"):
        curves_of(masks(1), Dense(), shares=shares)


# --- Areas --------------------------------------------------------------------------


def test_the_area_of_a_constant_is_the_constant():
    values = torch.tensor([[0.3] * 6, [70.0] * 6], dtype=torch.float64)
    assert area_under_curve(values, SHARES).tolist() == pytest.approx([0.3, 70.0])


def test_the_area_is_scipys_over_the_logarithm():
    values = torch.rand(4, 6, generator=torch.Generator().manual_seed(2)).double()
    axis = np.log10(SHARES)
    expected = trapezoid(values.numpy(), axis, axis=1) / (axis[-1] - axis[0])
    np.testing.assert_allclose(area_under_curve(values, SHARES), expected, rtol=1e-12)


def test_areas_are_named_and_directed_as_their_curves():
    areas = size_areas(curves_of(masks(2), Dense(), clips(2)))
    assert list(areas) == [area.name for area in AREAS]
    directions = {area.name: area.higher_is_better for area in AREAS}
    assert directions["AD area"] is False and directions["p_out area"] is False
    assert directions["p_in area"] is True
    for area in areas.values():
        assert area.shape == (2,) and area.isfinite().all()


def test_an_area_needs_two_shares_and_a_column_for_each():
    with pytest.raises(ValueError, match=r"got \(1, 1\) for 1"):
        area_under_curve(torch.ones(1, 1), [0.1])
    with pytest.raises(ValueError, match=r"got \(1, 3\) for 2"):
        area_under_curve(torch.ones(1, 3), [0.1, 0.2])


def test_the_table_has_a_row_per_clip_and_share():
    curves = curves_of(masks(2), Dense(), clips(2), shares=[0.1, 0.5])
    table = curve_table(["a", "b"], curves, [0.1, 0.5])
    assert table.id.tolist() == ["a", "a", "b", "b"]
    assert table.share.tolist() == [0.1, 0.5, 0.1, 0.5]
    assert table["p_in"].tolist() == curves["p_in"].flatten().tolist()
    assert table.p_in[2] == curves["p_in"][1, 0]
