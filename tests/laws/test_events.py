"""Events lie where their manifest says, and are found where masks keep them."""

import json

import pytest
import soundfile
import torch
from sklearn.metrics import f1_score, jaccard_score

from speechbrain_lmac.data.conditions import GroundTruth, MixtureCondition
from speechbrain_lmac.data.contaminants import Generated, OtherClips
from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.data.events import Events, loudest_part
from speechbrain_lmac.domains import LearnedDomain, MelDomain, STFTDomain
from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.dsp.mixing import measured_snr
from speechbrain_lmac.metrics.checks.events import (
    EVENT_SCORES,
    EventLocalisation,
    event_f1,
    event_iou,
    pointing_game,
)
from speechbrain_lmac.types import ClassifierOutput, Explanation
from speechbrain_lmac.utils.errors import InputError
from tests.explained import explained

RATE, N = 16000, 16000
LABELS = ["dog", "rain"]
SECONDS = (0.1, 0.3)


def clip_with_burst(offset, length, key=0):
    """A waveform (N,) of faint noise with a loud burst."""
    draw = torch.Generator().manual_seed(key)
    wav = 0.001 * torch.randn(N, generator=draw)
    wav[offset : offset + length] += 0.5 * torch.randn(length, generator=draw)
    return wav.clamp(-1, 1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """(dataset, manifest folder): dogs with a burst each, and rain."""
    folder = tmp_path_factory.mktemp("events")
    entries = {}
    for key, (name, offset, length) in enumerate(
        [("dog0", 2000, 3200), ("dog1", 9000, 9000), ("rain0", 0, N)]
    ):
        wav = clip_with_burst(offset, min(length, N - offset), key)
        soundfile.write(folder / f"{name}.wav", wav.numpy(), RATE, "FLOAT")
        wav_name = f"{{data_root}}/{name}.wav"
        entries[name] = {"wav": wav_name, "category": name[:-1]}
    (folder / "test.json").write_text(json.dumps(entries))
    dataset = ClipDataset(lambda *_: None, folder, LABELS, len(LABELS), RATE, N / RATE)
    return dataset, folder


def opened(clips, background=None, classes=("dog",), **options):
    events = Events(background or Generated("events"), list(classes), SECONDS)
    options = {"per_clip": 5, **options}
    return MixtureCondition(events, **options).open(*clips, "test", LABELS)


# --- The loudest part -----------------------------------------------------------------


def test_the_loudest_part_is_the_burst_at_any_time_and_level():
    for offset in (0, 500, N - 3200):
        for gain in (1.0, 1e-3):
            wav = gain * clip_with_burst(offset, 3200)
            first, length = loudest_part(wav, 1600, 4800)
            # 5 % of the energy of 3,200 samples of noise lie before it, 5 % after.
            assert abs(first - offset - 160) < 60
            assert abs(length - 2880) < 90


def test_the_loudest_part_keeps_its_bounds():
    click = torch.zeros(N)
    click[N - 1] = 1
    assert loudest_part(click, 1600, 4800) == (N - 1600, 1600)
    assert loudest_part(torch.ones(N), 1600, 4800)[1] == 4320  # 90 % of 4,800
    assert loudest_part(torch.zeros(N), 1600, 4800) == (0, 1600)
    assert loudest_part(torch.ones(800), 1600, 4800) == (0, 800)


# --- The frozen mixtures --------------------------------------------------------------


def test_an_event_lies_where_the_manifest_says(clips):
    condition = opened(clips)
    start, end = condition.truth.of(condition.clips.ids)["events"]
    source = soundfile.read(clips[1] / "dog0.wav", dtype="float32")[0]
    for name, first, last in zip(condition.clips.ids, start, end, strict=True):
        entry = condition.clips.entries[name]
        event = entry["event"]
        mixture, foreground, background = condition.clips.render(name)
        torch.testing.assert_close(foreground + background, mixture, rtol=0, atol=0)
        sounding = foreground.nonzero().flatten()
        assert abs(sounding[0] / RATE - first) < 1e-3
        assert abs((sounding[-1] + 1) / RATE - last) < 1e-3
        own = foreground[sounding[0] : sounding[-1] + 1]
        # Of mean powers, the event's over its own length.
        share_db = 10 * torch.tensor(event["length"] / N).log10().item()
        snr = measured_snr(foreground, background) - share_db
        assert snr == pytest.approx(6, abs=1e-3)
        assert 0.1 <= last - first <= 0.3
        if entry["base"] == "dog0":
            fade = event["fade"]
            of_clip = torch.tensor(source[event["offset"] :][: event["length"]])
            middle = slice(fade, event["length"] - fade)
            gain = own[middle].norm() / of_clip[middle].norm()
            torch.testing.assert_close(own[middle], gain * of_clip[middle])
            assert own[:fade].norm() < (gain * of_clip[:fade]).norm()


def test_positions_are_spread_over_the_clip_and_drawn_for_it_alone(clips):
    condition = opened(clips)
    names = condition.clips.ids
    assert names == [f"dog{i}+{k}" for i in range(2) for k in range(5)]
    assert condition.bases_of(names) == ["dog0"] * 5 + ["dog1"] * 5
    events = [condition.clips.entries[name]["event"] for name in names]
    for k, event in enumerate(events):
        part = event["position"] / (N - event["length"]) * 5
        assert int(part) == k % 5
    assert events[0]["position"] != events[5]["position"]
    other = opened(clips, seed=1)
    moved = [other.clips.entries[name]["event"]["position"] for name in names]
    assert all(a != b["position"] for a, b in zip(moved, events, strict=True))


def test_only_conditions_with_events_know_times(clips):
    noise = MixtureCondition(Generated()).open(*clips, "test", LABELS)
    assert noise.truth.events is None
    condition = opened(clips, OtherClips())
    _, background = condition.truth.of(condition.clips.ids)["classes"]
    assert background.unique().tolist() == [LABELS.index("rain")]
    batch = [condition.clips[k] for k in range(3)]
    assert [item["label"] for item in batch] == [0, 0, 0]
    assert [item["lens"] for item in batch] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"classes": []}, "classes"),
        ({"classes": "dog"}, "'dog'"),
        ({"classes": ["dog"], "seconds": [1.0, 0.3]}, "1 and 0.3"),
        ({"classes": ["dog"], "seconds": [0.3]}, "[0.3]"),
        ({"classes": ["dog"], "snr_db": "loud"}, "snr_db"),
    ],
)
def test_a_wrong_setting_is_named(options, named):
    with pytest.raises(InputError, match="[a-z]") as error:
        Events(Generated(), **options)
    assert named in str(error.value)


