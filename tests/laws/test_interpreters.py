"""What holds for the masks of both decoders: range, size, place, number of weights."""

from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_lmac.classifiers import CNN14Classifier, CompactClassifier
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.interpreters import (
    ConvInterpreter,
    MelToBins,
    PublishedInterpreter,
    SameBins,
)
from speechbrain_lmac.interpreters.cnn14_stft import merged
from speechbrain_lmac.types import Encoded

PARTS = Path(__file__).parents[2] / "hparams" / "parts"
RATE, HOP = 16000, 186
CHANNELS = (4, 8, 16, 32)  # as CNN14's 256 to 2048, for speed
SECONDS = [0.05, 0.2, 1.0, 2.34, 5.0, 12.0]


def conv(frequency=None):
    torch.manual_seed(0)
    frequency = frequency or MelToBins(RATE, 1024, 80)
    return ConvInterpreter(CHANNELS, [8, 8, 8, 8], 6, 80, frequency).eval()


def published():
    torch.manual_seed(0)
    return PublishedInterpreter(CHANNELS, width=32).eval()


def encoded_of(n_frames, n_bins=513):
    return Encoded(torch.rand(1, n_frames, n_bins), None, (n_frames - 1) * HOP)


def conv_hidden(n_frames, n_clips=1):
    """Maps as the compact classifier makes them of so many frames."""
    return tuple(
        torch.rand(n_clips, channels, n_frames // stride, 80 // stride)
        for channels, stride in zip(CHANNELS, (2, 4, 8, 16), strict=True)
    )


def published_hidden(n_frames, n_clips=1):
    """Maps as CNN14 makes them of so many frames of 80 bands, in few channels."""
    return tuple(
        torch.rand(n_clips, channels, n_frames // stride, bands)
        for channels, stride, bands in zip(
            CHANNELS, (8, 16, 32, 32), (10, 5, 2, 2), strict=True
        )
    )


@pytest.mark.parametrize("seconds", SECONDS)
@torch.no_grad()
def test_conv_makes_a_mask_for_clips_of_any_length(seconds):
    torch.manual_seed(0)
    domain = STFTDomain(sample_rate=RATE)
    classifier = CompactClassifier(3, channels=CHANNELS).eval()
    encoded = domain.encode(torch.randn(2, round(seconds * RATE)))
    mask = conv()(classifier(domain.features(encoded)).hidden, encoded)
    assert mask.shape == encoded.rep.shape
    assert ((mask > 0) & (mask < 1)).all()


@pytest.fixture(scope="module")
def cnn14():
    return CNN14Classifier(3, n_mels=80, emb_dim=8).eval()


@pytest.mark.parametrize("seconds", [0.05, 0.4, 1.0])
@torch.no_grad()
def test_published_makes_a_mask_from_cnn14(cnn14, seconds):
    torch.manual_seed(0)
    domain = STFTDomain(sample_rate=RATE)
    encoded = domain.encode(torch.randn(2, round(seconds * RATE)))
    interpreter = PublishedInterpreter((256, 512, 1024, 8), width=8)
    mask = interpreter(cnn14(domain.features(encoded)).hidden, encoded)
    assert mask.shape == encoded.rep.shape
    assert ((mask > 0) & (mask < 1)).all()


# The layer table repeats itself every 32 frames: all lengths of one period, and more.
@pytest.mark.parametrize("n_frames", [*range(32, 64), 431, 1033])
@torch.no_grad()
def test_published_makes_a_mask_for_any_number_of_frames(n_frames):
    encoded = encoded_of(n_frames)
    mask = published()(published_hidden(n_frames), encoded)
    assert mask.shape == encoded.rep.shape


@torch.no_grad()
def test_masks_do_not_depend_on_the_batch():
    for interpreter, make in ((conv(), conv_hidden), (published(), published_hidden)):
        hidden = make(101, n_clips=3)
        mask = interpreter(hidden, encoded_of(101))
        for item in range(3):
            alone = interpreter(
                tuple(h[item : item + 1] for h in hidden), encoded_of(101)
            )
            torch.testing.assert_close(mask[item], alone[0], rtol=1e-5, atol=1e-6)


def frames_moved(interpreter, hidden, level, step, n_frames):
    """First and last frame of the mask that an event in one step of a map moves."""
    louder = list(hidden)
    louder[level] = hidden[level].clone()
    louder[level][:, :, step] += 5 * torch.rand(hidden[level][:, :, step].shape)
    encoded = encoded_of(n_frames)
    with torch.no_grad():
        before, after = (
            interpreter(hidden, encoded),
            interpreter(tuple(louder), encoded),
        )
    moved = (before - after)[0].abs().amax(1).nonzero()[:, 0]
    return moved.min().item(), moved.max().item()


# What reaches beyond the step's own frames: doubling reads half a step further, the
# 3x3 convolutions one step, at this map and at each above it.
@pytest.mark.parametrize("level, reach", [(0, 4), (1, 10), (2, 22), (3, 46)])
@pytest.mark.parametrize("second", [1.0, 2.5, 3.7])
def test_conv_moves_the_mask_at_the_time_of_the_event(level, reach, second):
    torch.manual_seed(1)
    stride = 2 ** (level + 1)
    step = round(second * RATE / HOP) // stride
    first, last = frames_moved(conv(), conv_hidden(432), level, step, 432)
    centre = stride * step + (stride - 1) / 2
    assert (first + last) / 2 == pytest.approx(centre, abs=1)
    assert first >= stride * step - reach
    assert last <= stride * step + stride - 1 + reach


# Half the frames that the transposed layers spread one step over (their kernels and
# strides), by map; the middle lies at most 5 frames late (docs/methods.md).
@pytest.mark.parametrize(
    "level, stride, spread", [(0, 8, 8), (1, 16, 24), (2, 32, 48), (3, 32, 48)]
)
@pytest.mark.parametrize("second", [1.5, 2.5, 3.0])
def test_published_moves_the_mask_within_5_frames(level, stride, spread, second):
    torch.manual_seed(1)
    step = round(second * RATE / HOP) // stride
    moved = frames_moved(published(), published_hidden(431), level, step, 431)
    centre = stride * step + (stride - 1) / 2
    assert abs(sum(moved) / 2 - centre) <= 5
    assert moved[0] >= centre - spread - 5
    assert moved[1] <= centre + spread + 5


@pytest.mark.parametrize("band", [10, 40, 70])
def test_conv_moves_the_mask_at_the_frequency_of_the_event(band):
    torch.manual_seed(1)
    hidden = conv_hidden(64)
    louder = (hidden[0].clone(), *hidden[1:])
    louder[0][:, :, :, band // 2] += 5
    interpreter, encoded = conv(SameBins()), encoded_of(64, n_bins=80)
    with torch.no_grad():
        moved = (interpreter(hidden, encoded) - interpreter(louder, encoded)).abs()
    bands = moved.amax((0, 1)).nonzero()[:, 0]
    assert bands.min().item() >= band - 4
    assert bands.max().item() <= band + 1 + 4


def test_the_mask_depends_on_every_map():
    for interpreter, make in ((conv(), conv_hidden), (published(), published_hidden)):
        hidden = tuple(h.requires_grad_() for h in make(64))
        interpreter(hidden, encoded_of(64)).sum().backward()
        assert all(maps.grad.any() for maps in hidden)
        assert all(p.grad.any() for p in interpreter.parameters())


@pytest.mark.parametrize(
    "make, hidden", [(conv, conv_hidden), (published, published_hidden)]
)
def test_the_mask_is_float32_under_autocast(make, hidden):
    # bfloat16 has 8 bits: 1 - mask would be 0 for a mask of 0.999.
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        mask = make()(hidden(64), encoded_of(64))
    assert mask.dtype == torch.float32


def test_published_refuses_another_frequency_axis():
    with pytest.raises(ValueError, match="513 bins.*has 257"):
        published()(published_hidden(64), encoded_of(64, n_bins=257))


def test_conv_wants_a_width_for_each_map():
    with pytest.raises(ValueError, match=r"4 maps.*\[2, 4, 8, 16\].* 3 widths"):
        ConvInterpreter(CHANNELS, [1, 2, 3], 2, 80, SameBins())


@pytest.mark.parametrize("bands", [2, 3, 17])
def test_two_layers_merged_are_the_two_layers(bands):
    torch.manual_seed(0)
    first = torch.nn.ConvTranspose2d(6, 5, (3, 4), (2, 2), (0, 2)).double()
    second = torch.nn.ConvTranspose2d(5, 1, (1, 5), (1, 4)).double()
    maps = torch.randn(2, 6, 7, bands).double()
    together = merged(first, second, maps)
    torch.testing.assert_close(together, second(first(maps)), rtol=0, atol=1e-12)


STRIDES = [8, 16, 32, 32]


def conv_cnn14(seed=0):
    """The compact decoder for maps as CNN14's, in few channels."""
    torch.manual_seed(seed)
    frequency = MelToBins(RATE, 1024, 80)
    return ConvInterpreter(CHANNELS, [4, 4, 8, 8, 8], 6, 80, frequency, STRIDES).eval()


@pytest.mark.parametrize("n_frames", [32, 63, 64, 431, 1000])
@torch.no_grad()
def test_conv_makes_a_mask_of_maps_that_skip_levels(n_frames):
    mask = conv_cnn14()(published_hidden(n_frames), encoded_of(n_frames))
    assert mask.shape == (1, n_frames, 513)
    assert mask.min() >= 0 and mask.max() <= 1 and mask.std() > 0


@pytest.mark.parametrize("place", range(4))
@torch.no_grad()
def test_an_event_in_a_map_of_cnn14_is_at_its_time_in_the_mask(place):
    # Weights and maps that are the same forwards and backwards in time: so is the mask
    # around the middle of the step, unless a level is out of place.
    decoder, stride = conv_cnn14(), STRIDES[place]
    for module in decoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.copy_((module.weight + module.weight.flip(2)) / 2)
    hidden = [torch.ones_like(maps) for maps in published_hidden(640)]
    before = decoder(hidden, encoded_of(640))
    step = 300 // stride
    hidden[place][:, :, step] += 3
    change = (decoder(hidden, encoded_of(640)) - before).abs().sum((0, 2))
    centre = (change * torch.arange(640)).sum() / change.sum()
    assert change.sum() > 0
    assert abs(centre - (step * stride + (stride - 1) / 2)) < 0.1


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


SCALARS = {
    "classifier": "\n    n_classes: 50",
    "interpreter/conv": f"\n    frequency:\n        sample_rate: {RATE}",
}


def part(name):
    """The object of a part file, as an experiment includes it."""
    scalars = [text for start, text in SCALARS.items() if name.startswith(start)]
    text = f"part: !include:{PARTS / name}.yaml" + "".join(scalars)
    return load_hyperpyyaml(text)["part"]


def test_published_has_the_published_number_of_parameters():
    with torch.device("meta"):  # 947 MB otherwise
        assert n_parameters(part("interpreter/published")) == 236_728_321


@pytest.mark.parametrize(
    "name, at_most",
    [
        ("interpreter/conv", 200_000),
        ("classifier/compact", 500_000),
        ("classifier/tiny", 500_000),
    ],
)
def test_the_compact_parts_are_compact(name, at_most):
    assert 1000 < n_parameters(part(name)) <= at_most


@torch.no_grad()
def test_the_parts_fit_each_other():
    classifier = part("classifier/compact").eval()
    interpreter = part("interpreter/conv")
    encoded = encoded_of(61)
    mask = interpreter(classifier(torch.rand(1, 61, 80)).hidden, encoded)
    assert mask.shape == encoded.rep.shape


def test_the_published_parts_fit_each_other():
    with torch.device("meta"):
        classifier = part("classifier/cnn14").eval()
        interpreter = part("interpreter/published")
        encoded = encoded_of(431)
        mask = interpreter(classifier(torch.empty(1, 431, 80)).hidden, encoded)
    assert mask.shape == (1, 431, 513)
