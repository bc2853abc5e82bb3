"""What holds for LMAC-TD's mask network and both U: range, size, place, weights."""

from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_lmac.classifiers import CNN14Classifier, CompactClassifier
from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.domains.learned import LearnedDomain
from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.evidence import gather_evidence, training_evidence
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.interpreters import (
    CheckpointedTransformerBlock,
    ConvUpsampler,
    MaskNet,
    MaskNetInterpreter,
    PublishedUpsampler,
    TransformerBlock,
)
from speechbrain_lmac.losses.lmac import WeightedObjective, mask_in, mask_out
from speechbrain_lmac.losses.lmac_td import (
    reconstruction,
    si_snr,
    spectrogram_l1,
    sum_to_input,
)
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError

PARTS = Path(__file__).parents[2] / "hparams" / "parts"
RATE, HOP_MS, HOP = 16000, 11.6099, 186
KERNEL, STRIDE, CHANNELS = 32, 16, 64
HIDDEN = (4, 8, 16, 32)  # channels of the classifier's maps, for speed
BLOCK = partial(TransformerBlock, n_heads=2, n_hidden=16)
TERMS = {
    "mask_in": mask_in,
    "mask_out": mask_out,
    "spectrogram_l1": spectrogram_l1,
    "sum_to_input": sum_to_input,
}


@pytest.fixture(scope="module")
def domain():
    codec = Codec(RATE, KERNEL, CHANNELS)
    return LearnedDomain(STFTDomain(RATE), codec).requires_grad_(False)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return CompactClassifier(3, channels=HIDDEN).eval().requires_grad_(False)


UPSAMPLER = partial(
    ConvUpsampler, HIDDEN, [8, 8, 8, 8], 6, 80, CHANNELS, RATE, HOP_MS, KERNEL
)


def net(chunk=10, frames_per_step=4, block=BLOCK):
    torch.manual_seed(0)
    return MaskNet(CHANNELS, 8, frames_per_step, chunk, 1, 1, 1, block)


def interpreter_of(alpha, **options):
    torch.manual_seed(0)
    return MaskNetInterpreter(net(**options), UPSAMPLER, alpha).eval()


