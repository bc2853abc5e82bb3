"""L2I's published parts against SpeechBrain's modules with the same weights."""

import pytest
import torch
from speechbrain.lobes.models.L2I import CNN14PSI_stft_2d, Theta

from speechbrain_lmac.interpreters import (
    L2IInterpreter,
    LearnedOverTime,
    PublishedActivations,
)
from speechbrain_lmac.types import Encoded

WIDTH, COMPONENTS, CLASSES, FRAMES = 32, 6, 4, 431
CHANNELS = (WIDTH // 8, WIDTH // 4, WIDTH // 2, WIDTH)


@pytest.fixture(scope="module")
def both():
    """Ours, and SpeechBrain's psi and theta."""
    torch.manual_seed(0)
    psi, theta = CNN14PSI_stft_2d(WIDTH, COMPONENTS), Theta(COMPONENTS, FRAMES, CLASSES)
    ours = L2IInterpreter(
        PublishedActivations(CHANNELS, WIDTH, COMPONENTS),
        LearnedOverTime(FRAMES),
        CLASSES,
        COMPONENTS,
    )
    with torch.no_grad():
        for number, layer in enumerate(ours.psi.layers, start=1):
            original = getattr(psi, f"convt{number}")
            torch.nn.init.normal_(original.weight, std=0.15)
            layer.load_state_dict(original.state_dict())
        ours.pooling.weights.copy_(theta.hard_att.weight[0])
        ours.theta.load_state_dict(theta.classifier[0].state_dict())
    return ours, psi, theta


@torch.no_grad()
def test_a_clip_of_5_seconds_is_interpreted_as_speechbrain_does(both):
    ours, psi, theta = both
    draw = torch.Generator().manual_seed(1)
    sizes = ((53, 10), (26, 5), (13, 2), (13, 2))  # CNN14's, of 431 frames
    hidden = tuple(
        torch.rand(2, channels, *size, generator=draw)
        for channels, size in zip(CHANNELS, sizes, strict=True)
    )
    interpretation = ours(hidden, Encoded(torch.empty(2, FRAMES, 513), None, 0))

    activations = psi(list(reversed(hidden)))
    assert activations.shape == (2, COMPONENTS, FRAMES)
    assert activations.std() > 0.01
    torch.testing.assert_close(
        interpretation.activations.transpose(1, 2), activations, rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(interpretation.logits.softmax(1), theta(activations))
