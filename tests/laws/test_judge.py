"""The judge of masked clips: its masks, its training's loss, and its scores."""

import pytest
import torch

from speechbrain_lmac.classifiers.compact import CompactClassifier
from speechbrain_lmac.classifiers.frozen import Frozen, trainable_copy
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.explainers.controls import AllOnesExplainer
from speechbrain_lmac.interpreters.trained import hash_of_classifier
from speechbrain_lmac.metrics.checks.judge import EncodeMeter, Judge, save_judge
from speechbrain_lmac.training.judges.brain import divergence
from speechbrain_lmac.training.judges.explainer_masks import ExplainerMasks
from speechbrain_lmac.training.judges.random_masks import KINDS, RandomMasks
from speechbrain_lmac.types import Encoded, Explanation
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator
from tests.explained import explained

RATE, N = 16000, 4000
SHAPE = (60, 90)


@pytest.fixture(scope="module")
def domain():
    return STFTDomain(RATE)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return Frozen(CompactClassifier(3, channels=[4, 8]))


@pytest.fixture(scope="module")
def wav():
    return torch.randn(3, N, generator=generator("judge"))


@pytest.fixture
def judge_file(domain, classifier, tmp_path):
    """`judge_file(name, favoured)`: a judge that prefers a class, whatever it gets."""

    def judge_file(name="judge", favoured=None):
        model = trainable_copy(classifier)
        if favoured is not None:
            with torch.no_grad():
                model.linear.weight.zero_()
                model.linear.bias.copy_(2.0 * (torch.arange(3) == favoured))
        path = tmp_path / name / "judge.ckpt"
        path.parent.mkdir()
        save_judge(model, path, hash_of_classifier(classifier), domain)
        return path

    return judge_file


def explanation_of(domain, classifier, wav, target, mask=None):
    explanation = AllOnesExplainer(domain, classifier).explain(wav, target)
    if mask is None:
        return explanation
    encoded = explanation.encoded
    return Explanation(mask(encoded.rep), target, encoded, explanation.logits)


# --- Random masks -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_masks_of_a_kind_have_the_share_on_average(kind, share):
    masks = [KINDS[kind](SHAPE, share, generator(kind, n)) for n in range(150)]
    masks = torch.stack(masks)
    assert masks.min() >= 0 and masks.max() <= 1
    assert masks.mean() == pytest.approx(share, abs=0.1)


def test_bands_span_all_frames_or_all_bins():
    spans = set()
    for number in range(20):
        mask = KINDS["bands"](SHAPE, 0.5, generator(number))
        in_time, in_frequency = (mask == mask[:1]).all(), (mask == mask[:, :1]).all()
        assert in_time or in_frequency
        spans.add(bool(in_time))
    assert spans == {True, False}


def test_sizes_of_random_masks_are_small_and_large():
    encoded = Encoded(torch.zeros(100, *SHAPE), None, N)
    sizes = RandomMasks()(encoded, [(n,) for n in range(100)]).mean((1, 2))
    for part in (sizes < 0.1, (sizes > 0.3) & (sizes < 0.7), sizes > 0.9):
        assert part.float().mean() > 0.1


def test_a_random_mask_depends_on_its_key_alone():
    encoded = Encoded(torch.zeros(3, *SHAPE), None, N)
    together = RandomMasks()(encoded, [(1, "a"), (1, "b"), (2, "a")])
    alone = RandomMasks()(Encoded(torch.ones(1, *SHAPE), None, N), [(1, "b")])
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(together[0], together[2])


def test_an_unknown_kind_of_masks_is_named():
    with pytest.raises(InputError, match="stripes"):
        RandomMasks(["stripes"])


# --- Masks of an explainer --------------------------------------------------------


def test_masks_of_an_explainer_are_those_of_its_row(domain, classifier, wav):
    rows = {
        "silence": Halved(domain, classifier, 0.0),
        "half": Halved(domain, classifier, 0.5),
    }
    masks = ExplainerMasks(rows, "half", classifier, domain)(domain.encode(wav), [])
    assert (masks == 0.5).all()
    with pytest.raises(InputError, match="quarter.*silence"):
        ExplainerMasks(rows, "quarter", classifier, domain)


class Halved(AllOnesExplainer):
    """Masks of one value."""

    def __init__(self, domain, classifier, value):
        super().__init__(domain, classifier)
        self.value = value

    def explain(self, wav, target=None, lens=None):
        return explanation_of(
            self.domain,
            self.classifier,
            wav,
            super().explain(wav).target,
            lambda rep: torch.full_like(rep, self.value),
        )


# --- The loss ---------------------------------------------------------------------


def test_the_loss_is_the_divergence_of_torch_and_has_its_gradient_in_the_judge():
    draw = generator("divergence")
    logits, judged = torch.randn(2, 4, 5, generator=draw)
    judged.requires_grad_()
    expected = torch.nn.functional.kl_div(
        judged.log_softmax(1), logits.softmax(1), reduction="none"
    ).sum(1)
    torch.testing.assert_close(divergence(logits, judged), expected)
    divergence(logits, judged).sum().backward()
    # d KL / d logits of the judge = q - f
    torch.testing.assert_close(judged.grad, (judged.softmax(1) - logits.softmax(1)))
    assert divergence(logits, logits).abs().max() < 1e-6


