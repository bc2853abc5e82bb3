"""Every row of tests/recipes/*.csv runs its script for one epoch of a few clips.

The scripts run in an empty folder, row after row: later ones find what earlier ones
wrote where the YAML files expect it. Only with ``-m smoke`` (``make smoke``).
"""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hyperpyyaml import load_hyperpyyaml

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000
TABLES = sorted(Path(__file__).parent.glob("*.csv"))


def rows():
    """The rows of all tables, in their order."""
    for table in TABLES:
        with open(table, newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


def categories_of(dataset):
    """The class names of a dataset part."""
    part = ROOT / "hparams" / "parts" / "dataset" / f"{dataset.lower()}.yaml"
    arguments = {"data_folder": "none", "sample_rate": RATE}
    return load_hyperpyyaml(f"part: !include:{part} {arguments}")["part"].categories


def make_esc50(folder, categories):
    """A second of noise and a tone per clip, in ESC-50's layout, with toy's stems.

    The training folds share the classes; the others have a clip of the first six.
    """
    rng = np.random.default_rng(1234)
    time = np.arange(RATE) / RATE
    stems = folder / "stems"
    folders = [folder / "audio", stems / "foreground", stems / "background"]
    for path in (folder / "meta", *folders):
        path.mkdir(parents=True)
    clips = [(1 + target % 3, target) for target in range(len(categories))]
    clips += [(fold, target) for fold in (4, 5) for target in range(6)]
    lines = ["filename,fold,target,category,esc10"]
    for index, (fold, target) in enumerate(clips):
        tone = 0.2 * np.sin(2 * np.pi * (200 + 100 * target) * time)
        noise = 0.05 * rng.standard_normal(RATE)
        for path, samples in zip(folders, (tone + noise, tone, noise), strict=True):
            soundfile.write(path / f"clip{index}.wav", samples, RATE)
        lines.append(f"clip{index}.wav,{fold},{target},{categories[target]},True")
    (folder / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """An empty folder with the datasets that the rows name."""
    folder = tmp_path_factory.mktemp("smoke")
    for dataset in sorted({row["Dataset"] for row in rows()}):
        make_esc50(folder / "samples" / dataset, categories_of(dataset))
    return folder


@pytest.mark.smoke
@pytest.mark.parametrize(
    "row",
    rows(),
    ids=lambda row: f"{Path(row['Script_file']).stem} {Path(row['Hparam_file']).name}",
)
def test_row(row, workplace):
    flags = shlex.split(row["test_debug_flags"])
    command = [sys.executable, str(ROOT / row["Script_file"]), row["Hparam_file"]]
    done = subprocess.run(
        [*command, *flags],
        cwd=workplace,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    output = f"results/{Path(row['Hparam_file']).stem}/1234"
    for flag in flags:
        if flag.startswith("--output_folder="):
            output = flag.removeprefix("--output_folder=")
    (files,) = re.findall(r"file_exists=\[(.*?)\]", row["test_debug_checks"])
    for name in files.split(","):
        assert (workplace / output / name).is_file(), name
