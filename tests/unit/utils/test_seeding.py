"""Draws are a function of their key, and of nothing else."""

import os

import pytest
import torch

from speechbrain_lmac.utils.seeding import generator, seed_of
from tests.warm import warm_output

KEY = (1234, 3, "1-100032-A-0", "mixup")


def draw(*key):
    return torch.rand(4, generator=generator(*key)).tolist()


def test_the_same_key_draws_the_same_whatever_was_drawn_before():
    before = draw(*KEY)
    torch.manual_seed(99)
    torch.rand(1000)
    draw("another")
    assert draw(*KEY) == before


def test_drawing_leaves_the_global_state_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    draw(*KEY)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("place", range(4))
def test_every_part_of_the_key_matters(place):
    other = list(KEY)
    other[place] = 7
    assert draw(*other) != draw(*KEY)


@pytest.mark.parametrize(
    "one, other",
    [((1, 23), (12, 3)), (("a", "b"), ("ab",)), (("1",), (1,)), ((1, 2), (2, 1))],
)
def test_similar_keys_have_different_seeds(one, other):
    assert seed_of(*one) != seed_of(*other)


def test_seeds_fit_into_63_bits_and_use_them():
    seeds = [seed_of(number) for number in range(500)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == 500
    assert max(seeds) > 2**62


def test_draws_of_neighbouring_keys_are_uniform_together():
    values = torch.tensor([draw(1234, epoch, "clip")[0] for epoch in range(500)])
    # Five standard deviations of the mean of 500 uniform numbers.
    assert abs(values.mean().item() - 0.5) < 5 * (1 / 12 / 500) ** 0.5
    assert values.min() < 0.02
    assert values.max() > 0.98


def test_another_process_draws_the_same():
    # Python's own hash() of a string differs between processes.
    code = (
        "import torch; from speechbrain_lmac.utils.seeding import generator; "
        f"print(torch.rand(4, generator=generator(*{KEY!r})).tolist());"
        f"print(hash({KEY!r}))"
    )
    drawn, hashed = warm_output("-c", code).splitlines()
    assert drawn == str(draw(*KEY))
    assert int(hashed) != hash(KEY) or "PYTHONHASHSEED" in os.environ


def test_a_known_draw_stays_what_it_was():
    # Changing the rule would change every resumed training and every mixture.
    assert seed_of(1234, 3, "1-100032-A-0", "mixup") == 5889660813352633454
