"""The published decoder against SpeechBrain's `CNN14PSI_stft` with the same weights.

SpeechBrain's makes 32 n + 9 frames of n steps in the deepest map. Ours pads the maps
with silence at their end so that no frame is lost. What follows upon the end of a map
is there the bias of the layer, here that and more: the first 32 n - 28 frames are the
same, 388 of the 425 that SpeechBrain makes for a clip of 5 s.
"""

import pytest
import torch
from speechbrain.lobes.models.Cnn14 import CNN14PSI, CNN14PSI_stft

from speechbrain_lmac.interpreters import (
    PublishedInterpreter,
    PublishedMelInterpreter,
)
from speechbrain_lmac.types import Encoded

WIDTH = 32  # 2048 in the published model


@pytest.fixture(scope="module")
def decoders():
    torch.manual_seed(0)
    theirs = CNN14PSI_stft(dim=WIDTH)
    ours = PublishedInterpreter((WIDTH // 8, WIDTH // 4, WIDTH // 2, WIDTH), WIDTH)
    with torch.no_grad():
        for number, layer in enumerate(ours.layers, start=1):
            original = getattr(theirs, f"convt{number}")
            # SpeechBrain's default weights give masks of 0.5 everywhere.
            torch.nn.init.normal_(original.weight, std=0.15)
            layer.load_state_dict(original.state_dict())
    return ours, theirs


def hidden_of(n_steps):
    """Maps of blocks 3, 4, 5, 6 of a length that SpeechBrain's decoder accepts."""
    draw = torch.Generator().manual_seed(1)
    sizes = [(8, 4 * n_steps + 1, 10), (4, 2 * n_steps, 5), (2, n_steps, 2)]
    return tuple(
        torch.rand(2, WIDTH // divisor, steps, bands, generator=draw)
        for divisor, (_, steps, bands) in zip(
            (8, 4, 2, 1), (*sizes, sizes[-1]), strict=True
        )
    )


@torch.no_grad()
def masks_of(decoders, n_steps, n_frames):
    ours, theirs = decoders
    hidden = hidden_of(n_steps)
    mask = ours(hidden, Encoded(torch.empty(2, n_frames, 513), None, 0))
    return mask, torch.sigmoid(theirs(list(reversed(hidden)))[:, 0])


@pytest.mark.parametrize("n_steps", [1, 2, 13])
def test_without_padding_the_mask_is_speechbrains(decoders, n_steps):
    n_frames = 32 * n_steps + 9
    mask, reference = masks_of(decoders, n_steps, n_frames)
    assert reference.shape == (2, n_frames, 513)
    assert reference.std() > 0.02  # not 0.5 everywhere
    torch.testing.assert_close(mask, reference, rtol=1e-5, atol=1e-6)


# 5 s are 431 frames: the published code loses the last 6 of them.
@pytest.mark.parametrize("n_steps, n_frames, equal", [(13, 431, 388), (3, 106, 68)])
def test_with_padding_the_first_frames_are_speechbrains(
    decoders, n_steps, n_frames, equal
):
    assert equal == 32 * n_steps - 28
    mask, reference = masks_of(decoders, n_steps, n_frames)
    assert mask.shape == (2, n_frames, 513)
    assert reference.shape == (2, 32 * n_steps + 9, 513)
    same = (mask[:, : reference.shape[1]] - reference).abs().amax((0, 2)) < 1e-6
    assert same[:equal].all()
    assert not same[equal]


# --- On the mel spectrogram ----------------------------------------------------------


@pytest.fixture(scope="module")
def mel_decoders():
    torch.manual_seed(0)
    theirs = CNN14PSI(dim=WIDTH)
    channels = (WIDTH // 8, WIDTH // 4, WIDTH // 2, WIDTH)
    ours = PublishedMelInterpreter(channels, WIDTH)
    with torch.no_grad():
        for number, layer in enumerate(ours.layers, start=1):
            original = getattr(theirs, f"convt{number}")
            torch.nn.init.normal_(original.weight, std=0.1)
            layer.load_state_dict(original.state_dict())
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize("n_steps", [1, 2, 13])
def test_the_mel_mask_is_speechbrains(mel_decoders, n_steps):
    ours, theirs = mel_decoders
    hidden, n_frames = hidden_of(n_steps), 32 * n_steps + 9
    mask = ours(hidden, Encoded(torch.empty(2, n_frames, 80), None, 0))
    reference = torch.sigmoid(theirs(list(reversed(hidden)))[:, 0])
    assert reference.shape == (2, n_frames, 80)
    assert reference.std() > 0.02
    torch.testing.assert_close(mask, reference, rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("n_frames", [1, 32, 431, 500])
def test_the_mel_mask_has_any_length(mel_decoders, n_frames):
    mask = mel_decoders[0](
        hidden_of(13), Encoded(torch.empty(2, n_frames, 80), None, 0)
    )
    assert mask.shape == (2, n_frames, 80)


def test_the_mel_decoder_has_the_published_size():
    with torch.device("meta"):
        ours, theirs = PublishedMelInterpreter(), CNN14PSI(dim=2048)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (ours, theirs)]
    assert sizes[0] == sizes[1]
    assert round(sizes[0] / 1e6, 1) == 287.9


def test_the_mel_decoder_refuses_another_axis(mel_decoders):
    with pytest.raises(ValueError, match="80 bands.*has 64"):
        mel_decoders[0](hidden_of(1), Encoded(torch.empty(2, 41, 64), None, 0))
