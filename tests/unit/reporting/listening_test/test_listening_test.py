"""A listening test: equal loudness, blind pages, and scores with known answers."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml
from scipy import stats

from speechbrain_lmac.dsp.loudness import equally_loud, loudness
from speechbrain_lmac.reporting.listening_test.design import (
    CHOICES,
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


def test_nothing_on_the_pages_tells_the_method(tmp_path):
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


def test_the_webmushra_configuration_has_a_page_per_clip_and_question(tmp_path):
    make(tmp_path / "test")
    page = tmp_path / "test" / "page"
    config = yaml.safe_load((page / "webmushra.yaml").read_text())
    (_, *pages), finish = config["pages"]
    assert len(pages) == 3 * len(QUESTIONS)  # not the page to train
    assert {p["type"] for p in pages} == {"likert_multi_stimulus"}
    assert {p["id"] for p in pages} == {
        f"t{n:02}_{q}" for n in (1, 2, 3) for q in QUESTIONS
    }
    for one in pages:
        assert one["mustRate"] is True and one["mustPlayback"] is True
        assert [int(r["value"]) for r in one["response"]] == list(CHOICES)
        assert len(one["stimuli"]) == 3
        for file in one["stimuli"].values():
            name = file.removeprefix(f"configs/{config['testId']}/")
            assert (page / name).is_file()
    assert finish["type"] == "finish" and finish["writeResults"] is True
    table = pd.read_csv(page / "stimuli.csv")
    assert len(table) == 9 and set(table) == {
        *("trial", "class", "input", "stimulus", "file")
    }


def test_beeps_can_be_counted():
    wav = beeps(3, RATE)
    loud = np.abs(wav) > 0.1
    starts = np.flatnonzero(np.diff(loud.astype(int)) == 1)
    pauses = np.diff(starts) > RATE * 0.2
    assert 1 + pauses.sum() == 3


# --- Scores ---------------------------------------------------------------------------

BASE = {"L-MAC": 80, "random blocks": 30, "silent": 5}


def said(key, record, who, shift=0, check=None, drop=0, test_id=None):
    """What a participant says: the value of the method, shifted by the person."""
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
    people = [said(key, record, f"p{s}", s) for s in shifts]
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
    answers = read_answers(files(tmp_path, said(key, record, "a")), key, record)
    scores = opinion_scores(answers)
    assert scores["low"].isna().all() and (scores["n"] == 1).all()


def test_who_cannot_be_scored_is_left_out_and_told(made, tmp_path):
    key, record = made
    good = said(key, record, "good")
    twice = said(key, record, "twice")
    twice["ratings"].append(twice["ratings"][0])
    beyond = said(key, record, "beyond", shift=30)
    stranger = said(key, record, "stranger")
    stranger["ratings"][0]["stimulus"] = "00000000"
    people = [
        good,
        said(key, record, "asleep", check=record["check_answer"] + 10),
        said(key, record, "half", drop=3),
        said(key, record, "other", test_id="0" * 12),
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
    assert "failed the attention check" in why["asleep"]
    assert "3 of 18 ratings are missing" in why["half"]
    assert "is of another test" in why["other"]
    assert "there twice" in why["twice"]
    assert "not in 1 to 100" in why["beyond"]
    assert "what the test does not have" in why["stranger"]
    assert "the first file counts" in why["good"]
    for name in ("broken.json", "empty.json", "gone.json"):
        assert "is not readable" in why[name]
    with pytest.raises(InputError, match="nobody can be scored"):
        read_answers(paths[1:2], key, record)


def lms(path, key, record, people):
    """The csv that webMUSHRA's write.php makes, with its blanks around ratings."""
    lines = ["session_test_id,participant,trial_id,stimuli_rating,stimuli,rating_time"]
    for who, shift in people.items():
        lines += [
            f"{record['test_id']},{who},{row.trial}_{question},"
            f'" {BASE[row.method] + shift} ",{row.stimulus},9000'
            for row in key.itertuples()
            if row.trial != "training" and row.method
            for question in QUESTIONS
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_webmushras_csv_is_read_beside_ours(made, tmp_path):
    key, record = made
    table = lms(tmp_path / "lms.csv", key, record, {"x": 2, "y": 4})
    paths = [*files(tmp_path, said(key, record, "a", 0)), table]
    answers = read_answers(paths, key, record)
    assert answers.participants == ["a", "x", "y"]
    scores = opinion_scores(answers).set_index(["question", "method"])
    assert scores.loc[("match", "L-MAC"), "mos"] == 82
    text = table.read_text().replace(" 82 ", " NA ", 1)
    table.write_text(text)
    answers = read_answers([table], key, record)
    assert answers.participants == ["y"]
    assert "1 of 18 ratings are missing" in dict(answers.left_out)["x"]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "session_test_id,trial_id\n"])
def test_a_csv_that_is_none_of_webmushra(made, tmp_path, text):
    key, record = made
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match="is no lms.csv"):
        read_answers([tmp_path / "x.csv"], key, record)


def test_a_folder_that_is_no_test(tmp_path):
    with pytest.raises(InputError, match="holds no listening test"):
        read_test(tmp_path)
