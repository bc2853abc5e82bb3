"""The pages of a listening test, and the key to them, which is kept apart."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
import yaml

from speechbrain_lmac.dsp.loudness import equally_loud
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
# webMUSHRA has no slider for several sounds and one question, but a row of choices.
CHOICES = range(10, 101, 10)
TRAINING, CHECK = "training", "check"
BEEP_HZ, BEEP_S = 880.0, 0.25
KEY_FILE, TEST_FILE = "key.csv", "test.json"


@dataclass(frozen=True)
class Trial:
    """One clip of the test."""

    clip: str
    label: str  # class that is explained
    input: torch.Tensor  # (N,)
    sounds: dict  # method to explanation (N,)


def choose_trials(
    block, benchmark, condition: str, methods: list[str], n_clips: int, seed: int
) -> list[Trial]:
    """Clips of a condition and their explanations by some methods.

    Arguments
    ---------
    block : evaluation.Block
        Its domain can be listened to.
    benchmark : Benchmark
        With all clips of the condition.
    condition : str
    methods : sequence of str
        Of the block's explainers.
    n_clips : int
    seed : int
        Of the choice.

    Returns
    -------
    trials : list of Trial
        `n_clips`, and one more for the training page.

    Raises
    ------
    InputError
        For a method that the block does not have, or too few clips.
    """
    unknown = [name for name in methods if name not in block.explainers]
    if unknown:
        raise InputError(
            f"no method is called {unknown[0]!r}; there are "
            f"{', '.join(block.explainers)}"
        )
    clips = benchmark.clips(condition)
    if n_clips + 1 > len(clips):
        raise InputError(
            f"{n_clips} clips and one for the training page are asked for, but "
            f"{condition} has {len(clips)}"
        )
    draw = generator("listening test", seed, condition)
    chosen = torch.randperm(len(clips), generator=draw)[: n_clips + 1].tolist()
    trials = []
    for index in chosen:
        item = clips[index]
        wav = item["signal"][None].to(benchmark.device)
        sounds, label = {}, None
        for method in methods:
            explained = explain_batch(
                _Explainer(block, benchmark, method), wav, benchmark.labels
            )
            sounds[method] = explained.explanation[0].cpu()
            label = explained.labels[0]
        trials.append(Trial(str(item["id"]), label, wav[0].cpu(), sounds))
    return trials


class _Explainer:
    """A method of a block, as `explain_batch` wants it."""

    def __init__(self, block, benchmark, method: str):
        self.explain = block.explainers[method].explain
        self.domain, self.classifier = block.domain, benchmark.classifier


def write_test(
    trials: list[Trial], folder: Path, sample_rate: int, seed: int, title: str
) -> pd.DataFrame:
    """Write the pages of a test, and what they must not tell beside them.

    `page/` is for the participants: `index.html`, ours; `webmushra.yaml` with
    `stimuli.csv`, the same test for webMUSHRA; `audio/`. `key.csv` and `test.json`, who
    is behind which sound and what the attention check asks for, stay outside of it.

    Arguments
    ---------
    trials : list of Trial
        The last one is for training, and is not scored.
    folder : Path
    sample_rate : int
        Hz.
    seed : int
    title : str

    Returns
    -------
    key : pandas.DataFrame
        Columns `trial stimulus clip method label gain_db lufs file`.
    """
    from jinja2 import Environment, FileSystemLoader

    page = Path(folder) / "page"
    (page / "audio").mkdir(parents=True)
    key, told = [], []
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
            key.append(
                {
                    **{"trial": name, "stimulus": stimulus, "clip": trial.clip},
                    **{"method": method, "label": trial.label, "file": file},
                    **{"gain_db": round(gains[method], 3), "lufs": round(lufs, 3)},
                }
            )
        whole, *_ = stimuli  # the input stands first
        told.append(
            {
                **{"id": name, "label": trial.label, "input": stimuli.pop(whole)},
                "stimuli": dict(sorted(stimuli.items())),
            }
        )
    n_beeps = 2 + int(torch.randint(4, (1,), generator=generator("beeps", seed)))
    soundfile.write(
        page / "audio" / "check.wav", beeps(n_beeps, sample_rate), sample_rate, "PCM_16"
    )
    test = {
        "test_id": content_hash(json.dumps(told), kind="sha256")[:12],
        "title": title,
        "questions": QUESTIONS,
        "lowest": LOWEST,
        "highest": HIGHEST,
        "trials": [trial for trial in told if trial["id"] != TRAINING],
        "training": next(trial for trial in told if trial["id"] == TRAINING),
        "check": "audio/check.wav",
    }
    key = pd.DataFrame(key)
    write_csv(key, Path(folder) / KEY_FILE)
    kept = {"test_id": test["test_id"], "title": title, "check_answer": 10 * n_beeps}
    kept |= {"questions": list(QUESTIONS), "seed": seed}
    write_text(json.dumps(kept, indent=2) + "\n", Path(folder) / TEST_FILE)
    environment = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True)
    text = environment.get_template("rating.html").render(
        title=title,
        style=(TEMPLATE / "rating.css").read_text(encoding="utf-8"),
        script=(TEMPLATE / "rating.js").read_text(encoding="utf-8"),
        data=json.dumps(test, ensure_ascii=True).replace("<", "\\u003c"),
    )
    write_text(text, page / "index.html")
    write_text(webmushra(test), page / "webmushra.yaml")
    write_csv(neutral(test), page / "stimuli.csv")
    return key


def beeps(number: int, sample_rate: int) -> np.ndarray:
    """So many beeps, with pauses as long as they are: samples, 0.2 at most."""
    time = np.arange(round(BEEP_S * sample_rate)) / sample_rate
    fade = np.minimum(1, np.minimum(time, BEEP_S - time) / 0.02)
    beep = 0.2 * fade * np.sin(2 * np.pi * BEEP_HZ * time)
    return np.concatenate([beep, np.zeros_like(beep)] * number)


def neutral(test: dict) -> pd.DataFrame:
    """The test as a table that any tool can read: nothing in it tells the method."""
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


def webmushra(test: dict) -> str:
    """The same test as a configuration of webMUSHRA, a page per clip and question.

    Put `page/` into webMUSHRA's `configs/` under the name of the test.
    """
    folder = f"configs/{test['test_id']}"
    response = [{"value": str(value), "label": str(value)} for value in CHOICES]
    pages = [
        {
            "type": "likert_multi_stimulus",
            "id": f"{trial['id']}_{name}",
            "name": test["title"],
            "content": f"{question.format(trial['label'])} 10: not at all, 100: "
            f"perfectly. The input: <audio controls src='{folder}/{trial['input']}'>"
            "</audio>",
            "mustPlayback": True,
            "mustRate": True,
            "stimuli": {s: f"{folder}/{f}" for s, f in trial["stimuli"].items()},
            "response": response,
        }
        for trial in test["trials"]
        for name, question in test["questions"].items()
    ]
    finish = {
        "type": "finish",
        "name": "Thank you",
        "content": "Thank you for listening.",
        "showResults": False,
        "writeResults": True,
        "questionnaire": [
            {"type": "text", "label": "Your code", "name": "participant"}
        ],
    }
    config = {
        "testname": test["title"],
        "testId": test["test_id"],
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [["random", *pages], finish],
    }
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
