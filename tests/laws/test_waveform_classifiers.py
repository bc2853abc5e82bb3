"""What holds for every classifier of waveforms: a user's, Hugging Face, SpeechBrain."""

import copy
import gc
import pickle

import pytest
import torch

from speechbrain_lmac.classifiers import (
    Axes,
    Conv1dNet,
    Frozen,
    HuggingFaceClassifier,
    Places,
    SpeechBrainClassifier,
    WaveformClassifier,
)
from speechbrain_lmac.domains.stft import WaveformSTFTDomain

RATE = 16000
KINDS = ["conv", "gru", "ast", "wav2vec2", "hubert", "wavlm", "ecapa"]
BATCH_TOLERANCE = {"rtol": 1e-3, "atol": 1e-5}


class Recurrent(torch.nn.Module):
    """Frames of 20 ms through a GRU, whose layer returns a tuple: (B, T, C) first."""

    def __init__(self):
        super().__init__()
        self.gru = torch.nn.GRU(320, 8, batch_first=True)
        self.drop = torch.nn.Dropout(0.5)
        self.linear = torch.nn.Linear(8, 6)

    def forward(self, wav):
        sequence, _ = self.gru(wav.unfold(1, 320, 320))
        return {"scores": self.linear(self.drop(sequence.mean(1)))}


def scores(output):
    """Where `Recurrent` has its logits."""
    return output["scores"]


@pytest.fixture(scope="module")
def conv():
    torch.manual_seed(0)
    net = Conv1dNet(6, [8, 8, 8], [129, 9, 9], [8, 4, 4])
    layouts = [Axes("BCT", Places(0.0, hop)) for hop in (8.0, 32.0, 128.0)]
    layers = ["blocks.0", "blocks.1", "blocks.2"]
    return Frozen(WaveformClassifier(net, 6, RATE, layers, layouts))


@pytest.fixture(scope="module")
def gru():
    torch.manual_seed(0)
    return Frozen(
        WaveformClassifier(
            Recurrent(),
            6,
            RATE,
            ["gru"],
            Axes("BTC"),
            read_logits=scores,
            min_samples=320,
        )
    )


@pytest.fixture(scope="module")
def ecapa(ecapa_folder):
    layout = Axes("BCT", Places(0.0, 160.0))
    layers = [f"embedding_model.blocks.{i}" for i in range(4)]
    return SpeechBrainClassifier(ecapa_folder, layers, layout, 30.0, min_samples=800)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def classifier(kind, request, hf_folder):
    if kind in ("conv", "gru", "ecapa"):
        return request.getfixturevalue(kind)
    name = "audio-spectrogram-transformer" if kind == "ast" else kind
    return HuggingFaceClassifier(str(hf_folder(name)))


