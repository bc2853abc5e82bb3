"""Gradient checkpointing against plain autograd."""

import pytest
import torch

from speechbrain_lmac.losses.gradient_checkpointing import recomputed


class Model(torch.nn.Module):
    """Two results with random draws, and parameters without influence on them."""

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


def plain(function, parameters, *arguments):
    return function(*arguments)


def results_and_gradients(how, n_chunks, autocast):
    model = Model()
    x = torch.randn(n_chunks, 5, 4, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        chunks = [how(model, tuple(model.parameters()), chunk, 0.5) for chunk in x]
    one, other = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    drawn = torch.rand(3)
    (one.sum() + (other * torch.arange(len(other))).sum()).backward()
    return model, [one, other, drawn, torch.rand(3)]


# Plain autograd sums the gradients of several chunks in bfloat16.
@pytest.mark.parametrize("n_chunks, autocast", [(3, False), (1, True)])
def test_results_gradients_and_draws_are_those_of_plain_autograd(n_chunks, autocast):
    expected_model, expected = results_and_gradients(plain, n_chunks, autocast)
    model, found = results_and_gradients(recomputed, n_chunks, autocast)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert model.used.weight.grad.abs().max() > 0.1
    for name in ("weight", "bias"):
        torch.testing.assert_close(
            getattr(model.used, name).grad, getattr(expected_model.used, name).grad
        )
    assert model.frozen.weight.grad is None and model.unused.grad is None
    assert (expected_model.calls, model.calls) == (n_chunks, 2 * n_chunks)


def test_a_chunk_is_one_node_of_the_graph():
    # torch.utils.checkpoint keeps the graph of each chunk.
    model = Model()
    results = recomputed(model, tuple(model.parameters()), torch.ones(2, 4), 0.5)
    (node,) = {result.grad_fn for result in results}
    assert {type(to).__name__ for to, _ in node.next_functions if to is not None} == {
        "AccumulateGrad"
    }


def test_without_gradients_no_graph_is_kept():
    model = Model()
    with torch.no_grad():
        results = recomputed(model, tuple(model.parameters()), torch.ones(2, 4), 0.5)
    assert not any(result.requires_grad for result in results)
