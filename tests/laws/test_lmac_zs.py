"""LMAC-ZS: decoders conditioned on a prompt, and their objective."""

import weakref

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding, ClapClassifier
from speechbrain_lmac.classifiers.padding import embed
from speechbrain_lmac.domains.stft import MelDomain, STFTDomain
from speechbrain_lmac.explainers import ZeroShotExplainer
from speechbrain_lmac.interpreters import (
    ConvInterpreter,
    FiLMInterpreter,
    MelToBins,
    SameBins,
    TextAttention,
    TextAttentionInterpreter,
    TextFiLMInterpreter,
)
from speechbrain_lmac.losses.audio_text_pairs import Pairs, gather_pairs
from speechbrain_lmac.losses.lmac import WeightedObjective
from speechbrain_lmac.losses.lmac_zs import diversity, keep, mask_l1, mask_out, match
from speechbrain_lmac.training.prompts import PromptMemory, UniquePrompts
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

CHANNELS, DIM, RATE = (4, 6, 8), 12, 16000
CLASSES = ["dog", "rain", "clock", "siren"]
TEXT_KINDS = (TextFiLMInterpreter, TextAttentionInterpreter)
TERMS = {
    "match": match,
    "mask_l1": mask_l1,
    "diversity": diversity,
    "mask_out": mask_out,
}
WEIGHTS = {"match": 1.0, "mask_l1": 0.3, "diversity": 0.7, "mask_out": 0.05}


class Clap(torch.nn.Module):
    """Untrained towers; a sentence's embedding is a draw by its letters."""

    embedding_dim, hidden_channels = DIM, list(CHANNELS)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tower = CompactClassifier(DIM, channels=CHANNELS)
        self.register_buffer("scale", torch.tensor(10.0))
        self.sentences = []

    @property
    def cam_layer(self):
        return self.tower.cam_layer

    def audio(self, features):
        out = self.tower(features)
        embedding = torch.nn.functional.normalize(out.logits, dim=1)
        return AudioEmbedding(embedding, out.hidden)

    def text(self, sentences):
        self.sentences.append(list(sentences))
        draws = [torch.randn(DIM, generator=generator(s)) for s in sentences]
        return torch.nn.functional.normalize(torch.stack(draws), dim=1)


@pytest.fixture(scope="module")
def classifier():
    return ClapClassifier(Clap(), CLASSES)


def conv(frequency=None):
    torch.manual_seed(1)
    frequency = frequency or MelToBins(RATE, 1024, 80)
    return ConvInterpreter(CHANNELS, [6, 6, 6], 5, 80, frequency)


def somewhere(interpreter, std=0.3):
    """Weights away from their initial values, which ignore the condition."""
    torch.manual_seed(2)
    for name, parameter in interpreter.named_parameters():
        if "films" in name or "attentions" in name:
            parameter.data += std * torch.randn(parameter.shape)
    return interpreter


def made(kind, frequency=None):
    return somewhere(kind(conv(frequency), CHANNELS, DIM))


def hidden_of(classifier, wav, domain=None):
    domain = domain or STFTDomain(RATE)
    encoded = domain.encode(wav)
    return classifier.audio(domain.features(encoded)).hidden, encoded


def noise(n_clips=1, samples=8000, seed=0):
    return torch.randn(n_clips, samples, generator=generator("wav", seed))


# --- Decoders ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", TEXT_KINDS)
@torch.no_grad()
def test_at_its_beginning_the_mask_is_the_decoders_own(kind, classifier):
    decoder = conv()
    interpreter = kind(decoder, CHANNELS, DIM).eval()
    hidden, encoded = hidden_of(classifier, noise(2))
    mask = interpreter(hidden, encoded, classifier.text[:2])
    assert torch.equal(mask, decoder(hidden, encoded))


