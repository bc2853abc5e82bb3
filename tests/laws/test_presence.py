"""What a mask that a prompt turns up or down must be."""

import pytest
import torch

from speechbrain_lmac.interpreters import PresenceInterpreter
from speechbrain_lmac.interpreters.presence import raised
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


def test_raising_is_adding_to_the_logits():
    logits = torch.linspace(-6, 6, 30).reshape(2, 3, 5)
    offset = torch.tensor([-3.0, 2.5])
    expected = (logits + offset[:, None, None]).sigmoid()
    torch.testing.assert_close(raised(logits.sigmoid(), offset), expected)


@pytest.mark.parametrize("offset", [-1e4, 1e4])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_masks_and_gradients_stay_finite(offset, value):
    mask = torch.full((1, 2, 2), value, requires_grad=True)
    out = raised(mask, torch.tensor([offset]))
    out.sum().backward()
    assert torch.isfinite(mask.grad).all()
    assert ((out >= 0) & (out <= 1)).all()


def test_it_begins_as_the_decoders_own_mask_and_can_leave_it(
    interpreter, hidden, encoded, text
):
    mask = interpreter(hidden, encoded, text)
    torch.testing.assert_close(mask, Seen()(hidden, encoded, text))
    mask.mean().backward()
    assert interpreter.heard.weight.grad.abs().max() > 0


def test_prompt_and_clip_decide_the_size_and_only_that(
    interpreter, hidden, encoded, text
):
    trained(interpreter)
    before = Seen()(hidden, encoded, text).logit()
    offset = (interpreter(hidden, encoded, text).logit() - before).flatten(1)
    assert offset.std(1).max() < 1e-4  # the same in all cells
    torch.testing.assert_close(offset.mean(1), interpreter.offset(hidden, text))
    swapped = interpreter.offset(hidden, text.flip(0))
    assert (swapped - offset.mean(1)).abs().min() > 0.1
    other = (hidden[0], hidden[1].flip(0))
    assert (interpreter.offset(other, text) - offset.mean(1)).abs().min() > 0.1


def test_a_pair_does_not_depend_on_the_others(interpreter, hidden, encoded, text):
    trained(interpreter)
    second = tuple(maps[1:] for maps in hidden)
    torch.testing.assert_close(
        interpreter.offset(hidden, text)[1:], interpreter.offset(second, text[1:])
    )


def test_what_the_whole_map_is_multiplied_by_does_not_matter(interpreter, hidden, text):
    trained(interpreter)
    louder = (hidden[0], 10 * hidden[1])
    torch.testing.assert_close(
        interpreter.offset(louder, text),
        interpreter.offset(hidden, text),
        rtol=1e-3,
        atol=1e-3,
    )
