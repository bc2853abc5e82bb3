"""Second listener: known answers on tones, undefined clips, the map to tags."""

import logging
import math
from dataclasses import replace

import pytest
import torch

from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.domains.stft import MelDomain, STFTDomain
from speechbrain_lmac.evaluation.evaluate import evaluate
from speechbrain_lmac.inference import AudioClassifier
from speechbrain_lmac.metrics.checks.listeners import (
    ClassifierTags,
    SecondListener,
    yamnet_listener,
)
from speechbrain_lmac.metrics.checks.second_listener import (
    LISTENER_SCORES,
    TARGET_SCORES,
    ListenerCheck,
    best_class,
    scores_of,
    second_listener_scores,
)
from speechbrain_lmac.types import ClassifierOutput, Explanation
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import fingerprint_of
from tests.explained import explained

RATE = 16000
DOMAIN = STFTDomain(RATE)
LABELS = ["deep", "high", "middle"]
MAP = {"deep": ["500 Hz"], "middle": ["1500 Hz"], "high": ["4000 Hz", "6000 Hz"]}
DEEP, HIGH, MIDDLE = range(3)
INPUT, EXPLANATION, REST = (score.name for score in LISTENER_SCORES)


class Tones:
    """Amplitude of each tone: a classifier whose answers are known."""

    def __init__(self):
        self.frequencies = [1500, 6000, 500, 4000]
        self.tags = [f"{frequency} Hz" for frequency in self.frequencies]
        self.peaks = []
        self.lengths = []

    def scores(self, wav, sample_rate):
        self.peaks += wav.abs().amax(1).tolist()
        self.lengths.append(wav.shape[1])
        time = torch.arange(wav.shape[1]) / sample_rate
        waves = torch.exp(2j * math.pi * torch.tensor(self.frequencies)[:, None] * time)
        return 2 * (wav.cfloat() @ waves.T).abs() / wav.shape[1]


def listener(**settings):
    return SecondListener(Tones(), MAP, **settings)


def tone(frequency, amplitude=0.3, n_samples=8000):
    time = torch.arange(n_samples) / RATE
    return amplitude * torch.sin(2 * math.pi * frequency * time)


def below(hz, wavs, lens=None):
    """Clips under a mask that keeps what is below a frequency."""
    encoded = DOMAIN.encode(wavs, lens)
    mask = torch.zeros_like(encoded.rep)
    mask[..., : round(hz * (mask.shape[2] - 1) / (RATE / 2))] = 1
    return MaskedAudio(DOMAIN, encoded, mask)


def values(scores):
    return {name: score.tolist() for name, score in scores.items()}


# --- Known answers --------------------------------------------------------------------


def test_the_class_is_found_in_the_part_that_has_its_tone():
    wavs = torch.stack([tone(500) + 0.5 * tone(6000)] * 2)
    target, other = torch.tensor([DEEP, HIGH]), torch.tensor([HIGH, DEEP])
    scores = second_listener_scores(
        listener(), below(2000, wavs), target, LABELS, other=other
    )
    assert list(scores) == [s.name for s in scores_of(DOMAIN, two_classes=True)]
    of_parts = {
        "input": [100, 0],  # the deeper tone is louder
        "explanation": [100, 0],
        "rest": [0, 100],
    }
    assert values(scores) == {
        **{f"listener {part}": found for part, found in of_parts.items()},
        **{
            f"listener target over other {part}": found
            for part, found in of_parts.items()
        },
    }
    assert all(score.dtype == torch.float64 for score in scores.values())


def test_a_mask_of_ones_has_the_scores_of_the_input_and_no_rest():
    wavs = torch.stack([tone(500), tone(1500), tone(4000)])
    encoded = DOMAIN.encode(wavs)
    audio = MaskedAudio(DOMAIN, encoded, torch.ones_like(encoded.rep))
    target = torch.tensor([DEEP, DEEP, HIGH])
    scores = second_listener_scores(listener(), audio, target, LABELS)
    assert scores[INPUT].tolist() == scores[EXPLANATION].tolist() == [100, 0, 100]
    assert scores[REST].isnan().all()


def test_a_class_has_the_largest_of_its_tags_at_any_order_of_classes():
    wavs = torch.stack([tone(6000) + 0.8 * tone(1500)])
    found = listener().class_scores(wavs, RATE, LABELS)
    peak = wavs.abs().max().item()
    expected = torch.tensor([[0.0, 0.3 * 0.3 / peak, 0.3 * 0.24 / peak]]).double()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    order = [2, 0, 1]
    again = listener().class_scores(wavs, RATE, [LABELS[i] for i in order])
    assert torch.equal(again, found[:, order])


def test_classes_that_share_the_highest_score_share_the_clip():
    scores = torch.tensor([[0.5, 0.5, 0.5, 0.1]])
    shares = [best_class(scores, torch.tensor([i])).item() for i in range(4)]
    assert shares == pytest.approx([100 / 3, 100 / 3, 100 / 3, 0])


