"""Spearman against pandas, distances against scipy, SSIM against scikit-image."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import braycurtis

from speechbrain_lmac.metrics.similarity import jaccard_distance, spearman, ssim


def maps(kind, seed):
    """Four maps (4, 23, 31) in 0..1."""
    draws = torch.rand(4, 23, 31, generator=torch.Generator().manual_seed(seed))
    return {
        "uniform": draws,
        "sparse": draws * (draws > 0.8),
        "steps": (draws * 4).round() / 4,  # nearly all cells are ties
        "binary": (draws > 0.5).float(),
        "double": draws.double(),
    }[kind]


KINDS = ["uniform", "sparse", "steps", "binary", "double"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("related", [False, True])
def test_spearman_is_that_of_pandas(kind, related):
    first, second = maps(kind, 0), maps(kind, 1)
    second = (first + second) / 2 if related else second
    wanted = [
        pd.DataFrame({"a": a.flatten(), "b": b.flatten()})
        .corr("spearman")
        .loc["a", "b"]
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(spearman(first, second), wanted, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("related", [False, True])
def test_ssim_is_scikit_images(kind, related):
    metrics = pytest.importorskip(
        "skimage.metrics", reason="SSIM was NOT compared with scikit-image"
    )
    first, second = maps(kind, 0), maps(kind, 1)
    second = (first + second) / 2 if related else second
    wanted = [
        metrics.structural_similarity(
            a.double().numpy(),
            b.double().numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(ssim(first, second), wanted, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_distance_is_that_of_scipys_bray_and_curtis(kind):
    # Theirs is sum |a - b| / sum (a + b) = d; ours is 2 d / (1 + d).
    first, second = maps(kind, 0), maps(kind, 1)
    theirs = [
        braycurtis(a.double().flatten(), b.double().flatten())
        for a, b in zip(first, second, strict=True)
    ]
    wanted = [2 * d / (1 + d) for d in theirs]
    assert jaccard_distance(first, second).tolist() == pytest.approx(wanted, abs=1e-6)
