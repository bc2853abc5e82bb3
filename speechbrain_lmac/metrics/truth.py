"""Scores against the truth, where a clip's foreground and background are known."""

from pathlib import Path

import torch

from speechbrain_lmac.dataio import fix_length, read_mono
from speechbrain_lmac.metrics import Score

FOREGROUND_SHARE = Score(
    name="foreground share",
    higher_is_better=True,
    unit="%",
    description="share of the explanation's energy that comes from the clip's "
    "foreground; the all-ones mask has the foreground's share of the clip",
)
SI_SDR = Score(
    name="SI-SDR",
    higher_is_better=True,
    unit="dB",
    description="scale-invariant signal-to-distortion ratio of the explanation "
    "against the foreground",
)
SI_SDR_IMPROVEMENT = Score(
    name="SI-SDRi",
    higher_is_better=True,
    unit="dB",
    description="SI-SDR of the explanation less that of the clip itself",
)


def foreground_share(gain, foreground, background):
    """Share of the explanation's energy that comes from the foreground, in percent.

    100 * sum |g S_f|^2 / (sum |g S_f|^2 + sum |g S_b|^2), with the gain g = |X_in| /
    |X| of the explanation applied to the complex spectrum of each stem.

    Arguments
    ---------
    gain : torch.Tensor
        Shape (B, T, F), not negative.
    foreground, background : torch.Tensor
        Magnitudes |S_f|, |S_b| of the stems, shape (B, T, F).

    Returns
    -------
    share : torch.Tensor
        Shape (B,), 0 to 100, float64; NaN where nothing is kept. Higher is better.

    Example
    -------
    >>> ones = torch.ones(1, 2, 2)
    >>> foreground_share(ones, 3 * ones, ones)
    tensor([90.], dtype=torch.float64)
    """
    kept = (gain.double() * foreground.double()).square().sum((1, 2))
    leaked = (gain.double() * background.double()).square().sum((1, 2))
    return 100 * kept / (kept + leaked)


def si_sdr(estimate, reference):
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019).

    With a = <estimate, reference> / |reference|^2:
    10 log10(|a reference|^2 / |estimate - a reference|^2). No mean is removed.

    Arguments
    ---------
    estimate, reference : torch.Tensor
        Waveforms, shape (B, N).

    Returns
    -------
    ratio : torch.Tensor
        Shape (B,), dB, float64; NaN where either is silent. Higher is better.

    Example
    -------
    >>> si_sdr(torch.tensor([[2.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.], dtype=torch.float64)
    """
    estimate, reference = estimate.double(), reference.double()
    scale = (estimate * reference).sum(1) / reference.square().sum(1)
    projected = scale[:, None] * reference
    distortion = (estimate - projected).square().sum(1)
    return 10 * torch.log10(projected.square().sum(1) / distortion)


class StemTruth:
    """Scores explanations of clips whose two stems lie in a folder.

    Arguments
    ---------
    folder : str
        With `foreground/ID.wav` and `background/ID.wav`, whose sum is the clip.
    sample_rate : int
        Of the model, Hz.
    """

    scores = (FOREGROUND_SHARE, SI_SDR, SI_SDR_IMPROVEMENT)

    def __init__(self, folder, sample_rate):
        self.folder = Path(folder)
        self.sample_rate = sample_rate

    def __call__(self, ids, domain, explanation):
        """Score a batch.

        Returns
        -------
        scores : dict
            Name of each of `StemTruth.scores` to its values, (B,).
        """
        encoded = explanation.encoded
        stems = {
            name: self.load(name, ids, encoded.length).to(encoded.rep.device)
            for name in ("foreground", "background")
        }
        part = domain.apply(encoded, explanation.mask)
        gain = domain.magnitude(part) / domain.magnitude(encoded).clamp(min=1e-7)
        spectra = [domain.magnitude(domain.encode(stem)) for stem in stems.values()]
        reached = si_sdr(domain.decode(part), stems["foreground"])
        given = si_sdr(sum(stems.values()), stems["foreground"])
        return {
            FOREGROUND_SHARE.name: foreground_share(gain, *spectra),
            SI_SDR.name: reached,
            SI_SDR_IMPROVEMENT.name: reached - given,
        }

    def load(self, name, ids, n_samples):
        """One stem of each clip, (B, N)."""
        paths = [self.folder / name / f"{clip}.wav" for clip in ids]
        wavs = [fix_length(read_mono(p, self.sample_rate), n_samples) for p in paths]
        return torch.stack(wavs)