@pytest.mark.parametrize("kind", TEXT_KINDS)
@pytest.mark.parametrize("samples", [1, 700, 5001, 20000])
@torch.no_grad()
def test_any_length_and_a_batch_of_one(kind, samples, classifier):
    hidden, encoded = hidden_of(classifier, noise(1, samples))
    mask = made(kind)(hidden, encoded, classifier.text[:1])
    assert mask.shape == (1, samples // 186 + 1, 513)
    assert ((mask > 0) & (mask < 1)).all()


@pytest.mark.parametrize("kind", TEXT_KINDS)
@torch.no_grad()
def test_a_pair_does_not_depend_on_the_others_in_training_neither(kind, classifier):
    interpreter = made(kind).train()
    hidden, encoded = hidden_of(classifier, noise(3))
    together = interpreter(hidden, encoded, classifier.text[:3])
    for item in range(3):
        one = slice(item, item + 1)
        alone = interpreter(
            tuple(maps[one] for maps in hidden),
            Encoded(encoded.rep[one], None, encoded.length),
            classifier.text[one],
        )
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-6)
    # And an explanation does what the training did.
    explained = interpreter.eval()(hidden, encoded, classifier.text[:3])
    assert torch.equal(explained, together)


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_a_few_steps_teach_it_to_listen_to_the_prompt(kind, classifier):
    interpreter = kind(conv(), CHANNELS, DIM)
    hidden, encoded = hidden_of(classifier, noise())
    hidden = tuple(maps.repeat(2, 1, 1, 1) for maps in hidden)
    encoded = Encoded(encoded.rep.repeat(2, 1, 1), None, encoded.length)
    text, expected = classifier.text[:2], torch.tensor([0.9, 0.1])
    optimizer = torch.optim.AdamW(interpreter.parameters(), lr=0.01)

    def sizes():
        return interpreter(hidden, encoded, text).mean((1, 2))

    # Before it has learned, a prompt changes nothing: at one place of the batch, since
    # the places may be computed differently.
    first, second = (interpreter(hidden, encoded, t) for t in (text, text.flip(0)))
    assert torch.equal(first, second)
    for _ in range(20):
        optimizer.zero_grad()
        (sizes() - expected).square().sum().backward()
        optimizer.step()
    first, second = sizes()
    assert first - second > 0.3


@pytest.mark.parametrize("level", range(len(CHANNELS)))
@pytest.mark.parametrize("kind", TEXT_KINDS)
@torch.no_grad()
def test_the_prompt_conditions_every_scale(kind, level, classifier):
    interpreter = kind(conv(), CHANNELS, DIM).eval()
    parts = interpreter.interpreter.films if kind is TextFiLMInterpreter else None
    torch.manual_seed(3)
    for parameter in (parts or interpreter.attentions)[level].parameters():
        torch.nn.init.normal_(parameter)
    hidden, encoded = hidden_of(classifier, noise())
    masks = [interpreter(hidden, encoded, classifier.text[c : c + 1]) for c in (0, 1)]
    assert (masks[0] - masks[1]).abs().max() > 1e-4


@torch.no_grad()
def test_cells_attend_to_different_tokens_and_otherwise_for_another_prompt():
    torch.manual_seed(0)
    attention = TextAttention(DIM, channels=4, n_tokens=3, width=8)
    maps = torch.randn(2, 4, 5, 6)
    text = torch.nn.functional.normalize(torch.randn(2, DIM), dim=1) * DIM**0.5
    weights = attention.weights(maps, text)
    assert weights.shape == (2, 3, 5, 6)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 5, 6))
    assert weights.flatten(2).std(2).min() > 0.01
    swapped = attention.weights(maps, text.flip(0))
    assert (weights - swapped).abs().max() > 0.05


@torch.no_grad()
def test_attention_by_hand():
    attention = TextAttention(text_dim=1, channels=1, n_tokens=2, width=1)
    for layer, weight in (
        (attention.query, [[[[1.0]]]]),
        (attention.keys, [[1.0], [0.0]]),
        (attention.values, [[3.0], [6.0]]),
        (attention.output, [[[[2.0]]]]),
    ):
        layer.weight.copy_(torch.tensor(weight))
        if layer.bias is not None:
            layer.bias.zero_()
    # Text 2: keys 2 and 0, values 6 and 12. A cell of 0 attends to both alike: 9. A
    # cell of ln(3) / 2 has the scores ln(3) and 0, so 3/4 and 1/4: 7.5.
    maps = torch.tensor([[[[0.0, torch.tensor(3.0).log() / 2]]]])
    added = attention(maps, torch.tensor([[2.0]])) - maps
    torch.testing.assert_close(added.flatten(), torch.tensor([18.0, 15.0]))