# --- Scores -----------------------------------------------------------------------


def test_an_untrained_judge_of_all_ones_masks_has_the_classifiers_answers(
    domain, classifier, wav, judge_file
):
    explanation = explanation_of(domain, classifier, wav, None)
    batch = explained(domain, classifier, explanation)
    scores = Judge(classifier, judge_file().parent)(batch)
    p = explanation.logits.double().softmax(1).amax(1)
    assert (scores["EVAL-X explanation"] == 100).all()
    torch.testing.assert_close(scores["EVAL-X p"], p, rtol=1e-5, atol=0)


def test_explanation_and_rest_are_judged_each(domain, classifier, wav, judge_file):
    explanation = explanation_of(
        domain, classifier, wav, torch.tensor([0, 1, 2]), lambda rep: 0.3 + 0 * rep
    )
    encoded = explanation.encoded
    inside, outside = (
        classifier(domain.features(encoded.with_rep(share * encoded.rep))).logits
        for share in (0.3, 0.7)
    )
    scores = Judge(classifier, judge_file())(explained(domain, classifier, explanation))
    for name, logits in (("explanation", inside), ("rest", outside)):
        expected = 100.0 * (logits.argmax(1) == torch.arange(3))
        assert scores[f"EVAL-X {name}"].tolist() == expected.tolist()
    p = inside.double().softmax(1).diagonal()
    torch.testing.assert_close(scores["EVAL-X p"], p, rtol=1e-5, atol=0)


def test_the_encode_meter_is_of_the_methods_own_judge(
    domain, classifier, wav, judge_file
):
    q, own = judge_file("q", favoured=0), judge_file("own", favoured=1)
    target = torch.tensor([0, 1, 2])
    explanation = explanation_of(domain, classifier, wav, target)
    meter = EncodeMeter(classifier, q, {"drawn": own, "same": q})
    values = {
        method: meter(explained(domain, classifier, explanation, method=method))
        for method in ("drawn", "same", "other")
    }
    values = {method: scores["encode-meter"] for method, scores in values.items()}
    # log q' - log q: the logits of the favoured class are 2, those of others 0.
    expected = torch.tensor([-2.0, 2.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(values["drawn"], expected)
    assert values["same"].tolist() == [0, 0, 0]
    assert values["other"].isnan().all()


def test_scores_of_a_clip_are_those_it_has_alone(domain, classifier, wav, judge_file):
    judge, target = Judge(classifier, judge_file()), torch.tensor([0, 1, 2])
    keep = lambda rep: (rep > rep.mean((1, 2), keepdim=True)).to(rep)  # noqa: E731
    whole = explanation_of(domain, classifier, wav, target, keep)
    together = judge(explained(domain, classifier, whole))
    for index in range(3):
        part = slice(index, index + 1)
        one = explanation_of(domain, classifier, wav[part], target[part], keep)
        alone = judge(explained(domain, classifier, one))
        for name, values in together.items():
            torch.testing.assert_close(values[part], alone[name], rtol=1e-5, atol=0)


def test_nan_in_a_mask_is_nan_in_its_scores(domain, classifier, wav, judge_file):
    explanation = explanation_of(domain, classifier, wav, None)
    explanation.mask[0] = torch.nan
    path = judge_file()
    batch = explained(domain, classifier, explanation, method="own")
    scores = Judge(classifier, path)(batch)
    scores |= EncodeMeter(classifier, path, {"own": path})(batch)
    for values in scores.values():
        assert values.isnan().tolist() == [True, False, False]


def test_another_domain_has_no_columns(domain, classifier, wav, judge_file):
    path, other = judge_file(), STFTDomain(RATE, n_fft=512)
    for check in (Judge(classifier, path), EncodeMeter(classifier, path, {})):
        assert check.scores(domain) and not check.scores(other)
        explanation = explanation_of(other, classifier, wav, None)
        assert check(explained(other, classifier, explanation)) == {}


def test_another_classifiers_judge_and_a_missing_one_are_refused(
    domain, classifier, judge_file, tmp_path
):
    torch.manual_seed(1)
    other = Frozen(CompactClassifier(3, channels=[4, 8]))
    with pytest.raises(InputError, match="different classifier"):
        Judge(other, judge_file())
    with pytest.raises(InputError, match="judge.ckpt"):
        Judge(classifier, tmp_path).scores(domain)


def test_a_judge_is_trained_on_a_copy(classifier):
    judge = trainable_copy(classifier)
    assert all(p.requires_grad for p in judge.parameters())
    before = hash_of_classifier(classifier)
    with torch.no_grad():
        next(judge.parameters()).add_(1)
    assert hash_of_classifier(classifier) == before
    with pytest.raises(InputError, match="FrozenClassifier"):
        trainable_copy(torch.nn.Identity())
