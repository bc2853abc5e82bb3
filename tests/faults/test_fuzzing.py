"""Whatever comes in, the answer is right or an error that says what is wrong.

`make test` runs a hundred cases, always the same; `make faults` 2,000 (FUZZ_CASES).
"""

import json
import math
import os
import shutil
import sys

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from speechbrain.utils.importutils import LazyModule

from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.data_prep.esc50_prepare import prepare_esc50
from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.utils.errors import InputError

CASES = int(os.environ.get("FUZZ_CASES", 100))
FORMATS = [
    ("WAV", kind)
    for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
]
FORMATS += [
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("AIFF", "PCM_16"),
]
CONTENTS = ("noise", "silence", "constant", "clipped", "denormal", "impulse", "tone")
NOT_FINITE = {"NaN": math.nan, "inf": math.inf, "-inf": -math.inf}
MOST_SAMPLES = 4_000_000
LONGEST_S = 90.0


def cases(share):
    """Settings for this share of all cases: the same ones whenever it runs."""
    return settings(
        max_examples=max(1, round(share * CASES)),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module", autouse=True)
def without_lazy_modules():
    """hypothesis looks at every module, and SpeechBrain's lazy ones import then."""
    lazy = {n: m for n, m in sys.modules.items() if isinstance(m, LazyModule)}
    for name in lazy:
        del sys.modules[name]
    yield
    sys.modules.update(lazy)


@pytest.fixture(scope="module")
def explain():
    """`explain(model, path)`: by models of the package, each loaded once."""
    loaded = {}

    def explain(name, path):
        torch.set_num_threads(1)
        if name not in loaded:
            loaded[name] = AudioExplainer.from_hparams(name, run_opts={"device": "cpu"})
        return loaded[name].explain_file(path)

    return explain


@st.composite
def sounds(draw):
    """What a file is made of."""
    rate = round(math.exp(draw(st.floats(math.log(4000), math.log(192000)))))
    rate = draw(st.sampled_from([rate, 8000, 16000, 22050, 44100, 48000]))
    channels = draw(st.integers(1, 8))
    longest = min(LONGEST_S, MOST_SAMPLES / rate / channels)
    seconds = math.exp(draw(st.floats(math.log(1e-5), math.log(longest))))
    if CASES < 1000:  # most of the time goes into the long ones
        seconds = min(seconds, 8.0)
    n_samples = draw(st.sampled_from([0, 1, 2, *[round(seconds * rate)] * 9]))
    container, subtype = draw(st.sampled_from(FORMATS))
    contents = (*CONTENTS, *NOT_FINITE) if subtype in ("FLOAT", "DOUBLE") else CONTENTS
    content = draw(st.sampled_from(contents))
    return rate, channels, n_samples, container, subtype, content


def samples(n_samples, channels, content):
    """The samples (N, channels) of a content."""
    wav = 0.1 * np.random.default_rng(3).standard_normal((n_samples, channels))
    if content == "silence":
        wav[:] = 0
    elif content == "constant":
        wav[:] = 0.7
    elif content == "clipped":
        wav = np.clip(50 * wav, -1, 1)
    elif content == "denormal":
        wav *= 1e-39
    elif content == "impulse":
        wav[:] = 0
        wav[n_samples // 2 :][:1] = 1.0
    elif content == "tone":
        wav = np.sin(0.3 * np.arange(n_samples))[:, None].repeat(channels, 1)
    elif content in NOT_FINITE and n_samples:
        wav[n_samples // 2, 0] = NOT_FINITE[content]
    return wav


@pytest.mark.parametrize(
    "model, share",
    [("esc10-lmac", 0.4), ("esc10-lmac-zs", 0.1), ("esc10-lmac-td", 0.1)],
)
def test_any_sound_is_explained_or_refused(model, share, explain, tmp_path, record):
    counts = {"explained": 0, "refused": 0}

    @cases(share)
    @given(sounds())
    def check(sound):
        rate, channels, n_samples, container, subtype, content = sound
        wav = samples(n_samples, channels, content)
        path = tmp_path / f"sound.{container.lower()}"
        try:
            soundfile.write(path, wav, rate, subtype, format=container)
        except soundfile.LibsndfileError:
            return  # this container has no such rate or number of channels
        try:
            answer = explain(model, path)
        except InputError as error:
            counts["refused"] += 1
            assert str(path) in str(error)
            # Ogg may lose a sample or all; else there must be a reason.
            assert n_samples == 0 or content in NOT_FINITE or container == "OGG"
            return
        counts["explained"] += 1
        assert content not in NOT_FINITE
        if container != "OGG":
            assert len(answer.explanation) == n_samples
        for part in (answer.explanation, answer.rest, answer.mask):
            assert part.isfinite().all()
        assert 0 <= answer.mask.min() and answer.mask.max() <= 1
        for confidence in (
            answer.confidence,
            answer.confidence_in,
            answer.confidence_out,
        ):
            assert 0 <= confidence <= 1
        assert answer.predicted == answer.explained

    check()
    record(f"fuzz_{model}", **counts)


# What may stand where a name, a path or a number is expected.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=True),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.sampled_from(
        ["../../etc/passwd", "{data_root}", "dog", "1", "0", "\0", "a" * 999]
    ),
)


@pytest.fixture(scope="module")
def table(toy):
    """The table of the tiny sounds, as lines of cells."""
    text = (toy / "meta" / "esc50.csv").read_text(encoding="utf-8")
    return [line.split(",") for line in text.splitlines()]


def test_any_table_of_a_dataset_is_prepared_or_refused(toy, table, tmp_path, record):
    counts = {"prepared": 0, "refused": 0}
    classes = sorted({row[3] for row in table[1:]})
    dataset = tmp_path / "dataset"
    (dataset / "meta").mkdir(parents=True)
    (dataset / "audio").symlink_to(toy / "audio")

    @cases(0.1)
    @given(st.data())
    def check(data):
        rows = [list(row) for row in table]
        for _ in range(data.draw(st.integers(1, 3))):
            row = data.draw(st.integers(0, len(rows) - 1))
            column = data.draw(st.integers(0, len(rows[row]) - 1))
            change = data.draw(
                st.sampled_from(["cell", "cell", "drop", "double", "cut"])
            )
            if change == "cell":
                rows[row][column] = str(data.draw(ODD)).replace("\n", " ")
            elif change == "drop" and len(rows[row]) > 1:
                del rows[row][column]
            elif change == "double":
                rows.insert(row, list(rows[row]))
            elif change == "cut":
                del rows[max(1, row) :]
                break
        text = "\n".join(",".join(row) for row in rows)
        (dataset / "meta" / "esc50.csv").write_text(text, "utf-8", "surrogatepass")
        shutil.rmtree(tmp_path / "manifest", ignore_errors=True)
        try:
            prepare_esc50(dataset, tmp_path / "manifest", classes)
            counts["prepared"] += 1
        except InputError as error:
            counts["refused"] += 1
            assert str(dataset) in str(error)
            assert not list(tmp_path.glob("manifest/*.json"))

    check()
    record("fuzz_tables", **counts)


def test_any_manifest_is_loaded_or_refused(toy, tiny, tmp_path, record):
    counts = {"loaded": 0, "refused": 0}
    dataset = load_experiment(["hparams/toy_classifier.yaml", *tiny])[0]["dataset"]
    dataset.prepare_manifests(tmp_path)
    whole = json.loads((tmp_path / "train.json").read_text(encoding="utf-8"))
    names = list(whole)[:3]

    @cases(0.15)
    @given(st.data())
    def check(data):
        clips = {name: dict(whole[name]) for name in names}
        name = data.draw(st.sampled_from(names))
        field = data.draw(st.sampled_from([*clips[name], "more"]))
        change = data.draw(st.sampled_from(["field", "field", "drop", "clip", "text"]))
        text = None
        if change == "field":
            clips[name][field] = data.draw(ODD)
        elif change == "drop":
            clips[name].pop(field, None)
        elif change == "clip":
            clips[name] = data.draw(ODD)
        else:
            text = json.dumps(clips)[: data.draw(st.integers(0, 60))]
        text = json.dumps(clips) if text is None else text
        (tmp_path / "train.json").write_text(text, encoding="utf-8")
        try:
            clips = dataset.load(tmp_path, "train", dataset.categories)
            for index in range(len(clips)):
                assert clips[index]["signal"].shape == (dataset.n_samples,)
            counts["loaded"] += 1
        except InputError as error:
            counts["refused"] += 1
            where = (str(tmp_path), str(toy), "no such audio file: ")
            assert any(words in str(error) for words in where)

    check()
    record("fuzz_manifests", **counts)


KEYS = {
    "hparams/toy_lmac.yaml": ("seed", "lr", "batch_size", "number_of_epochs"),
    "hparams/toy_classifier.yaml": ("sample_rate", "label_smoothing", "augment"),
}
NESTED = ("dataset", "domain", "model", "opt_class", "train_logger", "nothing")


def test_any_override_is_taken_or_refused(classifier, tiny, record):
    counts = {"taken": 0, "refused": 0}

    @cases(0.15)
    @given(st.data())
    def check(data):
        path = data.draw(st.sampled_from(list(KEYS)))
        key = data.draw(st.sampled_from([*KEYS[path], *NESTED, "lrr"]))
        value = data.draw(
            st.one_of(
                ODD.map(lambda odd: str(odd).replace("\0", "")),
                st.sampled_from(
                    [
                        "{n_fft: 0}",
                        "{n_mels: -3}",
                        "{n_classes: 2.5}",
                        "{clip_seconds: long}",
                        "{opt_class: 3}",
                        "{",
                        "[1, 2",
                        "!new:nothing.Nothing",
                        "!ref <nothing>",
                    ]
                ),
            )
        )
        argv = [path, *tiny, f"--{key}={value}"]
        argv += [classifier] if path == "hparams/toy_lmac.yaml" else []
        try:
            load_experiment(argv)
            counts["taken"] += 1
        except InputError as error:
            counts["refused"] += 1
            assert len(str(error)) > 10
        except SystemExit as end:  # of the parser of the command line
            counts["refused"] += 1
            assert end.code == 2

    check()
    record("fuzz_overrides", **counts)