def test_attention_to_one_token_is_refused():
    with pytest.raises(InputError, match="n_tokens.*2.* 1"):
        TextAttentionInterpreter(conv(), CHANNELS, DIM, n_tokens=1)


def test_batch_norms_are_gone():
    for kind in TEXT_KINDS:
        modules = [type(m) for m in made(kind).modules()]
        assert torch.nn.BatchNorm2d not in modules
        assert modules.count(torch.nn.GroupNorm) == 4
    film = made(TextFiLMInterpreter).interpreter
    assert isinstance(film, FiLMInterpreter)


@torch.no_grad()
def test_the_explainer_conditions_on_the_prompt_of_its_target(classifier):
    domain, interpreter = STFTDomain(RATE), made(TextFiLMInterpreter).eval()
    explainer = ZeroShotExplainer(domain, classifier, interpreter)
    wav = noise(2)
    predicted = explainer.explain(wav)
    assert torch.equal(predicted.target, predicted.logits.argmax(1))
    target = torch.tensor([3, 1])
    chosen = explainer.explain(wav, target)
    hidden, encoded = hidden_of(classifier, wav)
    by_hand = interpreter(hidden, encoded, classifier.text[target])
    assert torch.equal(chosen.mask, by_hand)
    again = explainer.explain(wav, predicted.target)
    assert torch.equal(again.mask, predicted.mask)


# --- Objective --------------------------------------------------------------------


def naive(domain, classifier, interpreter, wav, sentences, lens=None):
    """Both sums over i and j, as they are written, one pair after the other.

    Also the sum of mask sizes over all pairs, and that of mask_out over the clips.
    """
    text = classifier.embed(sentences)
    n, frames = len(wav), None
    encoded = domain.encode(wav, lens)
    frames = encoded.frames
    whole = embed(domain, classifier, encoded)
    sums = dict.fromkeys(TERMS, 0.0)

    def item(maps, j):
        return maps[j : j + 1]

    for j in range(n):
        hidden = tuple(item(maps, j) for maps in whole.hidden)
        own_lens = None if lens is None else item(lens, j)
        rep = Encoded(item(encoded.rep, j), None, encoded.length, lens=own_lens)
        embedded = []
        for i in range(n):
            mask = interpreter(hidden, rep, item(text, i))
            kept = embed(domain, classifier, rep.with_rep(rep.rep * mask))
            embedded.append(kept.embedding[0])
            before, after = text[i] @ whole.embedding[j], text[i] @ embedded[i]
            sums["match"] = sums["match"] + (before - after).abs()
            recorded = mask if frames is None else mask[:, : frames[j]]
            sums["mask_l1"] = sums["mask_l1"] + recorded.mean()
            if i == j:
                rest = rep.with_rep(rep.rep * (1 - mask))
                left = embed(domain, classifier, rest).embedding[0]
                different = list(dict.fromkeys(sentences))
                logits = classifier.clap.scale * classifier.embed(different) @ left
                own = different.index(sentences[j])
                sums["mask_out"] = sums["mask_out"] + logits.log_softmax(0)[own]
        for i in range(n):
            if i != j:
                expected, found = text[j] @ text[i], embedded[j] @ embedded[i]
                sums["diversity"] = sums["diversity"] + (expected - found).abs()
    return sums


def gradient_of(total, interpreter):
    interpreter.zero_grad()
    total.backward()
    return torch.cat([p.grad.flatten() for p in interpreter.parameters()])


def prompts_of(classifier, sentences):
    return PromptMemory(classifier).embed(sentences)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("domain", [STFTDomain(RATE), MelDomain(RATE)])
