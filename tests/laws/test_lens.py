"""Laws of padded clips: a mask scores as the same mask, cropped."""

from dataclasses import replace

import pytest
import torch

from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.domains.learned import LearnedDomain
from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain, MelDomain, STFTDomain
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.evaluation.evaluate import evaluate
from speechbrain_lmac.evaluation.randomisation import randomisation_check
from speechbrain_lmac.evidence import gather_evidence, training_evidence
from speechbrain_lmac.explainers import (
    AllOnesExplainer,
    AmortizedExplainer,
    AttributionExplainer,
    GradCAM,
    GradientShap,
    IntegratedGradients,
    RandomExplainer,
    Remembered,
    Saliency,
)
from speechbrain_lmac.explainers.to_mask import absolute
from speechbrain_lmac.losses.lmac import mask_l1, total_variation
from speechbrain_lmac.losses.lmac_td import spectrogram_l1
from speechbrain_lmac.metrics import ALL_METRICS, HEARD_METRICS
from speechbrain_lmac.metrics.curves import size_curves
from speechbrain_lmac.metrics.separation import (
    IRM_OVERLAP,
    IRM_OVERLAP_HEARD,
    source_scores,
)
from speechbrain_lmac.metrics.sparsity import empty
from speechbrain_lmac.recipes.train_lmac import LMAC
from speechbrain_lmac.types import ClassifierOutput, Evidence, Explanation

RATE = 16000
HOP = 186
BINS = 513
OF_MASK = {
    **{m.name: m for m in ALL_METRICS if m.name in ("SPS", "COMP", "MM")},
    "empty": lambda e: score_recordings(empty, e.frames, e.mask),
    "mask_l1": mask_l1,
    "total_variation": total_variation,
}
OF_AUDIO = {
    **{m.name: m for m in HEARD_METRICS},
    "spectrogram_l1": spectrogram_l1,
}


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def learned(kernel_size=32, n_channels=64):
    codec = Codec(RATE, kernel_size, n_channels)
    return LearnedDomain(STFTDomain(RATE), codec).requires_grad_(False)


def padded(wav, n_samples):
    return torch.nn.functional.pad(wav, (0, n_samples - wav.shape[1]))


SILENT = torch.zeros(2, 4)  # logits of an input that no score uses


class Summing(torch.nn.Module):
    """Classes by the sum over time: silence behind a clip changes no logit."""

    cam_stride = (1, 1)

    def __init__(self, n_mels=80, n_classes=4):
        super().__init__()
        torch.manual_seed(5)
        # No bias: the output for silence is 0.
        self.layer = torch.nn.Linear(n_mels, n_mels, bias=False)
        self.cam_layer = torch.nn.Conv2d(1, 2, 1, bias=False)
        self.head = torch.nn.Linear(n_mels, n_classes)

    def forward(self, features):
        maps = self.cam_layer(self.layer(features)[:, None]).relu()
        return ClassifierOutput(self.head(maps.sum((1, 2)) / 100), (maps,))


# --- Which frames -------------------------------------------------------------------


@pytest.mark.parametrize("n_recorded", [1, 185, 186, 187, 372, 800, 4000, 7999, 8000])
@pytest.mark.parametrize(
    "domain",
    [
        STFTDomain(RATE),
        MagnitudeSTFTDomain(RATE, n_fft=512, hop_length_ms=8.0, win_length_ms=32.0),
        MelDomain(RATE, n_fft=600, hop_length_ms=10.0, win_length_ms=25.0625, n_mels=4),
        learned(16, 256),
        learned(32, 64),
    ],
    ids=["published", "whole frame", "odd window", "16x256", "32x64"],
)
def test_frames_are_those_whose_window_overlaps_the_recording(domain, n_recorded):
    wav = padded(torch.ones(1, n_recorded), 8000)
    lens = torch.tensor([n_recorded / 8000])
    encoded = domain.encode(wav, lens)
    silence = domain.encode(torch.zeros(1, 8000)).rep.amax()
    overlapping = (encoded.rep > 2 * silence).any(2)[0]
    assert encoded.frames.tolist() == [int(overlapping.sum())]
    assert overlapping[: int(overlapping.sum())].all()


