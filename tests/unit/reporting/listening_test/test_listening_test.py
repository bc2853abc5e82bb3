"""A listening test: equal loudness, blind pages, and scores with known answers."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy import stats

from speechbrain_lmac.dsp.loudness import equally_loud, loudness
from speechbrain_lmac.reporting.listening_test.design import (
    QUESTIONS,
    Trial,
    beeps,
    write_test,
)
from speechbrain_lmac.reporting.listening_test.scoring import (
    holm,
    opinion_scores,
    paired_tests,
    read_answers,
    read_test,
)
from speechbrain_lmac.utils.errors import InputError

RATE = 16000
METHODS = ("L-MAC", "random blocks", "silent")


def tone(hz=997.0, amplitude=1.0, seconds=1.0, rate=RATE):
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (amplitude * torch.sin(2 * math.pi * hz * time)).float()


# --- Loudness -------------------------------------------------------------------------


def test_a_tone_has_the_loudness_of_the_standard():
    # ITU-R BS.1770: 997 Hz at full scale in one channel is -3.01 LKFS.
    assert loudness(tone(seconds=5, rate=48000), 48000) == pytest.approx(-3.01, abs=0.1)
    assert loudness(tone(amplitude=0.1), RATE) == pytest.approx(-23.0, abs=0.15)
    assert loudness(torch.zeros(RATE), RATE) == -math.inf
    assert math.isfinite(loudness(tone(seconds=0.05), RATE))


def test_sounds_become_equally_loud_and_none_is_clipped():
    click = torch.zeros(RATE)
    click[::4000] = 0.9  # all peak: as loud as the tone it would leave full scale
    wavs = {"tone": tone(amplitude=0.5), "click": click, "silent": torch.zeros(RATE)}
    sounds, gains, lufs = equally_loud(wavs, RATE)
    for name in ("tone", "click"):
        assert loudness(sounds[name], RATE) == pytest.approx(lufs, abs=0.01)
        assert sounds[name].abs().max() <= 0.99 + 1e-6
    assert lufs < -23 and sounds["click"].abs().max() == pytest.approx(0.99, abs=1e-3)
    assert gains["silent"] == 0 and not sounds["silent"].any()


# --- The pages ------------------------------------------------------------------------


def make(folder, n_clips=3, seed=1234):
    trials = [
        Trial(
            clip=f"clip {index}",
            label="crying_baby" if index else "<script>",
            input=tone(200 + index, 0.3, 0.5),
            sounds={
                "L-MAC": tone(300 + index, 0.1, 0.5),
                "random blocks": tone(400 + index, 0.02, 0.5),
                "silent": torch.zeros(RATE // 2),
            },
        )
        for index in range(n_clips + 1)
    ]
    folder.mkdir()
    return write_test(trials, folder, RATE, seed, "A <b>test</b>")


def test_the_pages_do_not_reveal_the_method(tmp_path):
    key = make(tmp_path / "test")
    page = tmp_path / "test" / "page"
    assert set(key["method"]) == {"", *METHODS}
    assert key["stimulus"].is_unique
    for path in page.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for method in METHODS:
                assert method.encode() not in content, path
            assert not any(method in path.name for method in METHODS)
    text = (page / "index.html").read_text(encoding="utf-8")
    assert "check_answer" not in text
    assert text.count("<script") == 2 and "<b>test" not in text  # names are text


def test_all_sounds_of_a_clip_are_equally_loud(tmp_path):
    key = make(tmp_path / "test")
    for _, own in key.groupby("trial"):
        found = []
        for row in own.itertuples():
            wav, rate = soundfile.read(tmp_path / "test" / "page" / row.file)
            assert (
                rate == RATE
                and soundfile.info(tmp_path / "test" / "page" / row.file).subtype
                == "PCM_16"
            )
            if row.method != "silent":
                found.append(loudness(torch.from_numpy(wav), rate))
        assert max(found) - min(found) < 0.1
        assert found[0] == pytest.approx(own["lufs"].iloc[0], abs=0.1)


def test_another_seed_has_other_names_and_the_same_one_the_same(tmp_path):
    first, again = make(tmp_path / "a"), make(tmp_path / "b")
    other = make(tmp_path / "c", seed=1)
    pd.testing.assert_frame_equal(first, again)
    assert not set(first["stimulus"]) & set(other["stimulus"])


def test_the_table_of_stimuli_lists_the_scored_ones(tmp_path):
    key = make(tmp_path / "test")
    page = tmp_path / "test" / "page"
    table = pd.read_csv(page / "stimuli.csv")
    assert list(table) == ["trial", "class", "input", "stimulus", "file"]
    scored = key[(key["trial"] != "training") & (key["method"] != "")]
    assert sorted(table["stimulus"]) == sorted(scored["stimulus"]) and len(table) == 9
    assert all((page / file).is_file() for file in (*table["file"], *table["input"]))


def test_beeps_can_be_counted():
    wav = beeps(3, RATE)
    loud = np.abs(wav) > 0.1
    starts = np.flatnonzero(np.diff(loud.astype(int)) == 1)
    pauses = np.diff(starts) > RATE * 0.2
    assert 1 + pauses.sum() == 3


# --- Scores ---------------------------------------------------------------------------

BASE = {"L-MAC": 80, "random blocks": 30, "silent": 5}


def answers_of(key, record, who, shift=0, check=None, drop=0, test_id=None):
    """The file of a participant: the value of the method, shifted by the person."""
    rows = [
        {
            "trial": row.trial,
            "stimulus": row.stimulus,
            "question": question,
            "value": BASE[row.method] + shift + (5 if question == "quality" else 0),
        }
        for row in key.itertuples()
        if row.trial != "training" and row.method
        for question in QUESTIONS
    ]
    return {
        "test_id": test_id or record["test_id"],
        "participant": who,
        "ratings": rows[drop:],
        "check": record["check_answer"] if check is None else check,
    }


@pytest.fixture
def made(tmp_path):
    make(tmp_path / "test")
    return read_test(tmp_path / "test")


def files(tmp_path, *people):
    paths = []
    for index, person in enumerate(people):
        paths.append(tmp_path / f"{index}.json")
        paths[-1].write_text(json.dumps(person))
    return paths


def test_scores_have_known_answers(made, tmp_path):
    key, record = made
    shifts = [-4, 0, 1, 3]
    people = [answers_of(key, record, f"p{s}", s) for s in shifts]
    answers = read_answers(files(tmp_path, *people), key, record)
    assert len(answers.participants) == 4 and not answers.left_out
    scores = opinion_scores(answers).set_index(["question", "method"])
    for question, extra in (("match", 0), ("quality", 5)):
        for method, base in BASE.items():
            row = scores.loc[(question, method)]
            values = np.array(shifts) + base + extra
            assert row["mos"] == values.mean() and row["n"] == 4
            interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
            assert (row["low"], row["high"]) == pytest.approx(tuple(interval))
    assert list(opinion_scores(answers)["method"])[:3] == list(BASE)  # highest first
    pairs = paired_tests(answers)
    match = pairs[pairs["question"] == "match"].set_index(["method", "other"])
    assert match.loc[("L-MAC", "silent"), "difference"] == 75
    # Four equal differences: 2 of the 2^4 signs are as extreme.
    assert match["p"].tolist() == [0.125] * 3
    assert match["p_holm"].tolist() == pytest.approx([0.375] * 3)


def test_holm_is_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    draw = np.random.default_rng(0)
    for n in (1, 2, 7):
        p = draw.random(n) ** 3
        theirs = multitest.multipletests(p, method="holm")[1]
        assert holm(list(p)) == pytest.approx(theirs.tolist())


def test_one_participant_has_no_interval(made, tmp_path):
    key, record = made
    answers = read_answers(files(tmp_path, answers_of(key, record, "a")), key, record)
    scores = opinion_scores(answers)
    assert scores["low"].isna().all() and (scores["n"] == 1).all()


def test_invalid_participants_are_excluded_with_a_reason(made, tmp_path):
    key, record = made
    good = answers_of(key, record, "good")
    twice = answers_of(key, record, "twice")
    twice["ratings"].append(twice["ratings"][0])
    beyond = answers_of(key, record, "beyond", shift=30)
    stranger = answers_of(key, record, "stranger")
    stranger["ratings"][0]["stimulus"] = "00000000"
    people = [
        good,
        answers_of(key, record, "asleep", check=record["check_answer"] + 10),
        answers_of(key, record, "half", drop=3),
        answers_of(key, record, "other", test_id="0" * 12),
        twice,
        beyond,
        stranger,
        good,
    ]
    paths = files(tmp_path, *people)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty.json").write_text("{}")
    paths += [tmp_path / "broken.json", tmp_path / "empty.json", tmp_path / "gone.json"]
    answers = read_answers(paths, key, record)
    assert answers.participants == ["good"]
    why = dict(answers.left_out)
    assert "attention check" in why["asleep"]
    assert "3 of 18" in why["half"]
    assert "0" * 12 in why["other"]
    assert "duplicate ratings" in why["twice"]
    assert "1 to 100" in why["beyond"]
    assert "00000000" in why["stranger"]
    assert "duplicate participant" in why["good"]
    for name in ("broken.json", "empty.json", "gone.json"):
        assert "unreadable" in why[name]
    with pytest.raises(InputError, match=r"no valid participants:\n  asleep: 1.json"):
        read_answers(paths[1:2], key, record)


def test_a_folder_that_is_no_test(tmp_path):
    with pytest.raises(InputError, match="key.csv"):
        read_test(tmp_path)
