"""Explanations of files, written: what is heard, a picture, and a table of them."""

import re
import shlex
import sys
from dataclasses import asdict
from glob import glob
from pathlib import Path

import pandas as pd
from speechbrain.dataio import audio_io

from speechbrain_lmac.console import progress_bar, show
from speechbrain_lmac.data_prep.manifest import AudioFault, check_audio
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.figures import write_explanation_picture
from speechbrain_lmac.files import write_atomically, write_csv
from speechbrain_lmac.locks import locked

# What is taken for audio in a folder; a file that is named may be called anything.
AUDIO = ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .au .w64".split()

# Characters of a prompt in a file name.
LONGEST_NAME = 60


def files_of(arguments):
    """The files that arguments of a command line name.

    Arguments
    ---------
    arguments : sequence of str
        Files; folders, of which all audio files are meant, with the folders in them;
        patterns with `*`, `?` or `[...]`, where `**` means any folders; `-` for a list
        on standard input, a file, folder or pattern in each line.

    Returns
    -------
    files : list of str
        In the order of the arguments, those of a folder or pattern by name; each once.
    failures : list of str
        A line for each argument that names nothing.
    """
    files, failures = [], []
    for argument in arguments:
        path = Path(argument)
        if argument == "-":
            lines = [line.rstrip("\n") for line in sys.stdin]
            more, missed = files_of([line for line in lines if line not in ("", "-")])
            files += more
            failures += missed
        elif path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO)
            files += [str(p) for p in found if p.is_file()]
            if not found:
                failures.append(f"{argument}: no audio file in this folder")
        elif re.search(r"[*?[]", argument) and not path.is_file():
            found = sorted(glob(argument, recursive=True))
            files += [p for p in found if Path(p).is_file()]
            if not found:
                failures.append(f"{argument}: no file is called like that")
        else:
            files.append(argument)
    return list(dict.fromkeys(files)), failures


def explain_files(arguments, explain, output_folder, pictures=("png",)):
    """Explain files one after the other, and write what is heard of each.

    A file that cannot be read does not stop the others. What is finished is in the
    table whatever stops the rest.

    Arguments
    ---------
    arguments : sequence of str
        See `files_of`.
    explain : callable
        A path to a FileExplanation, or to a list of PromptExplanation.
    output_folder : str or Path
        Where `explanations.csv` and, for each file, what `write_explanation` writes go.
    pictures : sequence of str
        Their kinds, of "png", "pdf" and "svg"; to draw takes longer than to explain.

    Returns
    -------
    table : pandas.DataFrame
        What is in `explanations.csv`.

    Raises
    ------
    InputError
        At the end, naming what could not be explained.
    """
    with locked(output_folder, shlex.join(sys.argv)):
        return _explain_files(arguments, explain, Path(output_folder), pictures)


def _explain_files(arguments, explain, output_folder, pictures):
    files, failures = files_of(arguments)
    n_named = len(files) + len(failures)
    rows = []
    try:
        for path, name in progress_bar(
            list(zip(files, unique_names(files), strict=True)), "explain", unit="file"
        ):
            try:
                check_audio(path)
                explained = explain(path)
            except (AudioFault, InputError) as error:
                failures.append(f"{path}: {error}")
                continue
            for part, answer in _by_name(name, explained).items():
                write_explanation(answer, output_folder, part, pictures)
                rows.append({"name": part, **answer.row()})
    finally:
        table = pd.DataFrame(rows)
        if rows:
            write_csv(table, output_folder / "explanations.csv")
    if rows:
        show(table.to_string(index=False, float_format="{:.3f}".format))
        show(f"listen and look in {output_folder}")
    if failures:
        raise InputError(
            f"{len(failures)} of {n_named} files could not be explained:\n  "
            + "\n  ".join(failures)
        )
    return table


def _by_name(name, explained):
    """What a file's explanations are called."""
    if not isinstance(explained, list):
        return {name: explained}
    parts = prompt_names([answer.explained for answer in explained])
    return {f"{name}_{p}": a for p, a in zip(parts, explained, strict=True)}


def write_sound(path, wav, sample_rate):
    """Write a waveform (N,) as 32-bit float WAV, atomically: nothing is clipped."""
    write_atomically(
        path,
        lambda part: audio_io.save(str(part), wav[None], sample_rate, subtype="FLOAT"),
    )


def write_explanation(explained, folder, name, pictures=("png",)):
    """Write `NAME_input.wav`, `NAME_explanation.wav`, `NAME_rest.wav`, `NAME.png`.

    The audio is 32-bit float WAV, mono: nothing is clipped. Of a file that was
    explained in windows, `NAME_windows.csv` tells what the model says of each.
    `pictures` are kinds of picture, "png", "pdf", "svg".
    """
    folder = Path(folder)
    for part in ("input", "explanation", "rest"):
        wav = getattr(explained, part)
        write_sound(folder / f"{name}_{part}.wav", wav, explained.sample_rate)
    if len(explained.windows) > 1:
        table = pd.DataFrame([asdict(window) for window in explained.windows])
        write_csv(table, folder / f"{name}_windows.csv")
    for kind in pictures:
        write_explanation_picture(
            folder / f"{name}.{kind}",
            {
                "input": explained.magnitude,
                "mask": explained.mask,
                "explanation": explained.masked_magnitude,
            },
            extent=(
                len(explained.input) / explained.sample_rate,
                explained.model_rate / 2,
            ),
            title=explained.title(),
        )


def unique_names(paths):
    """A name for each file: its stem, numbered where stems are equal.

    Example
    -------
    >>> unique_names(["a/dog.wav", "b/dog.wav", "cat.flac"])
    ['dog', 'dog_2', 'cat']
    """
    names, taken = [], set()
    for path in paths:
        stem = Path(path).stem
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name)
        names.append(name)
    return names


def prompt_names(prompts):
    """A piece of a file name for each prompt: safe on any system, and distinct.

    Letters, digits and hyphens of ASCII, at most `LONGEST_NAME` of them; numbered where
    prompts would be called alike. There is no underscore, so that a file's name and a
    prompt's, with one between them, can be told apart again.

    Example
    -------
    >>> prompt_names(["A dog, barking", "a dog/barking", "雨"])
    ['a-dog-barking', 'a-dog-barking-2', 'prompt']
    """
    names = []
    for prompt in prompts:
        words = re.sub("[^a-z0-9]+", "-", prompt.lower())[:LONGEST_NAME].strip("-")
        stem = words or "prompt"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names