def test_every_part_has_the_chosen_peak_level():
    wavs = torch.stack([tone(500) + tone(6000, 0.01), tone(6000, 1.0) + tone(500)])
    target = torch.tensor([DEEP, HIGH])
    for settings, level, expected in (({}, None, 0.3), ({"level": 0.1}, 0.7, 0.7)):
        it = listener(**settings)
        second_listener_scores(it, below(2000, wavs), target, LABELS, level)
        assert it.classifier.peaks == pytest.approx([expected] * 6)


# --- Batches --------------------------------------------------------------------------


def test_silent_and_undefined_clips_are_nan_and_change_no_other():
    wavs = torch.stack([tone(500), torch.zeros(8000), tone(1500), tone(500, 1e-6)])
    audio = below(2000, wavs)
    mask = audio.mask.clone()
    mask[2] = math.nan
    scores = second_listener_scores(
        listener(), replace(audio, mask=mask), torch.zeros(4).long(), LABELS
    )
    assert scores[INPUT].isnan().tolist() == [False, True, False, True]
    assert scores[EXPLANATION].isnan().tolist() == [False, True, True, True]
    assert scores[EXPLANATION][0] == 100


def test_a_batch_of_silence_is_undefined():
    it = listener()
    scores = it.class_scores(torch.zeros(2, 100), RATE, LABELS)
    assert scores.shape == (2, 3) and scores.isnan().all()
    assert not it.classifier.lengths


def test_a_padded_clip_has_the_scores_that_it_has_alone():
    short = tone(6000, n_samples=2000)
    wavs = torch.stack([tone(500), torch.nn.functional.pad(short, (0, 6000))])
    lens = torch.tensor([1.0, 0.25])
    it = listener()
    target = torch.tensor([DEEP, HIGH])
    padded = second_listener_scores(it, below(2000, wavs, lens), target, LABELS)
    assert sorted(set(it.classifier.lengths)) == [2000, 8000]
    alone = second_listener_scores(it, below(2000, short[None]), target[1:], LABELS)
    assert {n: v[1:].tolist() for n, v in padded.items()} == values(alone)
    together = it.class_scores(wavs, RATE, LABELS, lens=lens)
    singly = it.class_scores(short[None], RATE, LABELS)
    torch.testing.assert_close(together[1:], singly)


def test_the_class_of_the_other_source_may_be_unknown():
    wavs = torch.stack([tone(500)] * 3)
    target, other = torch.tensor([DEEP] * 3), torch.tensor([-1, DEEP, HIGH])
    scores = second_listener_scores(
        listener(), below(2000, wavs), target, LABELS, other=other
    )
    over = scores[TARGET_SCORES[0].name]
    assert over.isnan().tolist() == [True, True, False] and over[2] == 100


def test_a_domain_without_audio_has_no_scores():
    domain = MelDomain(RATE)
    encoded = domain.encode(tone(500)[None])
    audio = MaskedAudio(domain, encoded, torch.ones_like(encoded.rep))
    assert not domain.listenable
    found = second_listener_scores(listener(), audio, torch.tensor([0]), LABELS)
    assert found == {} and scores_of(domain, two_classes=True) == ()


# --- Other classifiers ----------------------------------------------------------------


class Frequency:
    """A model of 8 kHz with the members of `AudioClassifier`: below 1 kHz or not."""

    labels = ["low", "not low"]
    sample_rate = 8000

    def classify_batch(self, wavs):
        power = torch.fft.rfft(wavs).abs().square()
        edge = power.shape[1] // 4  # of 4 kHz
        low = power[:, :edge].sum(1) / power.sum(1)
        probabilities = torch.stack([low, 1 - low], 1)
        return probabilities, *probabilities.max(1), ["low"] * len(wavs)


def test_a_classifier_of_another_rate_gets_resampled_waveforms():
    it = SecondListener(
        ClassifierTags(Frequency()),
        {"deep": ["low"], "middle": ["not low"], "high": ["not low"]},
    )
    wavs = torch.stack([tone(500), tone(1500)])
    scores = it.class_scores(wavs, RATE, LABELS)
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]).double()
    torch.testing.assert_close(scores, expected, atol=0.01, rtol=0)
    hit = best_class(scores, torch.tensor([HIGH, HIGH]))
    assert hit.tolist() == [0, 50]  # shared by `middle` and `high`


def test_an_audio_classifier_agrees_with_its_own_decisions():
    model = AudioClassifier.from_hparams("esc10-classifier")
    wavs = torch.randn(3, 8000, generator=torch.Generator().manual_seed(0))
    wavs[1:] = torch.stack([tone(500), tone(3000)])
    decisions = model.classify_batch(wavs)[2]
    it = SecondListener(ClassifierTags(model), {name: [name] for name in model.labels})
    scores = it.class_scores(wavs, model.sample_rate, model.labels)
    assert best_class(scores, decisions).tolist() == [100, 100, 100]
    assert fingerprint_of(it) == fingerprint_of(it)


