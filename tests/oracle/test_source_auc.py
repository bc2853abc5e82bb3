"""The area under the ROC curve of a mask against scipy's Mann-Whitney statistic."""

import pytest
import torch
from scipy.stats import mannwhitneyu

from speechbrain_lmac.metrics.checks.sources import source_auc


@pytest.mark.parametrize("levels", [3, 1000])
def test_the_auc_of_repeated_cells_is_scipys(levels):
    draw = torch.Generator().manual_seed(0)
    mask, one, other = (
        torch.randint(n, (3, 7, 9), generator=draw) for n in (levels, 5, 4)
    )
    mask = mask / levels  # with ties
    found = source_auc(mask, one.float(), other.float())
    for values, a, o, auc in zip(mask, one, other, found, strict=True):
        weight, louder = (a + o).flatten(), (a > o).flatten()
        samples = values.flatten().repeat_interleave(weight)
        positive = louder.repeat_interleave(weight)
        first, second = samples[positive], samples[~positive]
        wanted = mannwhitneyu(first, second).statistic / (len(first) * len(second))
        assert auc.item() == pytest.approx(wanted, abs=1e-12)
