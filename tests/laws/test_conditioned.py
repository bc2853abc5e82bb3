"""Laws of decoders conditioned on a class."""

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.interpreters import (
    ClassConditionedInterpreter,
    ConvInterpreter,
    FiLM,
    FiLMInterpreter,
    MelToBins,
    PublishedInterpreter,
)
from speechbrain_lmac.types import Encoded

CHANNELS = (4, 8, 16, 32)
N_CLASSES, DIM, FRAMES = 5, 6, 64


def conv():
    torch.manual_seed(0)
    frequency = MelToBins(16000, 1024, 80)
    return ConvInterpreter(CHANNELS, [8, 8, 8, 8], 6, 80, frequency).eval()


def hidden_of(n_clips, strides=(2, 4, 8, 16), bands=(40, 20, 10, 5)):
    return tuple(
        torch.rand(n_clips, channels, FRAMES // stride, width)
        for channels, stride, width in zip(CHANNELS, strides, bands, strict=True)
    )


def encoded_of(n_clips):
    return Encoded(torch.rand(n_clips, FRAMES, 513), None, (FRAMES - 1) * 186)


def untrained():
    torch.manual_seed(1)
    return ClassConditionedInterpreter(conv(), CHANNELS, N_CLASSES, DIM).eval()


def trained():
    """With FiLMs somewhere else than at their beginning."""
    interpreter = untrained()
    for film in interpreter.interpreter.films:
        torch.nn.init.normal_(film.affine.weight, std=0.3)
        torch.nn.init.normal_(film.affine.bias, std=0.3)
    return interpreter


@torch.no_grad()
def test_film_by_hand():
    film = FiLM(condition_dim=2, channels=2)
    film.affine.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [0, 0], [2, 0]]))
    film.affine.bias.copy_(torch.tensor([0.0, 0, 5, 0]))
    maps = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]])
    # Channel 0: (1 + 3) h + 5; channel 1: (1 + 1) h + 6.
    found = film(maps, torch.tensor([[3.0, 1.0]]))
    assert found.tolist() == [[[[9.0, 13.0]], [[26.0, 46.0]]]]


@pytest.mark.parametrize("make", [conv, lambda: PublishedInterpreter(CHANNELS, 8)])
@torch.no_grad()
def test_at_its_beginning_the_mask_is_the_decoders_own(make):
    torch.manual_seed(0)
    decoder = make()
    hidden, encoded = hidden_of(2), encoded_of(2)
    if isinstance(decoder, PublishedInterpreter):
        hidden = hidden_of(2, (8, 16, 32, 32), (10, 5, 2, 2))
    expected = decoder(hidden, encoded)
    film = FiLMInterpreter(decoder, CHANNELS, DIM)
    assert torch.equal(film(hidden, encoded, torch.randn(2, DIM)), expected)
    classes = ClassConditionedInterpreter(decoder, CHANNELS, N_CLASSES, DIM)
    assert torch.equal(classes(hidden, encoded, torch.tensor([0, 4])), expected)


@torch.no_grad()
def test_every_class_has_a_mask_of_its_own():
    interpreter, hidden, encoded = trained(), hidden_of(1), encoded_of(1)
    masks = [interpreter(hidden, encoded, torch.tensor([c])) for c in range(N_CLASSES)]
    for place, mask in enumerate(masks):
        assert mask.shape == encoded.rep.shape
        assert ((mask > 0) & (mask < 1)).all()
        for other in masks[:place]:
            assert (mask - other).abs().max() > 1e-3


@torch.no_grad()
def test_a_mask_does_not_depend_on_what_else_is_asked():
    interpreter, hidden, encoded = trained(), hidden_of(3), encoded_of(3)
    condition = torch.tensor([4, 0, 2])
    together = interpreter(hidden, encoded, condition)
    for item in range(3):
        only = slice(item, item + 1)
        alone = interpreter(
            tuple(maps[only] for maps in hidden),
            Encoded(encoded.rep[only], None, encoded.length),
            condition[only],
        )
        torch.testing.assert_close(together[only], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("level", range(len(CHANNELS)))
@torch.no_grad()
def test_the_condition_is_heard_at_every_scale(level):
    interpreter, hidden, encoded = untrained(), hidden_of(1), encoded_of(1)
    film = interpreter.interpreter.films[level]
    torch.nn.init.normal_(film.affine.weight)
    first, second = (interpreter(hidden, encoded, torch.tensor([c])) for c in (0, 1))
    assert (first - second).abs().max() > 1e-4


def test_the_first_gradient_reaches_all_films_and_then_the_class_asked_for():
    interpreter, hidden, encoded = untrained(), hidden_of(1), encoded_of(1)
    condition = torch.tensor([3])
    interpreter(hidden, encoded, condition).sum().backward()
    for film in interpreter.interpreter.films:
        assert film.affine.weight.grad.abs().sum() > 0
    interpreter = trained()
    interpreter(hidden, encoded, condition).sum().backward()
    moved = interpreter.classes.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [False, False, False, True, False]


@torch.no_grad()
def test_the_explainer_asks_for_its_target():
    torch.manual_seed(0)
    domain = STFTDomain(sample_rate=16000)
    classifier = CompactClassifier(N_CLASSES, channels=CHANNELS).eval()
    explainer = AmortizedExplainer(domain, classifier, trained())
    wav = torch.randn(2, 12000)
    predicted = explainer.explain(wav)
    other = explainer.explain(wav, (predicted.target + 1) % N_CLASSES)
    assert torch.equal(explainer.explain(wav, predicted.target).mask, predicted.mask)
    for first, second in zip(predicted.mask, other.mask, strict=True):
        assert (first - second).abs().max() > 1e-3
    # The mask of L-MAC's decoder does not depend on the target.
    unconditioned = AmortizedExplainer(domain, classifier, conv())
    assert torch.equal(
        unconditioned.explain(wav).mask, unconditioned.explain(wav, other.target).mask
    )
