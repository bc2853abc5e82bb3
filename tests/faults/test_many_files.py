"""A tenth of the files is broken or hostile: the others are explained."""

import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from speechbrain_lmac.cli import main

GIANT = b"\xf0\xff\xff\x7f"  # 2 GiB, the length that a header promises
KINDS = {
    "empty": lambda whole: b"",
    "text": lambda whole: b"this is no sound\n" * 20,
    "header alone": lambda whole: whole[:44],
    "cut": lambda whole: whole[: len(whole) // 2],
    "random": lambda whole: bytes(np.random.default_rng(1).integers(0, 256, 3000)),
    "no samples": lambda whole: whole[:40] + bytes(4),
    "a giant in its header": lambda whole: whole[:40] + GIANT + whole[44:],
    "zero channels": lambda whole: whole[:22] + bytes(2) + whole[24:],
    "zero rate": lambda whole: whole[:24] + bytes(4) + whole[28:],
    "NaN": None,
}


def write_nan(path):
    wav = np.zeros(4800, dtype=np.float32)
    wav[100] = np.nan
    soundfile.write(path, wav, 16000, "FLOAT")


def test_the_others_are_explained_and_the_broken_ones_listed(
    n_files, tmp_path, monkeypatch, capsys, record
):
    folder = tmp_path / "files"
    folder.mkdir()
    rng = np.random.default_rng(5)
    broken = set()
    for number in range(n_files):
        path = folder / f"{number:05d}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(4800), 16000, "PCM_16")
        if number % 10 == 3:
            damage = KINDS[list(KINDS)[number // 10 % len(KINDS)]]
            whole = path.read_bytes()
            if damage is None:
                write_nan(path)
            else:
                path.write_bytes(damage(whole))
            broken.add(path)
    out = tmp_path / "out"
    argv = ["explain", str(folder), "--no_pictures", "--device=cpu"]
    monkeypatch.setattr(
        sys, "argv", ["speechbrain-lmac", *argv, f"--output_folder={out}"]
    )
    with pytest.raises(SystemExit) as end:
        main()
    message = capsys.readouterr().err
    assert end.value.code == 2 and "Traceback" not in message
    assert f"{len(broken)} of {n_files} files could not be explained" in message
    listed = {path for path in folder.iterdir() if f"{path}: " in message}
    assert listed == broken
    table = pd.read_csv(out / "explanations.csv")
    assert len(table) == n_files - len(broken)
    assert len(list(out.glob("*_explanation.wav"))) == len(table)
    record(
        "many_files",
        files=n_files,
        broken=len(broken),
        explained=len(table),
        kinds=list(KINDS),
    )