def encoded_of(n_samples, n_clips=1):
    frames = -(-n_samples // STRIDE) + 1
    rep = torch.rand(n_clips, frames, CHANNELS)
    return Encoded(rep, None, n_samples)


def hidden_of(n_samples, n_clips=1):
    """Maps as the compact classifier makes them of a clip."""
    frames = n_samples // HOP + 1
    return tuple(
        torch.rand(n_clips, channels, max(frames // stride, 1), 80 // stride)
        for channels, stride in zip(HIDDEN, (2, 4, 8, 16), strict=True)
    )


# --- Sizes, batches, alpha ------------------------------------------------------------


# 0.2 s, odd lengths, less than a frame, 60 s.
@pytest.mark.parametrize("n_samples", [1, 31, 3200, 16001, 80000, 960000])
@pytest.mark.parametrize("alpha", [0.0, 0.75])
@torch.no_grad()
def test_a_mask_for_clips_of_any_length(domain, classifier, alpha, n_samples):
    wav = 0.1 * torch.randn(1, n_samples)
    interpreter = interpreter_of(alpha, chunk=50)
    explanation = AmortizedExplainer(domain, classifier, interpreter).explain(wav)
    assert explanation.mask.shape == explanation.encoded.rep.shape
    assert ((explanation.mask > 0) & (explanation.mask < 1)).all()
    evidence = gather_evidence(domain, classifier, explanation)
    assert evidence.masked_audio.explanation.shape == wav.shape
    assert evidence.logits_in.isfinite().all()


@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.0])
@torch.no_grad()
def test_masks_do_not_depend_on_the_batch(alpha):
    interpreter = interpreter_of(alpha)
    encoded, hidden = encoded_of(8001, 3), hidden_of(8001, 3)
    mask = interpreter(hidden, encoded)
    for item in range(3):
        only = slice(item, item + 1)
        alone = interpreter(
            tuple(h[only] for h in hidden), encoded.with_rep(encoded.rep[only])
        )
        torch.testing.assert_close(mask[only], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_alpha_decides_what_the_mask_sees():
    encoded, other = encoded_of(8000), encoded_of(8000)
    hidden, others = hidden_of(8000), hidden_of(8000)

    def moved(alpha, encoded_too):
        interpreter = interpreter_of(alpha)
        second = (hidden, other) if encoded_too else (others, encoded)
        return not torch.equal(interpreter(hidden, encoded), interpreter(*second))

    assert [moved(alpha, True) for alpha in (0.0, 0.5, 1.0)] == [True, True, False]
    assert [moved(alpha, False) for alpha in (0.0, 0.5, 1.0)] == [False, True, True]


def test_without_the_classifier_there_is_no_u():
    refused = partial(ConvUpsampler, no_such_argument=1)
    interpreter = MaskNetInterpreter(net(), UPSAMPLER, 0.0)
    assert interpreter.upsampler is None
    assert interpreter(None, encoded_of(4000)).shape == (1, 251, CHANNELS)
    with pytest.raises(InputError, match="no_such_argument"):
        MaskNetInterpreter(net(), refused, 0.0)


@torch.no_grad()
def test_the_mix_is_that_of_alpha():
    interpreter = interpreter_of(0.75)
    encoded, hidden = encoded_of(4000), hidden_of(4000)
    mixed = 0.25 * encoded.rep + 0.75 * interpreter.upsampler(hidden, encoded)
    mask = interpreter.mask_net(mixed).sigmoid()
    torch.testing.assert_close(interpreter(hidden, encoded), mask)


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_alpha_has_a_range(alpha):
    with pytest.raises(InputError, match=f"alpha.*{alpha}"):
        interpreter_of(alpha)


@pytest.mark.parametrize("options", [{"chunk": 9}, {"frames_per_step": 0}])
def test_sizes_that_cannot_be_are_refused(options):
    with pytest.raises(InputError, match=" ".join(options)):
        net(**options)


def test_the_mask_is_float32_under_autocast():
    interpreter, encoded = interpreter_of(0.75), encoded_of(4000)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        mask = interpreter(hidden_of(4000), encoded)
    assert mask.dtype == torch.float32


@torch.no_grad()
def test_a_frame_is_answered_in_its_own_step():
    # Without the transformers' part: the skip around them leads each step to itself.
    for frames_per_step in (1, 4):
        network = net(frames_per_step=frames_per_step)
        rep = torch.rand(1, 401, CHANNELS)
        for frame in (0, 203, 400):
            louder = rep.clone()
            louder[:, frame] += 5
            change = (network(louder) - network(rep))[0].abs().sum(1)
            step = change.argmax().item() // frames_per_step
            assert step == frame // frames_per_step


# --- U is in time ---------------------------------------------------------------------


# What reaches beyond a step's own frames of the classifier, see test_interpreters.py,
# and one frame for the interpolation.
@pytest.mark.parametrize("level, reach", [(0, 5), (1, 11), (2, 23), (3, 47)])
@pytest.mark.parametrize("seconds", [2.0, 5.0, 11.3])
@pytest.mark.parametrize("part", [0.0, 0.03, 0.5, 0.97, 1.0], ids=str)
@torch.no_grad()
def test_an_event_in_h_drives_u_at_its_second(level, reach, seconds, part):
    n_samples = round(seconds * RATE)
    torch.manual_seed(1)
    upsampler = UPSAMPLER().eval()
    hidden, encoded = hidden_of(n_samples), encoded_of(n_samples)
    stride = 2 ** (level + 1)
    step = round(part * (hidden[level].shape[2] - 1))
    louder = list(hidden)
    louder[level] = hidden[level].clone()
    louder[level][:, :, step] += 5 * torch.rand(hidden[level][:, :, step].shape)
    change = upsampler(tuple(louder), encoded) - upsampler(hidden, encoded)
    seconds_moved = change[0].abs().amax(1).nonzero()[:, 0] * STRIDE / RATE
    first = (stride * step - reach) * HOP / RATE
    last = (stride * step + stride - 1 + reach) * HOP / RATE
    assert seconds_moved.min() >= first - 1e-6
    if stride * step + stride + reach < n_samples // HOP:  # else the edge is repeated
        assert seconds_moved.max() <= last + 1e-6
    if part == 0.5:
        centre = (stride * step + (stride - 1) / 2) * HOP / RATE
        middle = (seconds_moved.min() + seconds_moved.max()) / 2
        assert abs(middle - centre) < 0.015


@pytest.mark.parametrize("second", [0.3, 2.5, 4.7])
@torch.no_grad()
def test_a_click_moves_u_at_its_second(domain, classifier, second):
    # Through the classifier: the click's hidden maps, not made-up ones.
    torch.manual_seed(1)
    upsampler = UPSAMPLER().eval()
    wav = 0.01 * torch.randn(1, 80000)
    clicked = wav.clone()
    clicked[0, round(second * RATE)] = 1.0

    def u(wav):
        encoded = domain.encode(wav)
        return upsampler(classifier(domain.features(encoded)).hidden, encoded)

    change = (u(clicked) - u(wav))[0].square().sum(1)
    times = torch.arange(len(change)) * STRIDE / RATE
    assert abs((change * times).sum() / change.sum() - second) < 0.05


@pytest.mark.parametrize("second", [0.3, 2.5, 4.7])
@torch.no_grad()
def test_the_mask_is_moved_most_where_the_event_in_h_is(second):
    torch.manual_seed(1)
    interpreter = interpreter_of(1.0)
    hidden, encoded = hidden_of(80000), encoded_of(80000)
    step = round(second * RATE / HOP / 4)
    louder = [h.clone() for h in hidden]
    louder[1][:, :, step] += 5
    change = interpreter(tuple(louder), encoded) - interpreter(hidden, encoded)
    change = change[0].abs().sum(1)
    assert abs(change.argmax() * STRIDE / RATE - second) < 0.1


# --- Transformers ---------------------------------------------------------------------


def test_checkpointing_changes_memory_only():
    torch.manual_seed(0)
    plain = TransformerBlock(2, 8, 2, 16)
    checkpointed = CheckpointedTransformerBlock(2, 8, 2, 16)
    checkpointed.load_state_dict(plain.state_dict())
    x = torch.randn(3, 20, 8)
    answers = []
    for block in (plain, checkpointed):
        y = block(x)
        y.square().sum().backward()
        answers.append([y, *(p.grad for p in block.parameters())])
    for ours, theirs in zip(*answers, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_transformer_has_a_layer():
    with pytest.raises(InputError, match="n_layers"):
        TransformerBlock(0, 8, 2, 16)


def kept_bytes(block, x):
    """What a forward pass keeps for its gradient."""
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        block(x).sum()
    return sum(kept.values())


def test_of_a_checkpointed_layer_its_input_is_kept_alone():
    x = torch.randn(3, 200, 8, requires_grad=True)
    assert kept_bytes(CheckpointedTransformerBlock(4, 8, 2, 64), x) == 4 * x.nbytes
    assert kept_bytes(TransformerBlock(4, 8, 2, 64), x) > 3 * 4 * x.nbytes


# --- Objective and training -----------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.0])
def test_the_gradient_reaches_every_weight(domain, classifier, alpha):
    interpreter = interpreter_of(alpha).train()
    wav = 0.1 * torch.randn(2, 8001)
    explainer = AmortizedExplainer(domain, classifier, interpreter)
    evidence = training_evidence(domain, classifier, explainer.explain(wav))
    weights = {"mask_in": 4.0, "mask_out": 0.2, "spectrogram_l1": 0.4}
    objective = WeightedObjective(TERMS, weights)
    objective.total(objective(evidence)).mean().backward()
    assert not [n for n, p in interpreter.named_parameters() if not p.grad.any()]
    assert all(p.grad is None for p in domain.parameters())


def test_terms_do_not_depend_on_the_batch_and_are_finite_for_silence(
    domain, classifier
):
    wav = 0.1 * torch.randn(3, 4000)
    wav[1] = 0
    explainer = AmortizedExplainer(domain, classifier, interpreter_of(0.75))

    def terms(wav):
        objective = WeightedObjective(TERMS, {})
        return objective(training_evidence(domain, classifier, explainer.explain(wav)))

    together = terms(wav)
    for item in range(3):
        for name, values in terms(wav[item : item + 1]).items():
            assert values.isfinite().all()
            torch.testing.assert_close(
                values, together[name][item : item + 1], rtol=1e-3, atol=1e-3
            )


def test_silence_and_a_batch_of_one_can_be_trained_on(domain, classifier):
    interpreter = interpreter_of(0.75).train()
    explainer = AmortizedExplainer(domain, classifier, interpreter)
    evidence = training_evidence(
        domain, classifier, explainer.explain(torch.zeros(1, 4000))
    )
    objective = WeightedObjective(TERMS, dict.fromkeys(TERMS, 1.0))
    objective.total(objective(evidence)).mean().backward()
    assert all(p.grad.isfinite().all() for p in interpreter.parameters())


def test_spectrogram_l1_is_the_mean_of_log1p_of_the_magnitude(domain, classifier):
    explainer = AmortizedExplainer(domain, classifier, interpreter_of(0.0))
    explanation = explainer.explain(torch.randn(2, 8000))
    audio = domain.decode(domain.apply_mask(explanation.encoded, explanation.mask))
    spectrum = torch.stft(
        audio, 1024, HOP, 372, torch.hamming_window(372), pad_mode="constant",
        return_complex=True,
    )  # fmt: skip
    wanted = spectrum.abs().log1p().mean((1, 2))
    evidence = training_evidence(domain, classifier, explanation)
    torch.testing.assert_close(spectrogram_l1(evidence), wanted, rtol=1e-4, atol=1e-5)


def test_the_sum_is_compared_with_the_input_and_not_the_other_way_round(
    domain, classifier
):
    lossy = LearnedDomain(STFTDomain(RATE), Codec(RATE, 32, 16)).requires_grad_(False)
    encoded = lossy.encode(torch.randn(2, 8000))
    audio = MaskedAudio(lossy, encoded, torch.rand(encoded.rep.shape))
    evidence = type("Evidence", (), {"masked_audio": audio})
    coded = lossy.decode(encoded)
    torch.testing.assert_close(
        sum_to_input(evidence), -si_snr(coded, encoded.wav), rtol=1e-4, atol=1e-3
    )
    # Right way round a louder estimate costs nothing; and no mask can change the sum.
    torch.testing.assert_close(
        si_snr(9 * coded, encoded.wav), si_snr(coded, encoded.wav)
    )


def test_a_reconstruction_beyond_the_ceiling_is_left_alone():
    wav = torch.randn(2, 4000)
    good = (wav + 1e-6 * torch.randn(2, 4000)).requires_grad_()
    loss = reconstruction(good, wav)
    assert loss.tolist() == [-80.0, -80.0]
    loss.sum().backward()
    assert not good.grad.any()


# --- The parts ------------------------------------------------------------------------


def part(name, scalars=""):
    """The object of a part file, as an experiment includes it."""
    text = f"part: !include:{PARTS / name}.yaml\n{scalars}"
    return load_hyperpyyaml(text)["part"]


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_has_the_published_size():
    with torch.device("meta"):  # 660 MB otherwise
        interpreter = part("interpreter/masknet_published", "    alpha: 1.0")
    # 139.1 M: kernels of 139,077,632 weights by the table, and 2,945 biases.
    assert n_parameters(interpreter.upsampler) == 139_077_632 + 2_945
    assert 8.0e6 < n_parameters(interpreter.mask_net) < 9.0e6
    assert interpreter.mask_net.net.K == 250
    assert interpreter.mask_net.net.num_layers == 2
    block = interpreter.mask_net.net.dual_mdl[1]
    assert (len(block.intra_mdl.layers), len(block.inter_mdl.layers)) == (8, 2)


def test_the_compact_part_is_compact():
    scalars = "    alpha: 1.0\n    upsampler:\n        sample_rate: 16000\n"
    scalars += "        hop_length_ms: 11.6099\n        kernel_size: 32\n"
    assert 1000 < n_parameters(part("interpreter/masknet", scalars)) < 0.4e6


# --- The published U ------------------------------------------------------------------


def published_hidden(n_frames, channels=(4, 8, 16, 32)):
    """Maps as CNN14 makes them of so many frames of 80 bands, in few channels."""
    return tuple(
        torch.rand(1, c, n_frames // stride, bands)
        for c, stride, bands in zip(
            channels, (8, 16, 32, 32), (10, 5, 2, 2), strict=True
        )
    )


def test_the_published_table_makes_11082_frames_of_5_seconds():
    upsampler = PublishedUpsampler((4, 8, 16, 32), width=8)
    encoded = Encoded(torch.empty(1, 11082, 256), None, 80000)
    maps = upsampler(published_hidden(431), encoded)
    assert maps.shape == (1, 11082, 256)
    assert maps.isfinite().all()


@pytest.mark.parametrize("seconds", [0.4, 1.0, 4.0, 5.0, 6.3, 10.0])
@torch.no_grad()
def test_the_published_u_covers_any_length(seconds):
    n_samples = round(seconds * RATE)
    upsampler = PublishedUpsampler((4, 8, 16, 32), width=8)
    frames = -(-n_samples // 8) + 1
    encoded = Encoded(torch.empty(1, frames, 256), None, n_samples)
    hidden = published_hidden(n_samples // HOP + 1)
    assert upsampler(hidden, encoded).shape == (1, frames, 256)


@torch.no_grad()
def test_the_published_u_takes_the_maps_of_cnn14():
    cnn14 = CNN14Classifier(3, n_mels=80, emb_dim=8).eval()
    domain = LearnedDomain(STFTDomain(RATE), Codec(RATE, 16, 256))
    encoded = domain.encode(torch.randn(1, 16000))
    hidden = cnn14(domain.features(encoded)).hidden
    maps = PublishedUpsampler((256, 512, 1024, 8), width=8)(hidden, encoded)
    assert maps.shape == encoded.rep.shape


def test_the_published_u_refuses_another_codec():
    upsampler = PublishedUpsampler((4, 8, 16, 32), width=8)
    with pytest.raises(ValueError, match="256 channels.*has 64.*ConvUpsampler"):
        upsampler(published_hidden(64), Encoded(torch.empty(1, 99, 64), None, 9))
