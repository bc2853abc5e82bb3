"""What a mask that a prompt turns down must be."""

import math

import pytest
import torch

from speechbrain_lmac.interpreters import PresenceInterpreter
from speechbrain_lmac.types import Encoded

TEXT_DIM, CHANNELS = 4, 3


class Seen(torch.nn.Module):
    """A stand-in for a decoder: the mask is the shallowest map's first channel."""

    def forward(self, hidden, encoded, condition):
        return hidden[0][:, 0].sigmoid()


@pytest.fixture
def hidden():
    draw = torch.Generator().manual_seed(0)
    shallow = torch.randn(2, 1, 6, 5, generator=draw)
    return shallow, torch.randn(2, CHANNELS, 3, 4, generator=draw)


@pytest.fixture
def text():
    draw = torch.Generator().manual_seed(1)
    return torch.nn.functional.normalize(torch.randn(2, TEXT_DIM, generator=draw))


@pytest.fixture
def encoded():
    return Encoded(torch.rand(2, 6, 5), None, 100)


@pytest.fixture
def interpreter():
    return PresenceInterpreter(Seen(), CHANNELS, TEXT_DIM)


def trained(interpreter):
    draw = torch.Generator().manual_seed(2)
    for values in interpreter.heard.parameters():
        values.data = torch.randn(values.shape, generator=draw)
    return interpreter


def test_it_begins_near_the_decoders_own_mask_and_can_leave_it(
    interpreter, hidden, encoded, text
):
    mask = interpreter(hidden, encoded, text)
    own = Seen()(hidden, encoded, text)
    torch.testing.assert_close(mask, own / (1 + math.exp(-2.0)))
    mask.mean().backward()
    assert interpreter.heard.weight.grad.abs().max() > 0


def test_prompt_and_clip_decide_the_size_and_only_that(
    interpreter, hidden, encoded, text
):
    trained(interpreter)
    own = Seen()(hidden, encoded, text)
    presence = (interpreter(hidden, encoded, text) / own).flatten(1)
    assert presence.std(1).max() < 1e-6  # the same in all cells
    torch.testing.assert_close(presence.mean(1), interpreter.presence(hidden, text))
    swapped = interpreter.presence(hidden, text.flip(0))
    assert (swapped - presence.mean(1)).abs().min() > 0.01
    other = (hidden[0], hidden[1].flip(0))
    assert (interpreter.presence(other, text) - presence.mean(1)).abs().min() > 0.01


def test_it_can_empty_a_mask_and_not_fill_it(interpreter, hidden, encoded, text):
    own = Seen()(hidden, encoded, text)
    for pushed, expected in ((-1e4, 0 * own), (1e4, own)):
        with torch.no_grad():
            interpreter.heard.bias.copy_(pushed * text[0])
        mask = interpreter(hidden, encoded, text)[:1]
        torch.testing.assert_close(mask, expected[:1])


def test_a_pair_does_not_depend_on_the_others(interpreter, hidden, encoded, text):
    trained(interpreter)
    second = tuple(maps[1:] for maps in hidden)
    torch.testing.assert_close(
        interpreter.presence(hidden, text)[1:], interpreter.presence(second, text[1:])
    )


def test_what_the_whole_map_is_multiplied_by_does_not_matter(interpreter, hidden, text):
    trained(interpreter)
    louder = (hidden[0], 10 * hidden[1])
    torch.testing.assert_close(
        interpreter.presence(louder, text),
        interpreter.presence(hidden, text),
        rtol=1e-3,
        atol=1e-3,
    )
