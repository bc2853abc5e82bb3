"""The files that the arguments of a command line name."""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from speechbrain_lmac.dsp.audio import AUDIO
from speechbrain_lmac.dsp.audio_check import TO_CONVERT, conversion
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.escaping import readable

# Beginnings of names in a folder that are no recordings: what macOS keeps beside one on
# a foreign disk, and what `files.write_atomically` has not finished.
NO_RECORDING = re.compile(r"\._|\.part\d+\.")
CLOSED = "the folder cannot be entered"
MAGIC = re.compile(r"[*?[]")


@dataclass
class Inputs:
    """What arguments name."""

    files: list = field(default_factory=list)  # str, each once, in their order
    failures: list = field(default_factory=list)  # a line for what cannot be used
    no_audio: list = field(default_factory=list)  # passed over for their names
    to_convert: list = field(default_factory=list)  # of these, audio and video
    outputs: list = field(default_factory=list)  # explanations, found among inputs

    def notes(self) -> list[str]:
        """A line about each kind of file that was passed over."""
        lines = []
        if self.no_audio:
            names = some_of(_name(path) for path in self.no_audio)
            are = "file is" if len(self.no_audio) == 1 else "files are"
            lines.append(f"{len(self.no_audio)} {are} no audio by name: {names}")
        if self.outputs:
            names = some_of(_name(path) for path in self.outputs)
            are = "explanation is" if len(self.outputs) == 1 else "explanations are"
            lines.append(f"{len(self.outputs)} {are} no input: {names}")
        return lines

    def warnings(self) -> list[str]:
        """A line about files that ought to be converted."""
        if not self.to_convert:
            return []
        names = some_of(_name(path) for path in self.to_convert)
        are = "file is" if len(self.to_convert) == 1 else "files are"
        return [
            f"{len(self.to_convert)} {are} passed over that must be converted: "
            f"{names}. For each: {readable(conversion(self.to_convert[0]))}"
        ]


def _name(path: str) -> str:
    return readable(Path(path).name)


def find_inputs(arguments: list, outputs_in) -> Inputs:
    """The files that arguments of a command line name.

    Arguments
    ---------
    arguments : sequence of str
        Files; folders, of which all audio files are meant, with the folders in them;
        patterns with `*`, `?` or `[...]`, where `**` means any folders; `-` for a list
        on standard input, a file, folder or pattern in each line (or between NULs).
    outputs_in : callable
        A folder, and whether the file is named or was found in it, to the names in it
        of what was written there: they are no input.

    Returns
    -------
    inputs : Inputs

    Raises
    ------
    InputError
        When nothing is named, or "" is.
    """
    if isinstance(arguments, (str, Path)):
        arguments = [arguments]
    arguments = [os.fspath(argument) for argument in arguments]
    if not arguments:
        raise InputError("no file is named that is to be explained")
    if not all(arguments):
        raise InputError(
            'a file is called "": is a variable of the shell empty? Name a file, a '
            "folder (. is the current one), a pattern or -"
        )
    inputs, seen = Inputs(), set()
    for argument in dict.fromkeys(arguments):
        listed = read_list() if argument == "-" else [argument]
        if not listed:
            raise InputError("- stands for a list on standard input, which is empty")
        for name in listed:
            for path in _found(name, inputs, outputs_in):
                if os.path.abspath(path) not in seen:
                    seen.add(os.path.abspath(path))
                    inputs.files.append(path)
    return inputs


def read_list() -> list[str]:
    """The names on standard input, without BOM and CRLF."""
    stream = getattr(sys.stdin, "buffer", None)
    text = sys.stdin.read() if stream is None else _decoded(stream.read())
    ends = "\0" if "\0" in text else "\n"
    lines = text.removeprefix("\ufeff").split(ends)
    return [line for line in (line.rstrip("\r") for line in lines) if line.strip()]


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # of PowerShell
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "surrogateescape")


