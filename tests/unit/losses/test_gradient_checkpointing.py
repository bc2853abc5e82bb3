"""Outcomes that are computed again for their gradient, next to plain autograd."""

import pytest
import torch

from speechbrain_lmac.losses.gradient_checkpointing import recomputed


class Learned(torch.nn.Module):
    """Two outcomes that draw numbers, and parameters that they do not depend on."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.used = torch.nn.Linear(4, 4)
        self.frozen = torch.nn.Linear(4, 4).requires_grad_(False)
        self.unused = torch.nn.Parameter(torch.ones(2))
        self.calls = 0

    def forward(self, x, shift):
        self.calls += 1
        hidden = self.frozen(torch.dropout(self.used(x), 0.5, train=True))
        return hidden.float() + shift, hidden.float().square().mean(1)


def plain(function, learned, *arguments):
    return function(*arguments)


def outcomes_and_gradients(how, n_pieces, autocast):
    model = Learned()
    x = torch.randn(n_pieces, 5, 4, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        pieces = [how(model, tuple(model.parameters()), piece, 0.5) for piece in x]
    one, other = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    drawn = torch.rand(3)
    (one.sum() + (other * torch.arange(len(other))).sum()).backward()
    return model, [one, other, drawn, torch.rand(3)]


# Plain autograd sums the gradients of several pieces in bfloat16.
@pytest.mark.parametrize("n_pieces, autocast", [(3, False), (1, True)])
def test_outcomes_gradients_and_draws_are_those_of_plain_autograd(n_pieces, autocast):
    wanted_model, wanted = outcomes_and_gradients(plain, n_pieces, autocast)
    model, found = outcomes_and_gradients(recomputed, n_pieces, autocast)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert model.used.weight.grad.abs().max() > 0.1
    for name in ("weight", "bias"):
        torch.testing.assert_close(
            getattr(model.used, name).grad, getattr(wanted_model.used, name).grad
        )
    assert model.frozen.weight.grad is None and model.unused.grad is None
    assert (wanted_model.calls, model.calls) == (n_pieces, 2 * n_pieces)


def test_a_piece_is_one_node_of_the_graph():
    # What torch.utils.checkpoint keeps of each piece, its graph, is kept by no piece.
    model = Learned()
    outcomes = recomputed(model, tuple(model.parameters()), torch.ones(2, 4), 0.5)
    (node,) = {outcome.grad_fn for outcome in outcomes}
    assert {type(to).__name__ for to, _ in node.next_functions if to is not None} == {
        "AccumulateGrad"
    }


def test_without_gradients_nothing_is_kept():
    model = Learned()
    with torch.no_grad():
        outcomes = recomputed(model, tuple(model.parameters()), torch.ones(2, 4), 0.5)
    assert not any(outcome.requires_grad for outcome in outcomes)