def test_the_terms_are_the_sums_over_all_pairs_over_their_number(
    domain, padded, classifier
):
    frequency = SameBins() if isinstance(domain, MelDomain) else None
    interpreter = made(TextFiLMInterpreter, frequency)
    sentences = [classifier.prompts[c] for c in (2, 0, 2, 1, 2)]
    n, wav = len(sentences), noise(5)
    lens = torch.tensor([1.0, 0.5, 0.2, 1.0, 0.7]) if padded else None
    sums = naive(domain, classifier, interpreter, wav, sentences, lens)
    objective = WeightedObjective(TERMS, WEIGHTS)
    prompts = prompts_of(classifier, sentences)
    assert prompts.counts.tolist() == [3, 1, 1]
    pairs = gather_pairs(domain, classifier, interpreter, wav, prompts, lens, 4)
    values = objective(pairs)
    numbers = {
        "match": n * n,
        "mask_l1": n * n,
        "diversity": n * (n - 1),
        "mask_out": n,
    }
    for name, number in numbers.items():
        torch.testing.assert_close(
            values[name].mean(), sums[name] / number, rtol=1e-5, atol=1e-6
        )
    by_hand = sum(WEIGHTS[k] * sums[k] / numbers[k] for k in numbers)
    expected = gradient_of(by_hand, interpreter)
    found = gradient_of(objective.total(values).mean(), interpreter)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_the_size_of_a_piece_changes_neither_loss_nor_gradient(classifier):
    domain, objective = STFTDomain(RATE), WeightedObjective(TERMS, WEIGHTS)
    interpreter = made(TextFiLMInterpreter)
    prompts, wav = prompts_of(classifier, CLASSES), noise(4)
    losses, gradients = [], []
    for at_once in (1, 3, 100):
        pairs = gather_pairs(
            domain, classifier, interpreter, wav, prompts, at_once=at_once
        )
        losses.append(objective.total(objective(pairs)))
        gradients.append(gradient_of(losses[-1].mean(), interpreter))
    for loss, gradient in zip(losses[1:], gradients[1:], strict=True):
        torch.testing.assert_close(loss, losses[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-3, atol=1e-6)


class Watched(torch.nn.Module):
    """An interpreter that knows how many of its masks are still in memory."""

    def __init__(self, interpreter):
        super().__init__()
        self.interpreter = interpreter
        self.masks, self.most, self.calls = [], 0, 0

    def alive(self):
        return sum(m().shape[0] for m in self.masks if m() is not None)

    def forward(self, hidden, encoded, condition):
        mask = self.interpreter(hidden, encoded, condition)
        self.masks.append(weakref.ref(mask))
        self.calls += len(mask)
        self.most = max(self.most, self.alive())
        return mask


@pytest.mark.parametrize("n_clips", [2, 6])
def test_only_one_piece_is_in_memory_however_many_pairs_there_are(n_clips, classifier):
    watched = Watched(made(TextFiLMInterpreter))
    sentences = [f"sound {i}" for i in range(n_clips)]
    prompts = prompts_of(classifier, sentences)
    pairs = gather_pairs(
        STFTDomain(RATE), classifier, watched, noise(n_clips), prompts, at_once=2
    )
    assert watched.calls == n_clips**2
    objective = WeightedObjective(TERMS, WEIGHTS)
    loss = objective.total(objective(pairs)).mean()
    del pairs
    assert watched.alive() == 0
    loss.backward()
    assert watched.calls == 2 * n_clips**2  # each mask is made once more
    assert watched.most == 2


def test_a_clip_alone_has_no_diversity_and_no_rest(classifier):
    interpreter = made(TextFiLMInterpreter)
    prompts = prompts_of(classifier, ["dog"])
    pairs = gather_pairs(STFTDomain(RATE), classifier, interpreter, noise(), prompts)
    assert diversity(pairs).tolist() == [0.0]
    assert mask_out(pairs).tolist() == [0.0]
    assert pairs.other_size.isnan().all()
    torch.testing.assert_close(pairs.own_size, mask_l1(pairs))


def test_terms_by_hand():
    # Two clips, two prompts, in the plane: texts at 0 and 90 degrees.
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    kept = torch.tensor([[[0.6, 0.8], [0.0, 1.0]], [[1.0, 0.0], [0.8, 0.6]]])
    pairs = Pairs(
        text=text,
        counts=torch.tensor([1, 1]),
        own=torch.tensor([0, 1]),
        embedding=torch.tensor([[0.8, 0.6], [0.0, 1.0]]),
        embedding_in=kept,
        embedding_out=torch.tensor([[0.0, 1.0], [0.0, 1.0]]),
        mask_size=torch.tensor([[0.2, 0.4], [0.6, 0.8]]),
        scale=torch.tensor(2.0),
    )
    # Clip 0: |0.8 - 0.6| and |0.6 - 1.0|; clip 1: |0 - 1| and |1 - 0.6|.
    torch.testing.assert_close(match(pairs), torch.tensor([0.3, 0.7]))
    torch.testing.assert_close(match(pairs, 3.0), torch.tensor([0.9, 2.1]))
    torch.testing.assert_close(match(pairs, None), torch.tensor([0.6, 1.4]))
    # Clip 0 loses 0.2 of the first prompt and gains of the second, which counts only
    # if that is not there; of clip 1 the first prompt, at 0, is made up.
    torch.testing.assert_close(keep(pairs), torch.tensor([0.1, 0.7]))
    torch.testing.assert_close(keep(pairs, 0.7), torch.tensor([0.3, 0.7]))
    torch.testing.assert_close(keep(pairs, 0.9), torch.tensor([0.2, 0.7]))
    torch.testing.assert_close(keep(pairs, 0.9, None), torch.tensor([0.4, 1.4]))
    torch.testing.assert_close(mask_l1(pairs), torch.tensor([0.3, 0.7]))
    torch.testing.assert_close(pairs.own_size, torch.tensor([0.2, 0.8]))
    torch.testing.assert_close(pairs.other_size, torch.tensor([0.4, 0.6]))
    # t_0 . t_1 = 0 against 0.6 * 0 + 0.8 * 1, and against 0.8.
    torch.testing.assert_close(diversity(pairs), torch.tensor([0.8, 0.8]))
    # The other prompt is at 0.6 to clip 0, and at 0 to clip 1.
    torch.testing.assert_close(diversity(pairs, 0.5), torch.tensor([0.8, 0.0]))
    assert diversity(pairs, 0.6).tolist() == [0.0, 0.0]
    # The rest has the logits 0 and 2: log-probabilities -ln(1 + e^2) and that plus 2.
    log_p = -torch.tensor([2.0]).exp().log1p()
    torch.testing.assert_close(mask_out(pairs), torch.cat([log_p, log_p + 2]))


def test_a_mask_of_ones_keeps_every_similarity_and_nothing_of_the_difference(
    classifier,
):
    class Ones(torch.nn.Module):
        def forward(self, hidden, encoded, condition):
            return torch.ones_like(encoded.rep)

    prompts = prompts_of(classifier, CLASSES)
    pairs = gather_pairs(STFTDomain(RATE), classifier, Ones(), noise(4), prompts)
    torch.testing.assert_close(match(pairs), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(keep(pairs), torch.zeros(4), rtol=0, atol=1e-5)
    assert mask_l1(pairs).tolist() == [1, 1, 1, 1]
    # The masked audio is the same for every prompt: 1 in place of t_i . t_j.
    between = (1 - prompts.text @ prompts.text.T).abs().sum(1) / 3
    torch.testing.assert_close(diversity(pairs), between, rtol=0, atol=1e-5)


def test_equal_prompts_are_embedded_once_and_each_by_itself():
    clap = Clap()
    memory = PromptMemory(ClapClassifier(clap, ["dog"]))
    clap.sentences.clear()
    prompts = memory.embed(["b", "a", "b"])
    assert isinstance(prompts, UniquePrompts)
    assert (prompts.own.tolist(), prompts.counts.tolist()) == ([0, 1, 0], [2, 1])
    torch.testing.assert_close(prompts.text, clap.text(["b", "a"]))
    memory.embed(["a", "b", "c"])
    assert clap.sentences == [["b"], ["a"], ["b", "a"], ["c"]]


def test_an_argument_that_a_term_does_not_take_is_refused():
    from functools import partial

    with pytest.raises(InputError, match="match.*sclae"):
        WeightedObjective({"match": partial(match, sclae=2.0)}, {"match": 1.0})
