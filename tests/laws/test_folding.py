"""A classifier whose batch norms are folded has the same outputs."""

import pytest
import torch

from speechbrain_lmac.classifiers import CNN14Classifier, CompactClassifier
from speechbrain_lmac.classifiers.batch_norm_folding import fold_batch_norms
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.types import ClassifierOutput

FEATURES = torch.rand(2, 150, 80, generator=torch.Generator().manual_seed(1))


def norms(model):
    return [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def frozen(model):
    """With norms that do something."""
    draw = torch.Generator().manual_seed(2)
    for norm in norms(model):
        norm.running_mean.normal_(0, 0.1, generator=draw)
        norm.running_var.uniform_(0.5, 2, generator=draw)
        norm.weight.data.uniform_(-1, 2, generator=draw)
        norm.bias.data.normal_(0, 0.1, generator=draw)
    return Frozen(model)


@pytest.fixture(
    params=[lambda: CNN14Classifier(5, emb_dim=64), lambda: CompactClassifier(5)],
    ids=["cnn14", "compact"],
)
def classifier(request):
    torch.manual_seed(0)
    return frozen(request.param())


def test_it_says_the_same_without_a_norm(classifier):
    n_norms = len(norms(classifier))
    n_alone = sum(name.endswith("norm0") for name, _ in classifier.named_modules())
    one = classifier(FEATURES)
    fold_batch_norms(classifier, FEATURES)
    assert n_norms > n_alone == len(norms(classifier))
    other = classifier(FEATURES)
    torch.testing.assert_close(other.logits, one.logits, rtol=1e-5, atol=1e-6)
    for map_, other_map in zip(one.hidden, other.hidden, strict=True):
        torch.testing.assert_close(other_map, map_, rtol=1e-4, atol=1e-5)


def test_it_has_the_same_gradient_and_nothing_to_train(classifier):
    gradients = []
    for fold in (False, True):
        if fold:
            fold_batch_norms(classifier, FEATURES)
        features = FEATURES.clone().requires_grad_()
        classifier(features).logits.square().sum().backward()
        gradients.append(features.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-7)
    assert not any(p.requires_grad for p in classifier.parameters())
    assert not any(m.training for m in classifier.train().modules())


class Odd(torch.nn.Module):
    """A convolution whose output its norm does not have alone."""

    n_classes = 2

    def __init__(self, twice):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 3)
        self.norm = torch.nn.BatchNorm2d(2)
        self.twice = twice

    def forward(self, features):
        maps = self.conv(features[:, None])
        answer = self.norm(maps)
        if self.twice:
            answer = answer + self.norm(maps)
        return ClassifierOutput(answer.mean((2, 3)), (maps,))


@pytest.mark.parametrize("twice", [False, True])
def test_what_would_say_something_else_stays_as_it_is(twice):
    torch.manual_seed(0)
    odd = frozen(Odd(twice))
    before = odd.state_dict()
    fold_batch_norms(odd, FEATURES)
    after = odd.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
