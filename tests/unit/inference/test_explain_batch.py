"""Explaining files of any rate, length, level and channel count."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain, STFTDomain
from speechbrain_lmac.explainers import AllOnesExplainer, AmortizedExplainer
from speechbrain_lmac.inference.batches.names import prompt_names, unique_names
from speechbrain_lmac.inference.explain_file import explain_file
from speechbrain_lmac.inference.written_files import write_explanation
from speechbrain_lmac.interpreters import ConvInterpreter, MelToBins
from speechbrain_lmac.utils.errors import InputError

LABELS = ["cat", "dog", "rain"]
MODEL_RATE = 16000
PARTS = ("input", "explanation", "rest")


@pytest.fixture(scope="module")
def explainer():
    """Untrained: its mask is neither 0 nor 1 anywhere."""
    torch.manual_seed(0)
    return AmortizedExplainer(
        STFTDomain(sample_rate=MODEL_RATE),
        CompactClassifier(3, channels=(3, 4)).eval(),
        ConvInterpreter([3, 4], [3, 3], 2, 80, MelToBins(MODEL_RATE, 1024, 80)).eval(),
    )


def write(path, wav, rate):
    soundfile.write(path, wav, rate, subtype="FLOAT")
    return path


def noise(rate, seconds, n_channels=1):
    draw = np.random.default_rng(0)
    return 0.1 * draw.standard_normal((round(rate * seconds), n_channels))


def error_db(estimate, reference):
    """Energy of the difference over that of the reference, dB."""
    estimate, reference = np.asarray(estimate), np.asarray(reference)
    error = np.square(estimate - reference).sum() / np.square(reference).sum()
    return 10 * math.log10(error)


def band_limited(wav, rate, top_hz):
    """What of a waveform lies below a frequency."""
    spectrum = np.fft.rfft(wav)
    spectrum[np.fft.rfftfreq(len(wav), 1 / rate) > top_hz] = 0
    return np.fft.irfft(spectrum, len(wav))


@pytest.mark.parametrize(
    "rate, seconds, n_channels",
    [
        (16000, 0.2, 1),
        (16000, 70.0, 1),
        (96000, 1.0, 2),
        (8000, 1.0, 1),
        (44100, 0.5, 6),
        (44101, 0.5, 1),
        (44100, 1 / 44100, 1),
        (22050, 0.00731, 1),
    ],
)
def test_what_is_heard_has_the_files_length_and_rate(
    explainer, tmp_path, rate, seconds, n_channels
):
    wav = noise(rate, seconds, n_channels)
    explained = explain_file(explainer, write(tmp_path / "a.wav", wav, rate), LABELS)
    assert explained.sample_rate == rate
    assert explained.model_rate == MODEL_RATE
    for part in PARTS:
        heard = getattr(explained, part)
        assert heard.shape == (len(wav),)
        assert torch.isfinite(heard).all()
    n_frames = math.ceil(len(wav) * MODEL_RATE / rate) // 186 + 1
    for maps in (explained.magnitude, explained.mask, explained.masked_magnitude):
        assert maps.shape == (n_frames, 513)
    assert 0 < explained.mask.min() <= explained.mask.max() < 1
    assert explained.mask_mean == pytest.approx(explained.mask.mean().item(), rel=1e-4)
    assert explained.predicted in LABELS
    for share in ("confidence", "confidence_in", "confidence_out"):
        assert 0 <= getattr(explained, share) <= 1
    assert explained.confidence >= 1 / 3 - 1e-6  # of the predicted of three classes


def test_the_input_at_the_models_rate_is_the_file(explainer, tmp_path):
    wav = noise(MODEL_RATE, 0.5).astype("float32")
    path = write(tmp_path / "a.wav", wav, MODEL_RATE)
    explained = explain_file(explainer, path, LABELS)
    assert np.array_equal(explained.input.numpy(), wav[:, 0])


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_the_input_is_the_file_below_the_models_highest_frequency(
    explainer, tmp_path, rate
):
    # Band-limited to where neither filter has begun to fall, and a high part that
    # the model cannot hear.
    low = band_limited(noise(rate, 1.0)[:, 0], rate, min(3000, rate / 3))
    high = noise(rate, 1.0)[:, 0] - band_limited(noise(rate, 1.0)[:, 0], rate, 9000)
    wav = np.stack([low + high, low - 0.5 * high], 1)
    explained = explain_file(explainer, write(tmp_path / "a.wav", wav, rate), LABELS)
    inner = slice(rate // 20, -rate // 20)
    assert error_db(explained.input[inner], low[inner]) < -30


@pytest.mark.parametrize("domain", [STFTDomain, MagnitudeSTFTDomain])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_an_explanation_of_everything_is_the_input(tmp_path, domain, rate):
    classifier = CompactClassifier(3, channels=(3, 4)).eval()
    everything = AllOnesExplainer(domain(sample_rate=MODEL_RATE), classifier)
    path = write(tmp_path / "a.wav", noise(rate, 0.7), rate)
    explained = explain_file(everything, path, LABELS)
    assert error_db(explained.explanation, explained.input) < -40
    assert not explained.rest.any()
    assert explained.confidence_in == pytest.approx(explained.confidence, abs=1e-6)
    assert explained.mask_mean == 1


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_quieter_file_sounds_quieter_and_is_explained_alike(
    explainer, tmp_path, rate
):
    wav = noise(rate, 0.5)
    wav[100] = -0.9  # the peak is negative: its sign must survive
    loud = explain_file(explainer, write(tmp_path / "a.wav", wav, rate), LABELS)
    soft = explain_file(explainer, write(tmp_path / "b.wav", 0.1 * wav, rate), LABELS)
    for part in PARTS:
        wanted = 0.1 * getattr(loud, part)
        assert wanted.any()
        assert error_db(getattr(soft, part), wanted) < -80
    assert soft.predicted == loud.predicted
    torch.testing.assert_close(soft.mask, loud.mask, rtol=1e-3, atol=1e-4)


def test_both_parts_of_a_masked_magnitude_are_the_whole(tmp_path, explainer):
    # M |X| + (1 - M) |X| = |X|: holds for the magnitude, not for its logarithm.
    halves = AmortizedExplainer(
        MagnitudeSTFTDomain(sample_rate=MODEL_RATE),
        explainer.classifier,
        explainer.interpreter,
    )
    path = write(tmp_path / "a.wav", noise(MODEL_RATE, 0.5), MODEL_RATE)
    explained = explain_file(halves, path, LABELS)
    both = explained.explanation + explained.rest
    assert error_db(both.detach(), explained.input) < -60


@pytest.mark.parametrize("rate", [16000, 44100])
def test_silence_is_explained_by_silence(explainer, tmp_path, rate):
    path = write(tmp_path / "silent.wav", np.zeros(rate // 2), rate)
    explained = explain_file(explainer, path, LABELS)
    for part in PARTS:
        assert getattr(explained, part).shape == (rate // 2,)
        assert not getattr(explained, part).any()
    assert explained.row()["silent"] is True
    assert math.isfinite(explained.confidence)
    write_explanation(explained, tmp_path / "out", "silent")
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize("content", [None, b"no audio", b""])
def test_files_that_cannot_be_read_are_named(explainer, tmp_path, content):
    path = tmp_path / "clip.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"clip\.wav"):
        explain_file(explainer, path, LABELS)


def test_what_is_written_is_what_was_explained(explainer, tmp_path):
    path = write(tmp_path / "a.wav", 20 * noise(44100, 0.5), 44100)  # far beyond 1
    explained = explain_file(explainer, path, LABELS)
    write_explanation(explained, tmp_path / "new" / "out", "a")
    folder = tmp_path / "new" / "out"
    names = [f"a_{part}.wav" for part in PARTS]
    assert {file.name for file in folder.iterdir()} == {"a.png", *names}
    for part, name in zip(PARTS, names, strict=True):
        wav, rate = soundfile.read(folder / name, dtype="float32", always_2d=True)
        assert rate == 44100
        assert wav.shape[1] == 1
        assert np.array_equal(wav[:, 0], getattr(explained, part).detach().numpy())
    assert np.abs(wav).max() > 1  # nothing is clipped


def test_the_row_of_the_table(explainer, tmp_path):
    path = write(tmp_path / "a.wav", noise(44100, 0.5), 44100)
    explained = explain_file(explainer, path, LABELS)
    row = explained.row()
    assert row["file"] == str(path)
    assert row["seconds"] == pytest.approx(0.5)
    assert row["sample_rate"] == 44100
    assert row["silent"] is False
    scores = [row[f"confidence{which}"] for which in ("", "_explanation", "_rest")]
    assert scores == [
        explained.confidence,
        explained.confidence_in,
        explained.confidence_out,
    ]


def test_nothing_of_an_explanation_hangs_on_the_graph(explainer, tmp_path):
    path = write(tmp_path / "a.wav", noise(MODEL_RATE, 0.2), MODEL_RATE)
    explained = explain_file(explainer, path, LABELS)
    for name in (*PARTS, "mask", "magnitude", "masked_magnitude"):
        assert not getattr(explained, name).requires_grad


@pytest.mark.parametrize(
    "paths, names",
    [
        (["a/dog.wav", "b/dog.wav", "cat.flac"], ["dog", "dog_2", "cat"]),
        (["dog.wav", "dog_2.wav", "x/dog.wav"], ["dog", "dog_2", "dog_3"]),
        (["dog_2.wav", "dog.wav", "x/dog.ogg"], ["dog_2", "dog", "dog_3"]),
    ],
)
def test_names_are_unique(paths, names):
    assert unique_names(paths) == names


# --- Another class than the predicted one ---------------------------------------------


class OfTheTarget(AllOnesExplainer):
    """Keeps a share of everything that depends on the class asked for."""

    def explain(self, wav, target=None):
        given = super().explain(wav, target)
        share = (1 + given.target[:, None, None]) / 4
        return replace(given, mask=share * given.mask)


def test_the_class_that_is_asked_for_is_explained(explainer, tmp_path):
    path = write(tmp_path / "a.wav", noise(16000, 0.5), 16000)
    asked = OfTheTarget(explainer.domain, explainer.classifier)
    predicted = explain_file(asked, path, LABELS)
    assert predicted.explained == predicted.predicted
    confidences = {}
    for place, name in enumerate(LABELS):
        explained = explain_file(asked, path, LABELS, target=name)
        assert explained.explained == explained.row()["explained"] == name
        assert explained.predicted == explained.row()["predicted"]
        assert explained.predicted == predicted.predicted
        assert explained.mask_mean == pytest.approx((1 + place) / 4)
        confidences[name] = explained.confidence
    assert sum(confidences.values()) == pytest.approx(1)
    assert confidences[predicted.predicted] == max(confidences.values())


@pytest.mark.parametrize(
    "name, named",
    [
        ("rian", r"'rian'.* rain\?.* cat, dog, rain"),
        ("xylophone", "'xylophone'[^?]* cat, dog, rain"),
    ],
)
def test_an_unknown_class_is_refused(explainer, tmp_path, name, named):
    path = write(tmp_path / "a.wav", noise(16000, 0.5), 16000)
    with pytest.raises(InputError, match=named):
        explain_file(explainer, path, LABELS, target=name)


def test_prompts_have_safe_and_distinct_names():
    prompts = ["a dog", "a  dog", "a dog 2", "A DOG!", "../..", "\u96e8", "x" * 300]
    prompts += ["x" * 299, "con", "tab\there", "a_dog"]
    names = prompt_names(prompts)
    assert len(set(names)) == len(names) == len(prompts)
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
    assert max(map(len, names)) <= 63
    assert names[:4] == ["a-dog", "a-dog-2", "a-dog-2-2", "a-dog-3"]
