"""SI-SIR and SI-SAR against the definition, by NumPy's least squares."""

import numpy as np
import pytest
import torch

from speechbrain_lmac.metrics.bss_eval import si_sir_sar
from speechbrain_lmac.metrics.separation import si_sdr


def by_definition(estimate, foreground, background):
    """Ratios of one clip, (N,) each, by projection on the span of the stems."""
    gain = np.linalg.lstsq(foreground[:, None], estimate, rcond=None)[0]
    target = foreground * gain[0]
    stems = np.stack([foreground, background], 1)
    gains = np.linalg.lstsq(stems, estimate, rcond=None)[0]
    interference = stems @ gains - target
    artefact = estimate - stems @ gains
    wanted = (target**2).sum()
    return [
        10 * np.log10(wanted / (error**2).sum()) for error in (interference, artefact)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_ratios_are_those_of_least_squares(seed):
    draw = torch.Generator().manual_seed(seed)
    s, b, n = torch.randn(3, 4, 3001, generator=draw, dtype=torch.float64)
    b = b + 0.4 * s  # stems are not orthogonal
    estimate = torch.tensor([[1.0], [0.2], [-3.0], [0.5]]) * s + 0.3 * b + 0.1 * n
    ours = torch.stack(si_sir_sar(estimate, s, b), 1)
    clips = [x.numpy() for x in (estimate, s, b)]
    theirs = [by_definition(*clip) for clip in zip(*clips, strict=True)]
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-8)


def test_interference_and_artefact_make_up_the_distortion():
    draw = torch.Generator().manual_seed(4)
    s, b, n = torch.randn(3, 5, 2000, generator=draw)
    estimate = s + 0.5 * b + 0.2 * n
    sir, sar = si_sir_sar(estimate, s, b)
    error = 10 ** (-sir / 10) + 10 ** (-sar / 10)
    torch.testing.assert_close(-10 * error.log10(), si_sdr(estimate, s))


def test_a_mixture_of_the_stems_has_no_artefact_and_a_stem_no_interference():
    draw = torch.Generator().manual_seed(5)
    s, b, n = torch.randn(3, 1, 2000, generator=draw)
    assert si_sir_sar(0.3 * s + 2 * b, s, b)[1] > 100
    alone = n - sum((n * x).sum() / x.square().sum() * x for x in (s, b))
    sir, sar = si_sir_sar(s + 0.1 * alone, s, b)
    assert sir > 20 and 15 < sar < 25


def test_where_a_stem_is_silent():
    draw = torch.Generator().manual_seed(6)
    s, n = torch.randn(2, 1, 2000, generator=draw)
    nothing = torch.zeros_like(s)
    sir, sar = si_sir_sar(s + 0.1 * n, s, nothing)
    assert sir.isnan() and sar.item() == pytest.approx(si_sdr(s + 0.1 * n, s).item())
    assert si_sir_sar(s + n, s, 2 * s)[0].isnan()
    for clip in ((nothing, s, n), (n, nothing, s)):
        assert all(ratio.isnan().all() for ratio in si_sir_sar(*clip))