def _found(name: str, inputs: Inputs, outputs_in) -> list[str]:
    """The files that one argument or line names; the rest goes to `inputs`."""
    if os.path.isdir(name):
        return _in_folder(name, inputs, outputs_in)
    if MAGIC.search(name) and not os.path.lexists(name):
        return _by_pattern(name, inputs, outputs_in)
    return [] if _is_output(name, inputs, outputs_in, named=True) else [name]


def _in_folder(folder: str, inputs: Inputs, outputs_in) -> list[str]:
    before = len(inputs.to_convert), len(inputs.outputs), len(inputs.failures)
    found = []
    for path in sorted(_walk(folder, inputs), key=lambda path: Path(path).parts):
        name = os.path.basename(path)
        suffix = os.path.splitext(name)[1].lower()
        hidden = name.startswith(".") and suffix not in AUDIO
        if hidden or NO_RECORDING.match(name) or _is_output(path, inputs, outputs_in):
            continue
        if suffix in TO_CONVERT:
            inputs.to_convert.append(path)
        elif suffix not in AUDIO:
            inputs.no_audio.append(path)
        else:
            found.append(path)
    if not found and len(inputs.failures) == before[2]:
        inputs.failures.append(f"{folder}: {_nothing(inputs, *before[:2])}")
    return found


def _nothing(inputs: Inputs, n_to_convert: int, n_outputs: int) -> str:
    """Why there is nothing in a folder."""
    media = inputs.to_convert[n_to_convert:]
    if media:
        said = f"{len(media)} must be converted, as by: {conversion(media[0])}"
    elif len(inputs.outputs) > n_outputs:
        said = "only explanations, which are no input"
    else:
        said = (
            "there are files of other kinds" if inputs.no_audio else "it has no files"
        )
    return f"no audio file in this folder ({said})"


def _walk(folder: str, inputs: Inputs) -> Iterator[str]:
    """All files in a folder and in those in it; linked ones at last, each once."""
    entered, folders, links = set(), [folder], []
    while folders or links:
        current = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(current)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            inputs.failures.append(f"{current}: {CLOSED}: {error.strerror}")
            continue
        for entry in entries:
            if os.path.isdir(entry.path):
                (links if entry.is_symlink() else folders).append(entry.path)
            else:
                yield str(Path(entry.path))  # without ./


def _by_pattern(pattern: str, inputs: Inputs, outputs_in) -> list[str]:
    n_before = len(inputs.outputs)
    found = [p for p in sorted(glob(pattern, recursive=True)) if not os.path.isdir(p)]
    closed = list(_closed_to(pattern))
    inputs.failures += closed
    files = [p for p in found if not _is_output(p, inputs, outputs_in)]
    if not files and not closed:
        only = len(inputs.outputs) > n_before
        said = "only explanations, which are no input, are" if only else "no file is"
        inputs.failures.append(f"{pattern}: {said} called like that")
    return files


def _closed_to(pattern: str) -> Iterator[str]:
    """A line for each folder that glob passes over, since it cannot be entered."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if MAGIC.search(part))
    base, rest = os.path.join("", *parts[:fixed]) or ".", parts[fixed:]
    depth = float("inf") if "**" in rest else len(rest) - 1
    refused = []
    for folder, folders, _ in os.walk(base, onerror=refused.append):
        if len(Path(folder).parts) - len(Path(base).parts) >= depth:
            folders.clear()
    for error in refused:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            yield f"{error.filename}: {CLOSED}: {error.strerror}"


def _is_output(path: str, inputs: Inputs, outputs_in, named: bool = False) -> bool:
    """Whether a file is an explanation; it is counted then.

    `outputs_in` says it of a folder that is searched; a file that is `named` is one
    only if it lies where the explanations go.
    """
    folder, name = os.path.split(path)
    if name not in outputs_in(folder or ".", named):
        return False
    if os.path.splitext(name)[1] in AUDIO:
        inputs.outputs.append(path)
    return True
