"""A row says what `classify_file` says of the file and of the sounds written."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.domains.learned import LearnedDomain
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.dsp import audio_streams
from speechbrain_lmac.dsp.audio_streams import MonoFile
from speechbrain_lmac.dsp.toy_sounds import render_clip
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.hub.registry import shipped_models
from speechbrain_lmac.inference import AudioClassifier, AudioExplainer
from speechbrain_lmac.inference.explain_batch import check_logits, classify_waveforms
from speechbrain_lmac.inference.explain_file import explain_file
from speechbrain_lmac.inference.explain_files import explain_files
from speechbrain_lmac.inference.written_files import (
    Columns,
    write_explanation,
    write_request,
)
from speechbrain_lmac.utils.errors import InputError

CPU = {"device": "cpu"}
EXPLAINERS = sorted(set(shipped_models()) - {"esc10-classifier"})
HEARD = ("heard_confidence_in", "heard_confidence_out")
CONFIDENCES = ("confidence", *HEARD, "confidence_in", "confidence_out")


@pytest.fixture(scope="module")
def loaded():
    """`loaded(name)`: an explainer and its classifier, once."""
    models = {}

    def load(name):
        if name not in models:
            kinds = (AudioExplainer, AudioClassifier)
            models[name] = [k.from_hparams(name, run_opts=CPU) for k in kinds]
        return models[name]

    return load


def sound(rate, seconds, first=0):
    """Generated sounds one after the other, at different levels."""
    n_clips = int(np.ceil(seconds / 3))
    clips = [
        render_clip(1234, first + i, rate, 3.0)["clip"] / 32768 * 0.7**i
        for i in range(n_clips)
    ]
    return np.concatenate(clips)[: round(rate * seconds)].astype("float32")


def write(path, wav, rate):
    soundfile.write(path, wav, rate, subtype="FLOAT")
    return path


def of_class(classifier, path, label):
    """The probability of a class by `classify_file`."""
    probabilities, *_ = classifier.classify_file(path)
    return probabilities[0, classifier.labels.index(label)].item()


@pytest.mark.parametrize(
    "name, rate",
    [
        *(("esc10-lmac", rate) for rate in (8000, 16000, 22050, 44100, 44101, 48000)),
        *((name, 44100) for name in EXPLAINERS if name != "esc10-lmac"),
    ],
)
def test_the_heard_confidences_are_those_of_the_written_files(
    loaded, tmp_path, name, rate
):
    explainer, classifier = loaded(name)
    path = write(tmp_path / "a.wav", sound(rate, 3.0), rate)
    explained = explainer.explain_file(path)
    write_explanation(explained, tmp_path, "a", pictures=())
    for part, confidence in (("explanation", HEARD[0]), ("rest", HEARD[1])):
        written = of_class(classifier, tmp_path / f"a_{part}.wav", explained.explained)
        assert getattr(explained, confidence) == pytest.approx(written, abs=1e-3)
    given = of_class(classifier, path, explained.explained)
    assert explained.confidence == pytest.approx(given, abs=1e-3)
    if name == "esc10-lmac":  # the masked representation is another thing
        assert abs(explained.confidence_out - explained.heard_confidence_out) > 1e-3


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """Three kinds of sound, 21 s at 44.1 kHz."""
    folder = tmp_path_factory.mktemp("long")
    return write(folder / "long.wav", sound(44100, 21.0), 44100)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_long_file_has_the_class_and_confidence_of_the_classifier(
    loaded, long_file, tmp_path, name
):
    explainer, classifier = loaded(name)
    explained = explainer.explain_file(long_file)
    assert explained.predicted == explained.explained
    _, score, _, (label,) = classifier.classify_file(long_file)
    assert explained.explained == label
    assert explained.confidence == pytest.approx(score.item(), abs=1e-5)
    windows = explained.windows
    assert len(windows) == 8
    for confidence in CONFIDENCES:
        mean = np.mean([getattr(window, confidence) for window in windows])
        assert getattr(explained, confidence) == pytest.approx(mean)
    own = sum(window.explained == label for window in windows)
    assert explained.row()["windows_explained"] == explained.windows_explained == own
    assert f"{own} of 8 windows" in explained.title()
    if name == "esc10-lmac-zs":  # can be asked for a class
        assert own == 8
    else:
        assert all(window.explained == window.predicted for window in windows)


def test_windows_of_other_classes_are_not_averaged(loaded, long_file):
    # The mean of each window's own highest confidence would be far too high.
    explained = loaded("esc10-lmac")[0].explain_file(long_file)
    assert len({window.predicted for window in explained.windows}) > 1
    assert explained.confidence < 0.9 * max(w.confidence for w in explained.windows)


@pytest.mark.parametrize("seconds", [2.0, 21.0])
def test_block_by_block_is_written_what_is_explained_in_memory(
    loaded, long_file, tmp_path, monkeypatch, seconds
):
    monkeypatch.setattr(audio_streams, "BLOCK", 30_000)
    explainer, _ = loaded("esc10-lmac")
    wav, rate = soundfile.read(long_file, frames=int(44100 * seconds))
    path = write(tmp_path / "a.wav", np.stack([wav, wav], 1), rate)
    explained = explainer.explain_file(path)
    (request,) = explainer.requests()
    source = MonoFile(path)
    scores = write_request(request, source, tmp_path / "out", "a", pictures=("png",))
    assert scores.row() == explained.row()
    names = {f"a_{part}.wav" for part in ("input", "explanation", "rest")} | {"a.png"}
    table = {"a_windows.csv"} if seconds > 7.5 else set()
    assert {file.name for file in (tmp_path / "out").iterdir()} == names | table
    for part in ("input", "explanation", "rest"):
        written, _ = soundfile.read(tmp_path / "out" / f"a_{part}.wav", dtype="float32")
        assert np.array_equal(written, getattr(explained, part).numpy())
        assert len(written) == len(wav)
    if table:
        windows = pd.read_csv(tmp_path / "out" / "a_windows.csv")
        assert windows["heard_confidence_in"].mean() == pytest.approx(
            explained.heard_confidence_in
        )
        assert windows["start"].iloc[0] == 0 and windows["end"].iloc[-1] == 21


@pytest.fixture
def counted(monkeypatch):
    """What was done, by name: frames of files that were decoded, masks, sounds."""
    counts = Counter()

    def count(holder, name, what, amount):
        function = getattr(holder, name)

        def counting(self, *given, **options):
            answer = function(self, *given, **options)
            counts[what] += amount(answer)
            return answer

        monkeypatch.setattr(holder, name, counting)

    count(soundfile.SoundFile, "read", "frames", len)
    for domain in (STFTDomain, LearnedDomain):
        count(domain, "apply_mask", "masks", lambda part: len(part.rep))
    count(torch, "istft", "sounds", len)
    count(Codec, "decode", "sounds", len)
    return counts


@pytest.mark.parametrize("seconds, n_windows", [(2.0, 1), (21.0, 8)])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_file_is_decoded_once_and_each_part_masked_and_decoded_once(
    loaded, long_file, tmp_path, monkeypatch, counted, name, seconds, n_windows
):
    explainer, _ = loaded(name)
    wav, rate = soundfile.read(long_file, frames=int(44100 * seconds))
    path = write(tmp_path / "a.wav", np.stack([wav, 0.5 * wav], 1), rate)
    prompts = ["rain", "a dog barking"] if name == "esc10-lmac-zs" else None
    requests = explainer.requests(prompts=prompts, check=False)
    counted.clear()
    explain_files([path], requests, tmp_path / "out", "a", pictures=())
    n_parts = 2 * n_windows * len(requests)  # the explanation and the rest
    assert counted == {"frames": len(wav), "masks": n_parts, "sounds": n_parts}
    # A file that is too long to be kept is decoded again, and no more than that.
    monkeypatch.setattr(audio_streams, "CACHED_SAMPLES", len(wav))
    counted.clear()
    explain_files([path], requests, tmp_path / "again", "a", pictures=())
    assert counted["frames"] == (1 + len(requests)) * len(wav)
    names = [file.name for file in (tmp_path / "out").glob("*.wav")]
    assert len(names) == 3 * len(requests)
    for sound_name in names:
        both = [soundfile.read(tmp_path / f / sound_name)[0] for f in ("out", "again")]
        assert np.array_equal(*both)


def test_what_fails_on_the_way_leaves_nothing(loaded, long_file, tmp_path, monkeypatch):
    (request,) = loaded("esc10-lmac")[0].requests()

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(audio_streams.Resampler, "push", fail)
    with pytest.raises(MemoryError):
        write_request(request, MonoFile(long_file), tmp_path / "out", "a")
    assert not list((tmp_path / "out").iterdir())


def test_a_channel_upside_down_is_explained_and_said(loaded, tmp_path):
    explainer, classifier = loaded("esc10-lmac")
    wav = sound(44100, 3.0)
    both = write(tmp_path / "a.wav", np.stack([wav, -wav], 1), 44100)
    alone = write(tmp_path / "b.wav", wav, 44100)
    explained = explainer.explain_file(both)
    assert explained.row()["channel"] == "1 of 2 (the mean cancels)"
    wanted = explainer.explain_file(alone)
    assert explained.predicted == wanted.predicted
    assert explained.confidence == pytest.approx(wanted.confidence, abs=1e-4)
    assert torch.equal(
        classifier.classify_file(both)[0], classifier.classify_file(alone)[0]
    )


def test_prompts_have_heard_similarities(loaded, tmp_path):
    explainer, _ = loaded("esc10-lmac-zs")
    path = write(tmp_path / "a.wav", sound(16000, 3.0), 16000)
    (explained,) = explainer.explain_file(path, prompts=["a dog barking"])
    clap, domain = explainer.mods.clap, explainer.mods.domain
    asked = explainer.classifier.with_prompts(["a dog barking"])
    for part, near in (
        ("explanation", explained.heard_similarity_in),
        ("rest", explained.heard_similarity_out),
    ):
        wav = getattr(explained, part)[None]
        logits = classify_waveforms(domain, asked, wav) / clap.scale
        assert near == pytest.approx(logits.item(), abs=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_an_error(value):
    with pytest.raises(InputError, match="infinite logits"):
        check_logits(torch.tensor([[0.0, value]]))
    assert check_logits(torch.zeros(1, 2)).shape == (1, 2)


def test_nan_weights_are_an_error(loaded, tmp_path):
    explainer = AudioExplainer.from_hparams("esc10-lmac", run_opts=CPU)
    path = write(tmp_path / "a.wav", sound(16000, 1.0), 16000)
    next(explainer.classifier.parameters()).data[0] = float("nan")
    everything = AllOnesExplainer(explainer.mods.domain, explainer.classifier)
    with pytest.raises(InputError, match="infinite logits"):
        explain_file(everything, path, explainer.labels)
    with pytest.raises(InputError, match="infinite logits"):
        explainer.explain_batch(torch.randn(1, 16000))


def test_an_overflow_in_resampling_is_an_error(loaded, tmp_path):
    square = np.sign(np.sin(2 * np.pi * 200 * (np.arange(44100) + 0.5) / 44100))
    wav = (3.4e38 * square).astype("float32")  # the filter overshoots its edges
    path = write(tmp_path / "a.wav", wav, 44100)
    for model in loaded("esc10-lmac"):
        call = getattr(model, "explain_file", None) or model.classify_file
        with pytest.raises(InputError, match="a.wav.* Hz"):
            call(path)


def test_pictures_have_at_most_so_many_columns():
    frames = torch.arange(10_007.0)[:, None].expand(-1, 3)
    columns = Columns(len(frames))
    for block in frames.split(999):
        columns.push(block)
    mean = columns.mean()
    assert mean.shape == (4000, 3)
    assert mean[:, 0].diff().min() > 0
    torch.testing.assert_close(mean.mean(), frames.mean(), rtol=1e-3, atol=0)
    short = Columns(len(frames[:50]))
    short.push(frames[:50])
    assert torch.equal(short.mean(), frames[:50])
