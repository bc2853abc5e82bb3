"""SI-SDR against SpeechBrain's loss, which removes the mean first."""

import pytest
import torch
from speechbrain.nnet.losses import cal_si_snr

from speechbrain_lmac.metrics.separation import si_sdr


@pytest.mark.parametrize("snr_db", [-20, 0, 35])
def test_without_a_mean_si_sdr_is_speechbrains_si_snr(snr_db):
    draw = torch.Generator().manual_seed(1)
    reference, noise = torch.randn(2, 3, 4000, generator=draw, dtype=torch.float64)
    estimate = -2.5 * reference + noise * 10 ** (-snr_db / 20)
    reference, estimate = (
        wav - wav.mean(1, keepdim=True) for wav in (reference, estimate)
    )
    # theirs: (N, B, 1) in, its negative (1, B, 1) out
    theirs = -cal_si_snr(reference.T[..., None], estimate.T[..., None])[0, :, 0]
    torch.testing.assert_close(
        si_sdr(estimate, reference), theirs, rtol=1e-6, atol=1e-6
    )