def test_float32_shares_give_every_length_of_a_long_clip():
    domain = STFTDomain(RATE)
    n_samples = torch.arange(1, 64001)
    lens = (n_samples.double() / 64000).float()
    expected = (-(-n_samples // HOP) + 1).clamp(max=64000 // HOP + 1)
    assert torch.equal(domain.frames_of(lens, 64000), expected)
    of_code = learned(16, 256).frames_of(lens, 64000)
    assert torch.equal(of_code, -(-n_samples // 8) + 1)


def test_a_code_counts_its_own_frames_and_those_of_the_stft():
    domain, lens = learned(), torch.tensor([0.1, 0.5])
    encoded = domain.encode(torch.ones(2, 8000), lens)
    assert encoded.frames.tolist() == [51, 251]
    assert encoded.bin_frames.tolist() == [6, 23]
    part = domain.apply_mask(encoded, torch.ones_like(encoded.rep))
    assert torch.equal(part.bin_frames, encoded.bin_frames)
    for other in (STFTDomain(RATE), MelDomain(RATE)):
        encoded = other.encode(torch.ones(2, 8000), lens)
        assert encoded.bin_frames.tolist() == encoded.frames.tolist() == [6, 23]


@pytest.mark.parametrize(
    "lens, message",
    [
        ([0.5], r"^lens .*\(2,\).*\(1,\)$"),
        ([0.5, 0.0], "^lens .* 0 to 0.5$"),
        ([0.5, 1.1], "^lens .* 0.5 to 1.1$"),
        ([0.5, float("nan")], "^lens .* nan"),
    ],
)
@pytest.mark.parametrize("domain", [STFTDomain(RATE), learned()])
def test_impossible_lens_raise(domain, lens, message):
    with pytest.raises(ValueError, match=message):
        domain.encode(torch.ones(2, 800), torch.tensor(lens))


@pytest.mark.parametrize("domain", [STFTDomain(RATE), MelDomain(RATE), learned()])
def test_without_lens_no_frames_are_counted(domain):
    encoded = domain.encode(torch.ones(2, 800))
    assert encoded.frames is None and encoded.bin_frames is None


# --- Scores -------------------------------------------------------------------------


def evidence_of(mask, frames=None):
    logits = torch.zeros(len(mask), 2)
    target = torch.zeros(len(mask), dtype=torch.long)
    return Evidence(mask, target, logits, logits, logits, frames)


@pytest.mark.parametrize("name", OF_MASK)
@pytest.mark.parametrize("n_frames", [9, 12, 40])
@pytest.mark.parametrize("padding", [0.0, 1.0, "random", "nan"])
def test_a_padded_mask_scores_as_the_cropped_one(name, n_frames, padding):
    frames = torch.tensor([1, 5, 9])
    clean = random(3, 9, 7)
    clean[1] = 0  # an empty one
    mask = random(3, n_frames, 7, seed=1)
    if padding != "random":
        mask.fill_(float(padding))
    for item, n in enumerate(frames.tolist()):
        mask[item, :n] = clean[item, :n]
    together = OF_MASK[name](evidence_of(mask, frames))
    for item, n in enumerate(frames.tolist()):
        alone = OF_MASK[name](evidence_of(clean[item : item + 1, :n]))
        assert torch.equal(together[item].nan_to_num(-1), alone[0].nan_to_num(-1))
    assert together.shape == (3,)


@pytest.mark.parametrize("name", OF_MASK)
def test_a_batch_that_is_full_scores_the_same_with_and_without_frames(name):
    mask = random(3, 9, 7)
    full = OF_MASK[name](evidence_of(mask, torch.tensor([9, 9, 9])))
    torch.testing.assert_close(full, OF_MASK[name](evidence_of(mask)))


def test_terms_push_on_the_recording_only():
    mask = random(2, 9, 7).requires_grad_()
    evidence = evidence_of(mask, torch.tensor([4, 9]))
    (mask_l1(evidence) + total_variation(evidence)).sum().backward()
    assert mask.grad[0, :4].any() and mask.grad[1].any()
    assert not mask.grad[0, 4:].any()


# A clip of 20 hops has 21 frames, and as many of it are counted when it is padded.
N_RECORDED = 20 * HOP
SHARES = (0.01, 0.1, 0.5)


@pytest.mark.parametrize(
    "domain",
    [STFTDomain(RATE, n_fft=512, n_mels=20), MelDomain(RATE, n_fft=512, n_mels=20)],
)
@pytest.mark.parametrize("n_samples", [N_RECORDED + 1, 16000])
@pytest.mark.parametrize("padding", [0.0, 1.0])
def test_equal_size_curves_and_evidence_are_those_of_the_clip_alone(
    domain, n_samples, padding
):
    classifier = Summing(n_mels=20)
    wav = random(2, N_RECORDED) - 0.5
    short = domain.encode(wav)
    lens = torch.full((2,), N_RECORDED / n_samples)
    long = domain.encode(padded(wav, n_samples), lens)
    assert long.frames.tolist() == [short.rep.shape[1]] * 2
    mask = random(*short.rep.shape)
    mask[mask < 0.7] = 0  # ties, whose order is drawn
    logits = classifier(domain.features(short)).logits.detach()
    target = logits.argmax(1)
    alone = Explanation(mask, target, short, logits)
    longer = torch.full_like(long.rep, padding)
    longer[:, : mask.shape[1]] = mask
    behind = Explanation(longer, target, long, logits)

    expected = size_curves(domain, classifier, alone, SHARES)
    found = size_curves(domain, classifier, behind, SHARES)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=1e-4)
    for gather in (gather_evidence, training_evidence):
        one, other = (gather(domain, classifier, e) for e in (alone, behind))
        torch.testing.assert_close(other.logits_in, one.logits_in, rtol=0, atol=1e-4)
        torch.testing.assert_close(other.logits_out, one.logits_out, rtol=0, atol=1e-4)
        assert torch.equal(other.frames, long.frames) and one.frames is None


@pytest.mark.parametrize("name", OF_AUDIO)
@pytest.mark.parametrize("domain", [STFTDomain(RATE), learned()])
def test_masked_audio_is_scored_on_the_recorded_frames_of_the_stft(domain, name):
    wav = random(2, N_RECORDED) - 0.5
    short = domain.encode(wav)
    mask = random(*short.rep.shape)
    long = domain.encode(padded(wav, 16000), torch.full((2,), N_RECORDED / 16000))
    evidence = []
    for padding in (0.0, 1.0):
        longer = torch.full_like(long.rep, padding)
        longer[:, : mask.shape[1]] = mask
        explanation = Explanation(longer, torch.zeros(2).long(), long, SILENT)
        evidence.append(gather_evidence(domain, Summing(), explanation))
    none, full = (OF_AUDIO[name](e) for e in evidence)
    torch.testing.assert_close(full, none, rtol=1e-5, atol=1e-6)
    # As of the clip alone, which ends within the last frame of the code.
    explanation = Explanation(mask, torch.zeros(2).long(), short, SILENT)
    alone = OF_AUDIO[name](gather_evidence(domain, Summing(), explanation))
    torch.testing.assert_close(none, alone, rtol=0.02, atol=0)


@pytest.mark.parametrize("name", [m.name for m in HEARD_METRICS])
def test_maps_of_masked_audio_are_cropped_exactly(name):
    domain = learned()
    wav = padded(random(2, 8000) - 0.5, 16000)
    wav[1, 4000:] = 0
    encoded = domain.encode(wav, torch.tensor([0.5, 0.25]))
    explanation = Explanation(
        random(*encoded.rep.shape), torch.zeros(2).long(), encoded, SILENT
    )
    evidence = gather_evidence(domain, Summing(), explanation)
    found = OF_AUDIO[name](evidence)
    of_mask = OF_MASK[name.removesuffix("-heard")]
    for item, n in enumerate((45, 23)):
        cropped = evidence_of(evidence.masked_audio.map[item : item + 1, :n])
        assert torch.equal(found[item], of_mask(cropped)[0])


def test_overlap_with_the_true_mask_leaves_the_padding_out():
    domain = STFTDomain(RATE)
    foreground, background = random(2, 2, N_RECORDED, seed=4) - 0.5
    whole = foreground + background
    mask = random(2, 21, BINS)
    alone = Explanation(mask, None, domain.encode(whole), None)
    long = domain.encode(padded(whole, 8000), torch.full((2,), N_RECORDED / 8000))
    ones = torch.ones_like(long.rep)
    ones[:, :21] = mask
    expected = source_scores(domain, alone, foreground, background)
    stems = padded(foreground, 8000), padded(background, 8000)
    found = source_scores(domain, Explanation(ones, None, long, None), *stems)
    assert torch.equal(found[IRM_OVERLAP.name], expected[IRM_OVERLAP.name])
    for name, values in expected.items():
        # The decoded parts differ at the last half window, which is in this one only.
        torch.testing.assert_close(found[name], values, rtol=0, atol=0.1)


def test_overlaps_of_a_code_with_the_true_mask_leave_the_padding_out():
    domain = learned()
    foreground, background = random(2, 2, N_RECORDED, seed=4) - 0.5
    short = domain.encode(foreground + background)
    mask = random(*short.rep.shape)
    whole = padded(foreground + background, 8000)
    long = domain.encode(whole, torch.full((2,), N_RECORDED / 8000))
    longer = torch.ones_like(long.rep)
    longer[:, : mask.shape[1]] = mask
    expected = source_scores(
        domain, Explanation(mask, None, short, None), foreground, background
    )
    stems = padded(foreground, 8000), padded(background, 8000)
    found = source_scores(domain, Explanation(longer, None, long, None), *stems)
    for name in (IRM_OVERLAP.name, IRM_OVERLAP_HEARD.name):
        torch.testing.assert_close(found[name], expected[name], rtol=0.01, atol=0)


# --- Explainers ---------------------------------------------------------------------


class Decoder(torch.nn.Module):
    """A mask from the map, frame by frame; near 0 in the padding."""

    def forward(self, hidden, encoded, condition=None):
        level = hidden[0].mean((1, 3))[:, :, None]
        n_frames = encoded.rep.shape[1]
        level = level[:, torch.arange(n_frames) * level.shape[1] // n_frames]
        return (level / (1 + level)).expand_as(encoded.rep)


class Loudness:
    """The representation itself as attribution; records the sizes of its inputs."""

    to_mask = staticmethod(absolute)

    def __init__(self):
        self.sizes = []

    def attribute(self, inputs):
        self.sizes.append((inputs.wav.shape[1], inputs.rep.shape[1]))
        return inputs.rep.detach()


METHODS = {
    "Saliency": Saliency(absolute),
    "IG": IntegratedGradients(4, 4, absolute),
    "GradCAM": GradCAM(absolute),
}


def background():
    return random(3, N_RECORDED, seed=9) - 0.5


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("domain", [STFTDomain(RATE), MelDomain(RATE)])
def test_an_attribution_is_that_of_the_clip_alone_and_0_in_the_padding(name, domain):
    explainer = AttributionExplainer(domain, Summing(), METHODS[name])
    wav = random(2, N_RECORDED, seed=2) - 0.5
    wav[1, N_RECORDED // 2 :] = 0
    lens = torch.tensor([N_RECORDED, N_RECORDED // 2]) / 8000
    mask = explainer.explain(padded(wav, 8000), lens=lens).mask
    for item, n in enumerate((N_RECORDED, N_RECORDED // 2)):
        alone = explainer.explain(wav[item : item + 1, :n]).mask
        frames = n // HOP + 1
        torch.testing.assert_close(mask[item, :frames], alone[0], rtol=0, atol=1e-4)
        assert not mask[item, frames:].any()
        assert mask[item].amax() == 1


def test_a_method_gets_no_padding():
    domain, method = STFTDomain(RATE), Loudness()
    explainer = AttributionExplainer(domain, Summing(), method)
    wav = padded(random(2, N_RECORDED) - 0.5, 8000)
    wav[:, -1] = 1000.0
    mask = explainer.explain(wav, lens=torch.full((2,), N_RECORDED / 8000)).mask
    assert method.sizes == [(N_RECORDED, 21)] * 2
    rep = domain.encode(wav).rep[:, :21]
    torch.testing.assert_close(mask[:, :21], rep / rep.amax((1, 2), keepdim=True))


def test_shap_draws_for_clips_with_lens():
    method = GradientShap(4, 2, 1234, absolute)
    explainer = AttributionExplainer(STFTDomain(RATE), Summing(), method, background)
    wav = padded(random(2, N_RECORDED) - 0.5, 8000)
    explanation = explainer.explain(wav, lens=torch.tensor([0.465, 1.0]))
    assert explanation.encoded.frames.tolist() == [21, 44]
    assert explanation.mask[0, :21].amax() == 1
    assert not explanation.mask[0, 21:].any()


@pytest.mark.parametrize("block", [(1, 1), (16, 32)])
def test_a_random_mask_has_the_mean_that_the_reference_has_on_the_recording(block):
    domain, classifier = STFTDomain(RATE), Summing()
    lmac = Remembered(AmortizedExplainer(domain, classifier, Decoder()))
    wav = padded(random(2, N_RECORDED) - 0.5, 16000)
    lens = torch.tensor([N_RECORDED / 16000, 1.0])
    random_mask = RandomExplainer(lmac, block).explain(wav, lens=lens).mask
    reference = lmac.explain(wav, lens=lens).mask
    assert reference[0, :21].mean() > 2 * reference[0].mean()
    for item, n in enumerate((21, 87)):
        mean = reference[item, :n].mean().item()
        assert random_mask[item, :n].mean().item() == pytest.approx(mean, abs=1e-6)
        assert not random_mask[item, n:].any()


def test_the_remembered_explanation_depends_on_lens():
    domain, classifier = STFTDomain(RATE), Summing()
    remembered = Remembered(AllOnesExplainer(domain, classifier))
    wav, lens = torch.ones(1, 1000), torch.tensor([0.5])
    first = remembered.explain(wav, lens=lens)
    assert remembered.explain(wav, lens=lens) is first
    assert remembered.explain(wav).encoded.frames is None
    assert first.encoded.frames.tolist() == [4]


@pytest.mark.parametrize(
    "domain, frames", [(STFTDomain(RATE), 22), (MelDomain(RATE), 22), (learned(), 251)]
)
def test_clips_that_fill_the_batch_are_explained_the_same_with_lens(domain, frames):
    classifier = Summing()
    lmac = AmortizedExplainer(domain, classifier, Decoder())
    explainers = [
        lmac,
        AllOnesExplainer(domain, classifier),
        RandomExplainer(lmac),
        AttributionExplainer(domain, classifier, METHODS["Saliency"]),
    ]
    wav = random(2, 4000) - 0.5
    for explainer in explainers:
        without = explainer.explain(wav)
        full = explainer.explain(wav, lens=torch.ones(2))
        torch.testing.assert_close(full.mask, without.mask, rtol=0, atol=1e-6)
        assert full.encoded.frames.tolist() == [frames, frames]


def test_clips_of_a_code_are_attributed_one_by_one():
    explainer = AttributionExplainer(learned(), Summing(), METHODS["IG"])
    wav, lens = padded(random(2, 4000) - 0.5, 8000), torch.tensor([0.5, 0.25])
    wav[1, 2000:] = 0
    together = explainer.explain(wav, lens=lens)
    assert not together.mask[0, 251:].any() and not together.mask[1, 126:].any()
    for item in range(2):
        only = slice(item, item + 1)
        alone = explainer.explain(wav[only], lens=lens[only]).mask
        torch.testing.assert_close(together.mask[only], alone, rtol=0, atol=1e-4)


# --- Trainings and checks -----------------------------------------------------------


class Hush:
    """Noise on the first clip only."""

    def mix(self, wav, keys, part):
        noisy = wav.clone()
        noisy[0] += 0.01
        return noisy, wav

    def adds(self, key, part):
        return key[-1] == "a"


@pytest.mark.parametrize("noise, frames", [(None, [21, 21]), (Hush(), [44, 21])])
def test_a_training_counts_frames_of_recording_and_of_noise(noise, frames, tmp_path):
    import speechbrain as sb

    domain = STFTDomain(RATE)
    brain = LMAC(
        modules={"interpreter": Decoder(), "domain": domain},
        hparams={"classifier": Summing(), "noise": noise, "seed": 1},
        run_opts={"device": "cpu"},
    )
    brain.epoch = 1
    lens = torch.full((2,), N_RECORDED / 8000)
    wav = padded(random(2, N_RECORDED) - 0.5, 8000)
    batch = ClipBatch(["a", "b"], wav, torch.tensor([0, 1]), lens)
    evidence = brain.compute_forward(batch, sb.Stage.TRAIN)
    assert evidence.frames.tolist() == frames
    full = brain.compute_forward(replace(batch, lens=None), sb.Stage.VALID)
    assert full.frames is None


def test_a_step_compares_no_waveforms_and_makes_no_explainer(monkeypatch):
    import speechbrain as sb

    brain = LMAC(
        modules={"interpreter": Decoder(), "domain": STFTDomain(RATE)},
        hparams={"classifier": Summing(), "noise": Hush(), "seed": 1},
        run_opts={"device": "cpu"},
    )
    brain.epoch = 1
    lens = torch.full((2,), N_RECORDED / 8000)
    wav = padded(random(2, N_RECORDED) - 0.5, 8000)
    batch = ClipBatch(["a", "b"], wav, torch.tensor([0, 1]), lens)
    brain.compute_forward(batch, sb.Stage.TRAIN)
    made, compared = [], []
    init, differ = AmortizedExplainer.__init__, torch.Tensor.__ne__
    monkeypatch.setattr(
        AmortizedExplainer,
        "__init__",
        lambda self, *parts: made.append(self) or init(self, *parts),
    )
    monkeypatch.setattr(
        torch.Tensor,
        "__ne__",
        lambda one, other: compared.append(one.shape) or differ(one, other),
    )
    for stage in (sb.Stage.TRAIN, sb.Stage.VALID, sb.Stage.TRAIN):
        brain.compute_forward(batch, stage)
    assert not made and wav.shape not in compared


def test_the_randomisation_check_compares_recordings():
    domain, classifier = STFTDomain(RATE), Summing()
    lmac = AmortizedExplainer(domain, classifier, Decoder())
    wav = random(2, N_RECORDED, seed=3) - 0.5
    wav[1, 800:] = 0
    alone = [
        ClipBatch([name], wav[i : i + 1, :n])
        for i, (name, n) in enumerate((("a", N_RECORDED), ("b", 4 * HOP)))
    ]
    wav[1, 4 * HOP :] = 0
    lens = torch.tensor([N_RECORDED, 4 * HOP]) / 8000
    together = ClipBatch(["a", "b"], padded(wav, 8000), lens=lens)
    found = randomisation_check(lmac, classifier, [together], progress=False)
    first = randomisation_check(lmac, classifier, alone[:1], progress=False)
    of_a = found[found["id"] == "a"]
    assert of_a["Spearman"].tolist() == pytest.approx(first["Spearman"].tolist())
    # 5 frames are fewer than the 11 of SSIM's window.
    assert found.loc[found["id"] == "b", "SSIM"].isna().all()
    assert of_a["SSIM"].notna().all()


class InThePadding:
    """Masks with one value where there is recording and another one behind it."""

    def __init__(self, domain, inside, behind):
        self.domain = domain
        self.inside = inside
        self.behind = behind

    def explain(self, wav, target=None, lens=None):
        encoded = self.domain.encode(wav, lens)
        mask = torch.full_like(encoded.rep, self.inside)
        for item, n_recorded in zip(mask, encoded.frames.tolist(), strict=True):
            item[n_recorded:] = self.behind
        logits = Summing()(self.domain.features(encoded)).logits
        return Explanation(mask, logits.argmax(1), encoded, logits)


def test_a_table_scores_the_recordings():
    domain = STFTDomain(RATE)
    wav = padded(torch.randn(2, N_RECORDED), 8000)
    lens = torch.tensor([N_RECORDED, 4 * HOP]) / 8000
    batches = [ClipBatch(["a", "b"], wav, torch.tensor([0, 1]), lens)]
    explainers = {
        "all of it": InThePadding(domain, 1.0, 0.0),
        "nothing of it": InThePadding(domain, 0.0, 1.0),
    }
    rows = evaluate(explainers, batches, domain, Summing()).set_index("method")
    assert (rows.loc["all of it", "MM"] == 1).all()
    assert (rows.loc["all of it", "SPS"].abs() < 1e-9).all()  # all cells alike
    assert not rows.loc["all of it", "empty_mask"].any()
    assert (rows.loc["nothing of it", "MM"] == 0).all()
    assert rows.loc["nothing of it", "empty_mask"].all()
