"""SPS and COMP against Quantus 0.6, which the papers' code calls."""

import numpy as np
import pytest
import torch

from speechbrain_lmac.metrics.sparsity import complexity, sparseness

quantus = pytest.importorskip(
    "quantus",
    reason="SPS and COMP were NOT compared with Quantus: pip install quantus==0.6.*",
)

TOLERANCE = 1e-5


def quantus_scores(metric, masks):
    """One score per mask. (B, T, F) is passed as attributions (B, 1, T, F)."""
    attributions = masks.unsqueeze(1).numpy()
    scores = metric(
        model=None,
        x_batch=np.zeros_like(attributions),
        y_batch=np.zeros(len(masks), dtype=int),
        a_batch=attributions.copy(),  # it adds to its argument
        channel_first=True,
    )
    return torch.tensor(np.asarray(scores, dtype=np.float64))


def masks_of(kind):
    draws = torch.rand(4, 43, 51, generator=torch.Generator().manual_seed(0)).double()
    return {
        "random": draws,
        "sparse": draws * (draws > 0.9),
        "peaked": draws**8,
        "signed": 2 * draws - 1,
        # Quantus refuses a batch of nothing but these.
        "constant": torch.stack([draws[0], 0.3 + 0 * draws[0], 1 + 0 * draws[0]]),
    }[kind]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["random", "sparse", "peaked", "signed", "constant"])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(sparseness, "Sparseness"), (complexity, "Complexity")]
)
def test_scores_equal_quantus(ours, theirs, kind):
    metric = getattr(quantus, theirs)(
        abs=True, normalise=True, disable_warnings=True, display_progressbar=False
    )
    masks = masks_of(kind)
    torch.testing.assert_close(
        ours(masks), quantus_scores(metric, masks), rtol=0, atol=TOLERANCE
    )


@pytest.mark.filterwarnings("ignore")
def test_where_quantus_parts_from_the_gini_index():
    """The docstring of `sparseness` says how much its 1e-7 costs; one cell of N."""
    metric = quantus.Sparseness(
        abs=True, normalise=True, disable_warnings=True, display_progressbar=False
    )
    mask = torch.zeros(1, 431, 513, dtype=torch.float64)
    mask[0, 5, 5] = 0.4
    assert quantus_scores(metric, mask).item() == pytest.approx(0.978, abs=5e-4)
    assert sparseness(mask).item() == pytest.approx(1.000, abs=5e-4)
