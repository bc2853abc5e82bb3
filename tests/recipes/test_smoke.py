"""Every row of tests/recipes/*.csv runs its script for one epoch of a few clips.

The scripts run in an empty folder, row after row: later ones find what earlier ones
wrote where the YAML files expect it. Only with ``-m smoke`` (``make smoke``).
"""

import csv
import os
import re
import shlex
import shutil
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
    facts = "snr_db,pitch_hz,n_events,start_s,end_s"  # the table of toy has these, too
    lines = [f"filename,fold,target,category,esc10,{facts}"]
    for index, (fold, target) in enumerate(clips):
        tone = 0.2 * np.sin(2 * np.pi * (200 + 100 * target) * time)
        noise = 0.05 * rng.standard_normal(RATE)
        for path, samples in zip(folders, (tone + noise, tone, noise), strict=True):
            soundfile.write(path / f"clip{index}.wav", samples, RATE)
        row = f"clip{index}.wav,{fold},{target},{categories[target]},True"
        lines.append(f"{row},{index},{200 + index},2,0,1")
    (folder / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")


def make_sounds(folder):
    """A few short noises each, as WHAM!, LJSpeech, Clotho and in their own folder."""
    rng = np.random.default_rng(5)

    def write(path, rate=RATE):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(rate), rate)

    for part in ("tr", "cv", "tt"):
        names = [f"{part}{number}.wav" for number in range(3)]
        for name in names:
            write(folder / "wham_noise" / part / name)
        table = folder / "wham_noise" / "metadata" / f"noise_meta_{part}.csv"
        table.parent.mkdir(exist_ok=True)
        table.write_text(
            "\n".join(["utterance_id,noise_snr", *(f"{n},1" for n in names)])
        )
    names = [f"LJ001-{number:04}" for number in range(30)]
    for name in names:
        write(folder / "LJSpeech-1.1" / "wavs" / f"{name}.wav", 22050)
        write(folder / "speech" / f"{name}.wav", 8000)
    for part in ("development", "validation", "evaluation"):
        lines = ["file_name," + ",".join(f"caption_{n}" for n in range(1, 6))]
        for name in (f"{part} 1.wav", f"{part} 2.wav"):
            write(folder / "clotho" / part / name)
            lines.append(f"{name},a noise,a sound,noise,hiss,noise in the {part}")
        table = folder / "clotho" / f"clotho_captions_{part}.csv"
        table.write_text("\n".join(lines) + "\n")
    table = "".join(f"{name}|Words.|Words.\n" for name in names)
    (folder / "LJSpeech-1.1" / "metadata.csv").write_text(table)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, make_us8k, microsoft_folder, clap_folder):
    """An empty folder with the datasets that the rows name."""
    folder = tmp_path_factory.mktemp("smoke")
    for dataset in sorted({row["Dataset"] for row in rows()} - {"US8K"}):
        make_esc50(folder / "samples" / dataset, categories_of(dataset))
    make_us8k(folder / "samples" / "US8K", longest=1.0)
    make_sounds(folder / "samples")
    shutil.copytree(microsoft_folder, folder / "samples" / "clap")
    shutil.copytree(clap_folder, folder / "samples" / "htsat")
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
    if row["Dataset"] == "US8K":
        output += "/fold10"
    for flag in flags:
        if flag.startswith("--output_folder="):
            output = flag.removeprefix("--output_folder=")
    (files,) = re.findall(r"file_exists=\[(.*?)\]", row["test_debug_checks"])
    for name in files.split(","):
        assert (workplace / output / name).is_file(), name
