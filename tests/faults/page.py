"""docs/results/reliability.md, from what `make faults` left in results/faults.

python -m tests.faults.page
"""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from speechbrain_lmac.reporting.markdown import MarkdownPage, table_lines
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.system import versions

FOLDER = Path("results/faults")
KILLED = {
    "kill_training": "training",
    "kill_training_saving": "training that writes a checkpoint after every step",
    "kill_evaluation": "evaluation",
    "kill_manifests": "making of sounds and manifests",
    "kill_explaining": "explaining of files",
    "kill_export": "export of a model",
}
DISKS = {
    "disk_checkpoint_300k": "full before the first checkpoint",
    "disk_checkpoint_550k": "full at a later checkpoint",
    "disk_csv": "full at the table of an evaluation",
    "disk_read_only": "read-only, an evaluation",
    "disk_sounds": "full at the sounds of explanations",
}
OTHER = {
    "test_a_damaged_newest_checkpoint": "the newest checkpoint truncated, or a file of "
    "it missing: the one before is used, with a warning; equal weights",
    "test_the_second_run_in_a_folder": "a second run in a folder is refused, and told "
    "which is the first",
    "test_a_killed_run_holds_nothing": "a killed run keeps no folder",
    "test_a_batch_that_is_not_finite": "a loss of NaN, inf, or beyond float32: the "
    "batch is skipped and counted",
    "test_a_skipped_batch_leaves_no_trace": "weights and running means are as before "
    "it",
    "test_too_many_of_them_stop": "beyond `--nonfinite_patience` the training stops "
    "and says where",
    "test_the_term_without_a_bound": "mask_out has no bound below, but the norm of its "
    "gradient at the logits is at most the root of 2, at any size of the logits",
    "test_a_rank_that_dies": "one of two processes of a corpus killed: three take up "
    "the rest, no finished part is made again, the table is equal byte by byte",
    "test_a_checkpoint_has_the_interpreter": "a checkpoint is at most 3 times the "
    "interpreter and 0.5 MB",
}
FUZZED = {
    "fuzz_esc10-lmac": "sounds, L-MAC",
    "fuzz_esc10-lmac-zs": "sounds, LMAC-ZS",
    "fuzz_esc10-lmac-td": "sounds, LMAC-TD",
    "fuzz_tables": "tables of a dataset",
    "fuzz_manifests": "manifests",
    "fuzz_overrides": "overrides of a YAML",
}
ODD = {
    "odd_headers": "headers of pipes, unfinished ones, what was cut",
    "odd_names": "names: not UTF-8, 236 to 255 bytes, control characters, twins",
    "odd_lengths": "lengths: one sample to 30 minutes",
    "odd_things": "no files: folders, pipes, devices, loops; video",
}


def load(name):
    """What a test noted, or None."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def outcomes():
    """Name of each test to "passed", "failed" or "skipped"."""
    found = {}
    for case in ElementTree.parse(FOLDER / "junit.xml").iter("testcase"):
        kinds = {child.tag for child in case}
        state = "skipped" if "skipped" in kinds else "passed"
        found[case.get("name")] = "failed" if kinds & {"failure", "error"} else state
    return found


def hostile_models():
    """The lines on folders of models that somebody made to do harm."""
    noted = load("hostile_models") or {}
    columns = ["cases", "opened", "refused in one line", "ran", "tracebacks"]
    columns += ["longest, s", "largest, MiB"]
    return [
        "## Hostile models",
        "Each case is a folder, opened by a process of its own with limits, beside a "
        "folder of canary files (tests/hostile_models.py). *Opened*: what is odd about "
        "it can do no harm. *Ran*: code of the folder ran, or a file outside of it was "
        "read or changed. *Largest*: what the process grew by.",
        table_lines(["", *columns], [[k, *row.values()] for k, row in noted.items()]),
    ]


def page():
    """The text of docs/results/reliability.md."""
    tests = outcomes()
    states = [list(tests.values()).count(s) for s in ("passed", "failed", "skipped")]
    names = (*KILLED, *DISKS, *FUZZED, *ODD, "many_files")
    noted = {name: load(name) for name in names}
    killed = [
        [what, noted[name]["kills"], noted[name]["runs"], noted[name]["equal"]]
        for name, what in KILLED.items()
        if noted[name]
    ]
    disks = [
        [what, noted[name]["result"] if noted[name] else "not run, or not passed"]
        for name, what in DISKS.items()
    ]
    other = []
    for prefix, what in OTHER.items():
        cases = [state for name, state in tests.items() if name.startswith(prefix)]
        other.append([what, f"{cases.count('passed')} of {len(cases)}"])
    fuzzed = [
        [what, *noted[name].values()] for name, what in FUZZED.items() if noted[name]
    ]
    n_cases = sum(sum(row[1:]) for row in fuzzed)
    odd = [[what, *noted[name].values()] for name, what in ODD.items() if noted[name]]
    many = noted["many_files"]
    made = MarkdownPage("Reliability")
    made.add(
        "Written by `make faults`: {} tests passed, {} failed, {} were skipped. "
        "Data: generated sounds; seed 1234. Versions: {}.".format(*states, versions()),
        "## Killed",
        "SIGKILL at random moments of a command that is called again until it is "
        "done; each result is compared with the undisturbed one. `runs` is how "
        "often it came to its end in between. Draws are functions of seed, epoch "
        "and clip, so that nothing depends on what a process did before.",
        table_lines(["", "kills", "runs", "what was equal"], killed),
        "## Disks",
        "A tmpfs of a few hundred kB, or remounted read-only; the command ends "
        "with one message and status 2. With space, the same command goes on.",
        table_lines(["", "result"], disks),
        "## Damage",
        table_lines(["", "cases passed"], other),
        "## Broken files",
        f"{many['files']:,} files of 0.3 s, of which {many['broken']} are broken "
        f"or hostile ({', '.join(many['kinds'])}): {many['explained']:,} "
        f"explained, {many['broken']} listed at the end, status 2.",
        "## Headers, names, lengths",
        "One command for each line, with `esc10-lmac`. An answer is wrong if class "
        "or confidence (within 1e-3) is not what `AudioClassifier.classify_file` "
        "says of the same sound in a plain file, or if the length is another; a "
        "refusal, if the sound is whole.",
        table_lines(
            ["", "explained", "refused in one line", "wrong", "tracebacks"], odd
        ),
        *hostile_models(),
        "## Fuzzing",
        f"{n_cases:,} cases by hypothesis, the same ones in every run. Sounds of 0 "
        "to 90 s (at most 4 M samples), 4 to 192 kHz, 1 to 8 channels, WAV of all "
        "formats, FLAC, Ogg; noise, silence, DC, clipping, denormals, NaN and inf. "
        "Only right answers and errors that say what is wrong appear; what they "
        "found is in tests/faults/test_fuzzing.py. A sound that its container "
        "cannot hold (8 channels at 192 kHz in Ogg) is no case.",
        table_lines(["", "answered", "refused"], fuzzed),
    )
    return made.text()


if __name__ == "__main__":
    write_text(page(), "docs/results/reliability.md")
    print("wrote docs/results/reliability.md")
