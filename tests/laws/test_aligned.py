"""What holds for the decoder of any hidden maps: size, place, independence."""

import pytest
import torch

from speechbrain_lmac.classifiers.layouts import Places
from speechbrain_lmac.classifiers.waveform import MapGrid
from speechbrain_lmac.domains.stft import WaveformSTFTDomain
from speechbrain_lmac.interpreters import AlignedInterpreter

RATE, HOP = 16000, 186
EVENLY = Places(0.0625, 0.125)  # eight bands


class Announced:
    """A classifier that has these maps."""

    def __init__(self, grids):
        self.grids = grids

    def hidden_grids(self):
        return self.grids


GRIDS = {
    "1-D CNN": MapGrid(6, 1, Places(0.0, 128.0), Places(0.5, 1.0)),
    "wav2vec 2.0": MapGrid(5, 1, Places(199.5, 320.0), Places(0.5, 1.0)),
    # 10.24 s, of which a shorter clip is the beginning.
    "AST": MapGrid(4, 8, Places(1399.5, 1600.0), EVENLY),
    "evenly": MapGrid(3, 8, None, EVENLY),
}
STEPS = {"1-D CNN": 625, "wav2vec 2.0": 249, "AST": 101, "evenly": 50}  # of 5 s


@pytest.fixture(scope="module")
def domain():
    return WaveformSTFTDomain(RATE)


@pytest.fixture(scope="module")
def interpreter(domain):
    return decoder(domain)


def decoder(domain):
    torch.manual_seed(0)
    interpreter = AlignedInterpreter(Announced(list(GRIDS.values())), domain, width=8)
    return interpreter.eval()


def encoded_of(domain, n_clips=1, seconds=5.0):
    draw = torch.Generator().manual_seed(0)
    wav = torch.randn(n_clips, round(seconds * RATE), generator=draw)
    return domain.encode(wav)


def hidden_of(n_clips=1, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(n_clips, grid.channels, STEPS[name], grid.n_bands, generator=draw)
        for name, grid in GRIDS.items()
    )


@pytest.mark.parametrize("seconds", [1 / RATE, 0.05, 1.0, 2.34, 12.0])
@torch.no_grad()
def test_a_mask_for_clips_of_any_length(domain, interpreter, seconds):
    encoded = encoded_of(domain, 2, seconds)
    mask = interpreter(hidden_of(2), encoded)
    assert mask.shape == encoded.rep.shape
    assert ((mask > 0) & (mask < 1)).all()


# The mask moves from half a coarse step (8 frames), or a step of the map, before the
# event to as much behind it; doubling and 3x3 convolutions reach further on both sides
# alike: 20 frames on the coarse grid of 8 frames, 10 and 5 on the finer ones.
REACH_S = 35 * HOP / RATE


@pytest.mark.parametrize("second", [1.0, 2.5, 3.9])
@pytest.mark.parametrize("name", GRIDS)
def test_an_event_in_a_map_moves_the_mask_at_its_time(
    domain, interpreter, name, second
):
    layer, grid = list(GRIDS).index(name), GRIDS[name]
    places = grid.steps or Places(800.0, 1600.0)  # 50 steps of 5 s
    step = round((second * RATE - places.first) / places.hop)
    event = (places.first + step * places.hop) / RATE
    encoded, hidden = encoded_of(domain), hidden_of()
    louder = list(hidden)
    louder[layer] = hidden[layer].clone()
    louder[layer][:, :, step] += 5.0
    with torch.no_grad():
        moves = interpreter(tuple(louder), encoded) - interpreter(hidden, encoded)
    frames = moves[0].abs().amax(1)
    moved = frames.nonzero()[:, 0] * HOP / RATE
    assert moved.numel()
    reach = REACH_S + places.hop / RATE
    assert event - reach <= moved.min() and moved.max() <= event + reach
    # Its middle, weighted by how much it moves, is at the event to a coarse step.
    middle = (frames * torch.arange(len(frames))).sum() / frames.sum() * HOP / RATE
    assert middle.item() == pytest.approx(event, abs=8 * HOP / RATE)


@pytest.mark.parametrize("band", [1, 4, 6])
def test_an_event_in_a_band_moves_the_mask_at_its_frequency(domain, interpreter, band):
    encoded, hidden = encoded_of(domain), hidden_of()
    layer = list(GRIDS).index("AST")
    louder = list(hidden)
    louder[layer] = hidden[layer].clone()
    louder[layer][..., band] += 5.0
    with torch.no_grad():
        moves = interpreter(tuple(louder), encoded) - interpreter(hidden, encoded)
    bins = moves[0].abs().mean(0)
    # The middle of the map's band on the mel axis, from 0 to 2840 mel at 8 kHz.
    hz = 700 * (10 ** ((band + 0.5) / 8 * 2840.0 / 2595) - 1)
    mel = 2595 * torch.log10(1 + torch.arange(513) * RATE / 1024 / 700)
    width = torch.diff(mel, prepend=mel[:1])  # bins lie denser at high mel
    middle = (bins * width * mel).sum() / (bins * width).sum()
    middle_hz = 700 * (10 ** (middle.item() / 2595) - 1)
    assert 0.6 < middle_hz / hz < 1.7


@torch.no_grad()
def test_masks_do_not_depend_on_the_batch(domain, interpreter):
    hidden, encoded = hidden_of(3), encoded_of(domain, 3)
    mask = interpreter(hidden, encoded)
    for item in range(3):
        alone = interpreter(
            tuple(maps[item : item + 1] for maps in hidden), encoded_of(domain)
        )
        torch.testing.assert_close(mask[item], alone[0], rtol=1e-5, atol=1e-6)


def test_the_mask_depends_on_every_map_and_weight(domain):
    interpreter = decoder(domain).train()
    hidden = tuple(maps.requires_grad_() for maps in hidden_of(2))
    interpreter(hidden, encoded_of(domain, 2))[:, :, 100].sum().backward()
    assert all(maps.grad.any() for maps in hidden)
    assert all(p.grad.any() for p in interpreter.parameters())


def test_maps_of_any_level_weigh_alike(domain):
    # Layers of transformers differ in level by orders of magnitude.
    interpreter = decoder(domain).train()
    hidden = hidden_of(2)
    louder = (hidden[0], 1000 * hidden[1], *hidden[2:])
    encoded = encoded_of(domain, 2)
    with torch.no_grad():
        one, other = interpreter(hidden, encoded), interpreter(louder, encoded)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-3)


def test_the_mask_is_float32_under_autocast(domain, interpreter):
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        mask = interpreter(hidden_of(), encoded_of(domain))
    assert mask.dtype == torch.float32


def test_the_classifier_is_not_kept(domain, interpreter):
    attributes = [
        value for module in interpreter.modules() for value in vars(module).values()
    ]
    assert not any(isinstance(value, Announced) for value in attributes)
