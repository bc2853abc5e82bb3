"""The blind pages of a listening test, and the key to their stimuli."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch

from speechbrain_lmac.dsp.loudness import equally_loud
from speechbrain_lmac.evaluation.benchmark import Benchmark
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.inference.explain_batch import explain_batch
from speechbrain_lmac.utils.csv_files import write_csv
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.hashing import content_hash
from speechbrain_lmac.utils.seeding import generator

TEMPLATE = Path(__file__).parent / "template"
# The two questions of the user study (slides of L-MAC).
QUESTIONS = {
    "match": "How well does this sound correspond to the part of the input that "
    "belongs to the class “{}”?",
    "quality": "How good is the audio quality of this sound?",
}
LOWEST, HIGHEST = 1, 100
TRAINING, CHECK = "training", "check"
BEEP_HZ, BEEP_S = 880.0, 0.25
KEY_FILE, TEST_FILE = "key.csv", "test.json"


@dataclass(frozen=True)
class Trial:
    """One clip of the test."""

    clip: str
    label: str  # the explained class
    input: torch.Tensor  # (N,)
    sounds: dict[str, torch.Tensor]  # method to explanation (N,)


def choose_trials(
    block: Block,
    benchmark: Benchmark,
    condition: str,
    methods: Sequence[str],
    n_clips: int,
    seed: int,
) -> list[Trial]:
    """Draw clips of a condition at random, and explain them with several methods.

    Arguments
    ---------
    block : evaluation.Block
        With a listenable domain.
    benchmark : Benchmark
        With all clips of the condition.
    condition : str
    methods : sequence of str
        Names of the block's explainers.
    n_clips : int
        Number of scored clips.
    seed : int
        Seed of the draw.

    Returns
    -------
    trials : list of Trial
        `n_clips` trials, and one more for the training page.

    Raises
    ------
    InputError
        For a method that is not in the block, or too few clips.
    """
    unknown = [name for name in methods if name not in block.explainers]
    if unknown:
        raise InputError(
            f"unknown method {unknown[0]!r}; methods: {', '.join(block.explainers)}"
        )
    clips = benchmark.clips(condition)
    if n_clips + 1 > len(clips):
        raise InputError(
            f"{condition} has only {len(clips)} clips; the test needs {n_clips} and "
            "one for the training page"
        )
    draw = generator("listening test", seed, condition)
    chosen = torch.randperm(len(clips), generator=draw)[: n_clips + 1].tolist()
    trials = []
    for index in chosen:
        item = clips[index]
        wav = item["signal"][None].to(benchmark.device)
        sounds, label = {}, ""
        for method in methods:
            explained = explain_batch(
                _Explainer(block, benchmark, method), wav, benchmark.labels
            )
            sounds[method] = explained.explanation[0].cpu()
            label = explained.labels[0]
        trials.append(Trial(str(item["id"]), label, wav[0].cpu(), sounds))
    return trials


class _Explainer:
    """A method of a block, with the attributes that `explain_batch` needs."""

    def __init__(self, block: Block, benchmark: Benchmark, method: str) -> None:
        self.explain = block.explainers[method].explain
        self.domain, self.classifier = block.domain, benchmark.classifier


def write_test(
    trials: Sequence[Trial],
    folder: str | Path,
    sample_rate: int,
    seed: int,
    title: str,
) -> pd.DataFrame:
    """Write the web page of a test, and its key in a separate file.

    `page/` goes to the participants: `index.html`, `audio/`, and `stimuli.csv` for
    other tools. `key.csv` (the method of each stimulus) and `test.json` (the answer to
    the attention check) are outside `page/` and must not be shared.

    Arguments
    ---------
    trials : list of Trial
        The last trial is for training the participants, and is not scored.
    folder : str or Path
        An existing folder.
    sample_rate : int
        Hz.
    seed : int
        Seed of the stimulus names and the number of beeps.
    title : str
        Title shown to the participants.

    Returns
    -------
    key : pandas.DataFrame
        Columns `trial stimulus clip method label gain_db lufs file`; the method of the
        input is "".
    """
    from jinja2 import Environment, FileSystemLoader

    page = Path(folder) / "page"
    (page / "audio").mkdir(parents=True)
    rows, shown = [], []
    for number, trial in enumerate(trials):
        name = TRAINING if number == len(trials) - 1 else f"t{number + 1:02}"
        sounds, gains, lufs = equally_loud(
            {"": trial.input, **trial.sounds}, sample_rate
        )
        stimuli = {}
        for method, wav in sounds.items():
            secret = f"{seed}/{trial.clip}/{method}"
            stimulus = content_hash(secret, kind="sha256")[:8]
            file = f"audio/{stimulus}.wav"
            soundfile.write(page / file, wav.numpy(), sample_rate, "PCM_16")
            stimuli[stimulus] = file
            rows.append(
                {
                    **{"trial": name, "stimulus": stimulus, "clip": trial.clip},
                    **{"method": method, "label": trial.label, "file": file},
                    **{"gain_db": round(gains[method], 3), "lufs": round(lufs, 3)},
                }
            )
        first, *_ = stimuli  # the input
        shown.append(
            {
                **{"id": name, "label": trial.label, "input": stimuli.pop(first)},
                "stimuli": dict(sorted(stimuli.items())),
            }
        )
    n_beeps = 2 + int(torch.randint(4, (1,), generator=generator("beeps", seed)))
    soundfile.write(
        page / "audio" / "check.wav", beeps(n_beeps, sample_rate), sample_rate, "PCM_16"
    )
    test: dict[str, Any] = {
        "test_id": content_hash(json.dumps(shown), kind="sha256")[:12],
        "title": title,
        "questions": QUESTIONS,
        "lowest": LOWEST,
        "highest": HIGHEST,
        "trials": [trial for trial in shown if trial["id"] != TRAINING],
        "training": next(trial for trial in shown if trial["id"] == TRAINING),
        "check": "audio/check.wav",
    }
    key = pd.DataFrame(rows)
    write_csv(key, Path(folder) / KEY_FILE)
    # Participants set a slider to ten times the number of beeps (rating.js).
    record = {"test_id": test["test_id"], "title": title, "check_answer": 10 * n_beeps}
    record |= {"questions": list(QUESTIONS), "seed": seed}
    write_text(json.dumps(record, indent=2) + "\n", Path(folder) / TEST_FILE)
    environment = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True)
    text = environment.get_template("rating.html").render(
        title=title,
        style=(TEMPLATE / "rating.css").read_text(encoding="utf-8"),
        script=(TEMPLATE / "rating.js").read_text(encoding="utf-8"),
        data=json.dumps(test, ensure_ascii=True).replace("<", "\\u003c"),
    )
    write_text(text, page / "index.html")
    write_csv(stimuli_table(test), page / "stimuli.csv")
    return key


def beeps(number: int, sample_rate: int) -> np.ndarray:
    """Return a waveform (T,) of beeps and pauses of 0.25 s, with a peak of 0.2."""
    time = np.arange(round(BEEP_S * sample_rate)) / sample_rate
    fade = np.minimum(1, np.minimum(time, BEEP_S - time) / 0.02)
    beep = 0.2 * fade * np.sin(2 * np.pi * BEEP_HZ * time)
    return np.concatenate([beep, np.zeros_like(beep)] * number)


def stimuli_table(test: Mapping[str, Any]) -> pd.DataFrame:
    """Return the trials of `write_test` as a table for other tools, without methods."""
    return pd.DataFrame(
        [
            {
                **{"trial": trial["id"], "class": trial["label"]},
                **{"input": trial["input"], "stimulus": stimulus, "file": file},
            }
            for trial in test["trials"]
            for stimulus, file in trial["stimuli"].items()
        ]
    )
