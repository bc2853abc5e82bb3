"""The classifier uses one of two tones, and the mask learns to lie on that one."""

import pytest
import torch
import torch.nn.functional as F

from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.evidence import gather_evidence, training_evidence
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.interpreters import ConvInterpreter, MelToBins
from speechbrain_lmac.losses.lmac import WeightedObjective, mask_in, mask_l1, mask_out
from speechbrain_lmac.metrics.separation import si_sdr
from speechbrain_lmac.types import ClassifierOutput

RATE = 16000
TONES_HZ = (600.0, 3000.0)
N_SAMPLES = 8000
STEPS = 120
# Half the width of the mel bands that a tone lies in.
AROUND_HZ = 200.0


class OneToneClassifier(torch.nn.Module):
    """Class 0 is a tone: the sum of the log-mel bands around it, against a threshold.

    The hidden map has two channels: the features, and those of them that are used.
    Like a real classifier's first map it has half their resolution.
    """

    def __init__(self, domain, tone_hz):
        super().__init__()
        nearest_bin = round(tone_hz * domain.n_fft / RATE)
        self.bands = (domain.mel_matrix[nearest_bin] > 0).float()

    def forward(self, features):
        used = features * self.bands
        score = 1.5 * used.sum(2).mean(1) - 6
        logits = torch.stack([score, torch.zeros_like(score)], 1)
        hidden = F.avg_pool2d(torch.stack([features, used], 1), 2)
        return ClassifierOutput(logits, (hidden,))


def tones(n_clips, seed):
    """Two tones per clip of random level and phase, (B, 2, N)."""
    draw = torch.Generator().manual_seed(seed)
    time = torch.arange(N_SAMPLES) / RATE
    phase = 2 * torch.pi * torch.rand(n_clips, 2, 1, generator=draw)
    level = 0.2 + 0.3 * torch.rand(n_clips, 2, 1, generator=draw)
    hz = torch.tensor(TONES_HZ)[:, None]
    return level * torch.sin(2 * torch.pi * hz * time + phase)


@pytest.mark.parametrize("used", [0, 1], ids=["low", "high"])
def test_the_mask_lies_on_the_tone_that_is_used(used):
    torch.manual_seed(0)
    domain = STFTDomain(sample_rate=RATE)
    classifier = OneToneClassifier(domain, TONES_HZ[used])
    interpreter = ConvInterpreter([2], [8], 8, 80, MelToBins(RATE, 1024, 80))
    explainer = AmortizedExplainer(domain, classifier, interpreter)
    objective = WeightedObjective(
        {"mask_in": mask_in, "mask_out": mask_out, "mask_l1": mask_l1},
        {"mask_in": 4.0, "mask_out": 0.2, "mask_l1": 6.4},
    )
    optimizer = torch.optim.Adam(interpreter.parameters(), lr=0.02)
    for step in range(STEPS):
        explanation = explainer.explain(tones(4, seed=step).sum(1))
        evidence = training_evidence(domain, classifier, explanation)
        optimizer.zero_grad()
        objective.total(objective(evidence)).mean().backward()
        optimizer.step()

    interpreter.eval()
    parts = tones(4, seed=STEPS)
    with torch.no_grad():
        explanation = explainer.explain(parts.sum(1))
        audio = domain.decode(domain.apply_mask(explanation.encoded, explanation.mask))
    evidence = gather_evidence(domain, classifier, explanation)
    hz = torch.arange(domain.n_bins) * RATE / domain.n_fft
    near = (hz - TONES_HZ[used]).abs() < AROUND_HZ
    energy = explanation.mask.square()
    assert energy[..., near].sum() / energy.sum() > 0.95
    assert mask_l1(evidence).max() < 0.1
    # The masked audio is the tone, and the class is in it and not in the rest.
    assert (si_sdr(audio, parts[:, used]) > 10).all()
    assert (evidence.logits.argmax(1) == 0).all()
    assert (evidence.logits_in.argmax(1) == 0).all()
    assert (evidence.logits_out.argmax(1) == 1).all()