def noise(n_clips, n_samples, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(n_clips, n_samples, generator=draw)


def outputs_of(classifier, wav):
    with torch.no_grad():
        return classifier(wav)


@pytest.mark.parametrize("n_samples", [1, 399, 400, 8000, 31999])
def test_any_length_has_logits_and_the_maps_that_were_announced(classifier, n_samples):
    output = outputs_of(classifier, noise(2, n_samples))
    assert output.logits.shape == (2, 6)
    assert torch.isfinite(output.logits).all()
    grids = classifier.hidden_grids()
    assert len(grids) == len(output.hidden) > 0
    for grid, maps in zip(grids, output.hidden, strict=True):
        assert maps.shape[0] == 2 and maps.shape[2] > 0
        assert (maps.shape[1], maps.shape[3]) == (grid.channels, grid.n_bands)


# A burst of 10 ms moves the step that lies there more than any other. The GRU knows
# only what was before: its first step that moves is the burst's.
@pytest.mark.parametrize("second", [0.31, 0.75, 1.12])
def test_an_event_moves_the_hidden_maps_at_its_time(kind, classifier, second):
    wav = noise(1, 22400)  # 1.4 s
    louder = wav.clone()
    start = round(second * RATE)
    louder[:, start : start + 160] += 0.3 * noise(1, 160, seed=1) / 0.1
    before, after = outputs_of(classifier, wav), outputs_of(classifier, louder)
    for layer, grid in enumerate(classifier.hidden_grids()):
        moves = (after.hidden[layer] - before.hidden[layer]).abs().amax((0, 1, 3))
        step = moves.argmax().item()
        places = grid.steps
        if kind == "gru":
            step = (moves > 0).nonzero()[0].item()
            places = Places(160.0, 320.0)
        event = start + 80
        assert abs(places.first + step * places.hop - event) <= places.hop / 2 + 400


def test_scores_do_not_depend_on_the_batch(classifier):
    clips = noise(3, 8000)
    clips[1] *= 20
    together = outputs_of(classifier, clips)
    for item in range(3):
        alone = outputs_of(classifier, clips[item : item + 1])
        torch.testing.assert_close(
            together.logits[item], alone.logits[0], **BATCH_TOLERANCE
        )
        for both, one in zip(together.hidden, alone.hidden, strict=True):
            largest = one.abs().max().item()
            torch.testing.assert_close(
                both[item], one[0], rtol=1e-3, atol=1e-4 * largest
            )


def test_it_stays_as_it_is_whatever_is_called(classifier):
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    parent = torch.nn.ModuleDict({"classifier": classifier, "other": torch.nn.ReLU()})
    parent.train()
    classifier.model.model.train(False)
    assert not any(module.training for module in classifier.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    first, second = (outputs_of(classifier, noise(2, 8000)) for _ in range(2))
    assert torch.equal(first.logits, second.logits)  # without dropout
    after = classifier.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_gradient_reaches_the_mask(classifier):
    domain = WaveformSTFTDomain(RATE)
    encoded = domain.encode(noise(2, 8000))
    mask = torch.full_like(encoded.rep, 0.5).requires_grad_()
    logits = classifier(domain.features(domain.apply_mask(encoded, mask))).logits
    logits[:, 0].sum().backward()
    assert torch.isfinite(mask.grad).all()
    # Each clip, at all its times but at edges that no frame of the model covers.
    assert mask.grad.abs().sum(2).gt(0).float().mean() > 0.9
    assert all(parameter.grad is None for parameter in classifier.parameters())


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_the_gradient_is_finite_in_silence(classifier, level):
    # A mask of zeros leaves silence: what is trained must survive it.
    domain = WaveformSTFTDomain(RATE)
    encoded = domain.encode(noise(1, 8000))
    mask = torch.full_like(encoded.rep, level).requires_grad_()
    classifier(
        domain.features(domain.apply_mask(encoded, mask))
    ).logits.sum().backward()
    assert torch.isfinite(mask.grad).all()


def test_autocast_leaves_the_front_end_and_the_logits_in_float32(classifier):
    wav = noise(2, 8000)
    wanted = outputs_of(classifier, wav)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = outputs_of(classifier, wav)
    assert output.logits.dtype == torch.float32
    assert all(maps.dtype == torch.float32 for maps in output.hidden)
    spread = wanted.logits.abs().max()
    assert (output.logits - wanted.logits).abs().max() < 0.05 * spread + 0.05


def test_a_copy_answers_alike_and_stands_for_itself(classifier):
    wav = noise(2, 8000)
    wanted = outputs_of(classifier, wav)  # it has been used before it is copied
    twin = copy.deepcopy(classifier).to("cpu")
    assert torch.equal(outputs_of(twin, wav).logits, wanted.logits)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert torch.equal(outputs_of(classifier, wav).hidden[0], wanted.hidden[0])
    assert not outputs_of(twin, wav).hidden[-1].equal(wanted.hidden[-1])


@pytest.mark.parametrize("name", ["conv", "gru", "ecapa"])
def test_it_can_be_pickled(name, request):
    # Models of transformers cannot once they were used: hooks of their own remain.
    classifier, wav = request.getfixturevalue(name), noise(2, 8000)
    wanted = outputs_of(classifier, wav)
    twin = pickle.loads(pickle.dumps(classifier))
    assert torch.equal(outputs_of(twin, wav).logits, wanted.logits)


def hooks_of(classifier):
    """How many forward hooks there are; transformers has some of its own."""
    return sum(len(module._forward_hooks) for module in classifier.modules())


def test_nothing_is_kept_after_a_pass(classifier):
    def count():
        gc.collect()
        return sum(torch.is_tensor(thing) for thing in gc.get_objects())

    wav = noise(1, 8000).requires_grad_()
    classifier(wav).logits.sum().backward()
    before, hooks = count(), hooks_of(classifier)
    for _ in range(3):
        classifier(wav).logits.sum().backward()
    assert count() == before
    assert hooks_of(classifier) == hooks


def test_a_pass_that_fails_leaves_no_hook(conv, monkeypatch):
    def fail(maps):
        raise RuntimeError("linear fails")

    monkeypatch.setattr(conv.model.model.linear, "forward", fail)
    with pytest.raises(RuntimeError, match="linear fails"):
        conv(noise(1, 4000))
    assert hooks_of(conv) == 0


# --- The domain that decodes before the classifier ------------------------------------


@pytest.fixture(scope="module")
def domain():
    return WaveformSTFTDomain(RATE)


@pytest.mark.parametrize("n_samples", [1, 186, 16001])
def test_the_classifier_hears_what_is_decoded(domain, n_samples):
    wav = noise(2, n_samples)
    encoded = domain.encode(wav)
    features = domain.features(encoded)
    assert features.shape == wav.shape
    assert torch.equal(features, domain.decode(encoded))
    error = (features - wav).double().square().sum(1) / wav.double().square().sum(1)
    assert (error < 1e-6).all()  # -60 dB; the domain's tests ask for it as well
    ones = domain.apply_mask(encoded, torch.ones_like(encoded.rep))
    assert torch.equal(domain.features(ones), features)
    zeros = domain.apply_mask(encoded, torch.zeros_like(encoded.rep))
    assert not domain.features(zeros).any()


def test_one_phase_serves_many_points(domain):
    # Gradient methods ask about many representations of one clip.
    encoded = domain.encode(noise(1, 4000))
    reps = torch.cat([encoded.rep, 0.5 * encoded.rep])
    features = domain.features(encoded.with_rep(reps))
    halved = domain.features(encoded.with_rep(0.5 * encoded.rep))
    torch.testing.assert_close(features[1:], halved)


# --- Padding --------------------------------------------------------------------------


@torch.no_grad()
def test_a_padded_clip_has_the_logits_and_maps_that_it_has_alone(classifier):
    wav, lengths = noise(3, 5000), torch.tensor([2100, 5000, 300])
    found = classifier(wav, lengths)
    for item, n in enumerate(lengths.tolist()):
        alone = classifier(wav[item : item + 1, :n])
        torch.testing.assert_close(found.logits[item], alone.logits[0])
        for maps, own in zip(found.hidden, alone.hidden, strict=True):
            steps = own.shape[2]
            torch.testing.assert_close(maps[item, :, :steps], own[0])
            assert not maps[item, :, steps:].any()