# --- The map --------------------------------------------------------------------------


def test_classes_without_a_tag_are_named():
    it = SecondListener(Tones(), {"deep": ["500 Hz"], "middle": []})
    with pytest.raises(InputError, match="high, middle"):
        it.class_scores(tone(500)[None], RATE, LABELS)
    assert it.class_scores(tone(500)[None], RATE, ["deep"]).shape == (1, 1)


def test_an_unknown_tag_is_named_with_similar_ones():
    with pytest.raises(InputError, match="'4001 Hz' for 'high'.*4000 Hz"):
        SecondListener(Tones(), {"high": ["4001 Hz"]})
    with pytest.raises(InputError, match="'x' for 'high'.*1500 Hz"):
        SecondListener(Tones(), {"high": ["x"]})


@pytest.mark.parametrize("level", [0, 1.5, math.nan, -0.3])
def test_a_level_is_a_peak_of_full_scale(level):
    with pytest.raises(InputError, match=f"level .*got {level}"):
        listener(level=level)
    with pytest.raises(InputError, match=f"level .*got {level}"):
        listener().class_scores(tone(500)[None], RATE, LABELS, level=level)


def test_rows_depend_on_the_map_and_the_level():
    prints = {
        fingerprint_of(SecondListener(Tones(), MAP)),
        fingerprint_of(SecondListener(Tones(), MAP, level=0.1)),
        fingerprint_of(SecondListener(Tones(), {**MAP, "high": ["6000 Hz"]})),
    }
    assert len(prints) == 3
    assert fingerprint_of(SecondListener(Tones(), MAP)) in prints


# --- Columns of a table ---------------------------------------------------------------


def zeros(features):
    """A classifier without preference."""
    return ClassifierOutput(torch.zeros(len(features), 3), ())


def batch_of(wavs, hz, target, lens=None, **known):
    audio = below(hz, wavs, lens)
    explanation = Explanation(
        audio.mask, torch.tensor(target), audio.encoded, torch.zeros(len(wavs), 3)
    )
    return explained(DOMAIN, zeros, explanation, LABELS, **known)


def test_the_columns_follow_the_classes_of_the_sources():
    check = ListenerCheck(listener())
    wavs = torch.stack([tone(500) + 0.5 * tone(6000)] * 3)
    classes = torch.tensor([DEEP] * 3), torch.tensor([HIGH, HIGH, -1])
    scores = check(batch_of(wavs, 2000, [DEEP, HIGH, DEEP], classes=classes))
    truth = GroundTruth(classes=lambda ids: classes)
    assert list(scores) == [score.name for score in check.scores(DOMAIN, truth)]
    over = scores["listener target over other rest"].tolist()
    assert over[:2] == [0, 100] and math.isnan(over[2])
    assert scores[EXPLANATION].tolist() == [100, 0, 100]
    without = check(batch_of(wavs, 2000, [DEEP, HIGH, DEEP]))
    assert list(without) == [INPUT, EXPLANATION, REST]
    assert check.scores(MelDomain(RATE), truth) == ()


def test_the_input_of_a_clip_is_scored_once_for_all_methods():
    check = ListenerCheck(listener())
    short = torch.nn.functional.pad(tone(6000, n_samples=2000), (0, 6000))
    wavs, lens = torch.stack([tone(500), short]), torch.tensor([1.0, 0.25])
    heard = check.listener.classifier.lengths
    both = [check(batch_of(wavs, hz, [DEEP, HIGH], lens)) for hz in (2000, 7000)]
    assert len(heard) == 2 + 2 * 4
    assert both[0][INPUT].tolist() == both[1][INPUT].tolist() == [100, 100]
    heard.clear()
    # Another recording with the same samples up to its padding is another clip.
    check(batch_of(wavs[1:], 7000, [HIGH]))
    assert heard == [8000] * 3


class NeverAsked:
    def explain(self, wav, target=None, lens=None):
        raise AssertionError


@pytest.mark.parametrize("labels, named", [([*LABELS, "hum"], "hum"), (None, "None")])
def test_classes_are_compared_with_the_tags_before_the_first_explanation(labels, named):
    with pytest.raises(InputError, match=named):
        evaluate(
            {"method": NeverAsked()},
            [ClipBatch(["a"], tone(500)[None])],
            DOMAIN,
            zeros,
            class_names=labels,
            checks=[ListenerCheck(listener())],
        )


def test_without_weights_there_are_no_columns_and_one_warning(caplog):
    check = ListenerCheck(yamnet_listener("", MAP))
    check.check_labels(None)
    with caplog.at_level(logging.WARNING):
        assert [check.scores(DOMAIN, GroundTruth()) for _ in range(2)] == [(), ()]
    assert check(batch_of(tone(500)[None], 2000, [DEEP])) == {}
    assert len(caplog.records) == 1 and "yamnet_folder" in caplog.text