def test_a_class_without_a_clip_is_named(clips):
    with pytest.raises(InputError, match="cat"):
        opened(clips, classes=["cat", "dog"])


# --- The scores -----------------------------------------------------------------------


def test_scores_are_those_of_sklearn():
    draw = torch.Generator().manual_seed(3)
    saliency = torch.rand(20, 50, generator=draw, dtype=torch.float64)
    event = torch.zeros(20, 50, dtype=torch.bool)
    for row in range(20):
        event[row, row : 2 * row + 3] = True
    rows = list(zip(saliency, event, strict=True))
    ious, f1s, hits = [], [], []
    for own, true in rows:
        chosen = torch.zeros(50, dtype=torch.bool)
        chosen[own.argsort(descending=True)[: int(true.sum())]] = True
        ious.append(jaccard_score(true, chosen))
        f1s.append(f1_score(true, own >= own.max() / 2))
        hits.append(100.0 * true[own.argmax()])
    for score, expected in ((event_iou, ious), (event_f1, f1s), (pointing_game, hits)):
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(score(saliency, event), expected)


def test_equal_frames_have_the_chance_level():
    event = torch.zeros(1, 100, dtype=torch.bool)
    event[0, :20] = True
    for level in (0.0, 1.0):
        flat = torch.full((1, 100), level, dtype=torch.float64)
        assert event_iou(flat, event).item() == pytest.approx(4 / 36)
        assert event_f1(flat, event).item() == pytest.approx(40 / 120)
        assert pointing_game(flat, event).item() == pytest.approx(20)


def test_undefined_scores_are_nan():
    event = torch.tensor([[True, False], [False, False]])
    saliency = torch.tensor([[torch.nan, 1.0], [0.5, 1.0]])
    for score in (event_iou, event_f1, pointing_game):
        assert score(saliency, event).isnan().all()


# --- The check ------------------------------------------------------------------------


class FirstClass:
    """The class of index 0, whatever the input."""

    masks_padding = True

    def __call__(self, features, lengths=None):
        return ClassifierOutput(torch.tensor([[1.0, 0.0]] * len(features)), ())


STFT = STFTDomain(RATE)
DOMAINS = {
    "STFT": STFT,
    "mel": MelDomain(RATE),
    "learned": LearnedDomain(STFT, Codec(RATE, kernel_size=16, n_channels=32)),
}
START, END = 0.4, 0.6


def batch_of(domain, keep, wav=None, lens=None, label=None):
    """Explanations whose masks keep a time in seconds, of events START to END."""
    wav = torch.randn(1, N) if wav is None else wav
    encoded = domain.encode(wav, lens)
    time = torch.arange(encoded.rep.shape[1]) * domain.rep_step / RATE
    inside = (time >= keep[0]) & (time < keep[1])
    mask = inside.float()[None, :, None].expand_as(encoded.rep).contiguous()
    n = len(wav)
    explanation = Explanation(
        mask, torch.zeros(n, dtype=torch.int64), encoded, torch.tensor([[1.0, 0]] * n)
    )
    events = (torch.full((n,), START), torch.full((n,), END))
    return explained(domain, FirstClass(), explanation, events=events, label=label)


@pytest.mark.parametrize("name", DOMAINS)
def test_a_mask_of_the_event_is_right_and_one_beside_it_wrong(name):
    domain = DOMAINS[name]
    right = EventLocalisation()(batch_of(domain, (START, END)))
    # Pooling the codec's frames may move an edge by one frame of 17.
    assert right["event IoU"].item() > (0.85 if name == "learned" else 1 - 1e-9)
    assert right["pointing game"].item() == 100
    wrong = EventLocalisation()(batch_of(domain, (0.1, 0.3)))
    assert max(value.item() for value in wrong.values()) < 0.1


def test_padding_changes_no_score():
    lens = torch.tensor([0.75, 1.0])
    wav = torch.randn(2, N)
    together = EventLocalisation()(batch_of(STFT, (0.5, 0.9), wav, lens))
    alone = EventLocalisation()(batch_of(STFT, (0.5, 0.9), wav[:1, : 3 * N // 4]))
    for name, values in together.items():
        assert values[0].item() == pytest.approx(alone[name].item(), abs=1e-9)


def test_clips_of_another_decision_are_undefined_and_unknown_times_have_no_score():
    label = torch.tensor([0, 1])
    scores = EventLocalisation()(
        batch_of(STFT, (START, END), torch.randn(2, N), label=label)
    )
    assert list(scores) == [score.name for score in EVENT_SCORES]
    for values in scores.values():
        assert values.isnan().tolist() == [False, True]
    known = GroundTruth(events=lambda ids: (torch.zeros(1), torch.ones(1)))
    assert EventLocalisation().scores(STFT, known) == EVENT_SCORES
    assert EventLocalisation().scores(STFT, GroundTruth()) == ()
