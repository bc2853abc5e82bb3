"""Input files from command-line arguments."""

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from speechbrain_lmac.dsp.audio import AUDIO
from speechbrain_lmac.dsp.audio_check import TO_CONVERT, conversion
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.escaping import readable

# Name prefixes of files that are not recordings: macOS metadata on non-Mac disks, and
# unfinished files of `files.write_atomically`.
NO_RECORDING = re.compile(r"\._|\.part\d+\.")
CLOSED = "cannot open the folder"
MAGIC = re.compile(r"[*?[]")

# (folder, is the file itself an argument?) to names of explanations in the folder.
OutputsIn = Callable[[str, bool], Collection[str]]


@dataclass
class Inputs:
    """The files that the arguments refer to: to explain, skipped and failed."""

    files: list[str] = field(default_factory=list)  # to explain, in order, each once
    failures: list[str] = field(default_factory=list)  # one message per failure
    no_audio: list[str] = field(default_factory=list)  # skipped: no audio suffix
    to_convert: list[str] = field(default_factory=list)  # skipped: unsupported format
    outputs: list[str] = field(default_factory=list)  # skipped: explanations

    def notes(self) -> list[str]:
        """Return a message for each kind of skipped file."""
        lines = []
        if self.no_audio:
            names = some_of(_name(path) for path in self.no_audio)
            files = _counted(len(self.no_audio), "file")
            lines.append(f"skipped {files} without an audio suffix: {names}")
        if self.outputs:
            names = some_of(_name(path) for path in self.outputs)
            files = _counted(len(self.outputs), "explanation")
            lines.append(f"skipped {files} among the inputs: {names}")
        return lines

    def warnings(self) -> list[str]:
        """Return a list with a message about files to convert, [] if there are none."""
        if not self.to_convert:
            return []
        names = some_of(_name(path) for path in self.to_convert)
        files = _counted(len(self.to_convert), "file")
        return [
            f"skipped {files} that must be converted: {names}. For each: "
            f"{readable(conversion(self.to_convert[0]))}"
        ]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _name(path: str) -> str:
    return readable(Path(path).name)


def find_inputs(
    arguments: str | Path | Sequence[str | Path], outputs_in: OutputsIn
) -> Inputs:
    """Find the input files that command-line arguments refer to.

    Arguments
    ---------
    arguments : sequence of str or Path
        Files; folders, meaning all audio files in them and their subfolders; patterns
        with `*`, `?` or `[...]`, where `**` matches any number of folders; `-` for a
        list on standard input, one file, folder or pattern per line (or NUL-separated).
    outputs_in : callable
        Maps (folder, named) to the names of explanations in the folder, which are
        skipped. `named`: the file itself is an argument.

    Returns
    -------
    inputs : Inputs

    Raises
    ------
    InputError
        When there are no arguments, or one is an empty string.
    """
    if isinstance(arguments, (str, Path)):
        arguments = [arguments]
    names = [os.fspath(argument) for argument in arguments]
    if not names:
        raise InputError("missing arguments: give the files to explain")
    if not all(names):
        raise InputError(
            'got the file name "": is a shell variable empty? Pass a file, a folder '
            "(. is the current one), a pattern or -"
        )
    inputs, seen = Inputs(), set[str]()
    for argument in dict.fromkeys(names):
        listed = read_list() if argument == "-" else [argument]
        if not listed:
            raise InputError("the list on standard input (-) is empty")
        for name in listed:
            for path in _found(name, inputs, outputs_in):
                if os.path.abspath(path) not in seen:
                    seen.add(os.path.abspath(path))
                    inputs.files.append(path)
    return inputs


def read_list() -> list[str]:
    """Return the names read from standard input, without BOM and CRLF."""
    stream = getattr(sys.stdin, "buffer", None)
    text = sys.stdin.read() if stream is None else _decoded(stream.read())
    ends = "\0" if "\0" in text else "\n"
    lines = text.removeprefix("\ufeff").split(ends)
    return [line for line in (line.rstrip("\r") for line in lines) if line.strip()]


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # PowerShell
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "surrogateescape")


def _found(name: str, inputs: Inputs, outputs_in: OutputsIn) -> list[str]:
    """Return the files of one argument or line; add the others to `inputs`."""
    if os.path.isdir(name):
        return _in_folder(name, inputs, outputs_in)
    if MAGIC.search(name) and not os.path.lexists(name):
        return _by_pattern(name, inputs, outputs_in)
    return [] if _is_output(name, inputs, outputs_in, named=True) else [name]


def _in_folder(folder: str, inputs: Inputs, outputs_in: OutputsIn) -> list[str]:
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
    """Return the reason why no file was found in a folder."""
    media = inputs.to_convert[n_to_convert:]
    if media:
        reason = f"{len(media)} must be converted, e.g. with {conversion(media[0])}"
    elif len(inputs.outputs) > n_outputs:
        reason = "only explanations, which are skipped"
    else:
        reason = "only files of other kinds" if inputs.no_audio else "it is empty"
    return f"no audio file in this folder ({reason})"


def _walk(folder: str, inputs: Inputs) -> Iterator[str]:
    """Yield all files of a folder and its subfolders, each once, linked ones last."""
    entered: set[tuple[int, int]] = set()
    folders: list[str] = [folder]
    links: list[str] = []
    while folders or links:
        current = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(current)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(current) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            inputs.failures.append(f"{current}: {CLOSED}: {error.strerror}")
            continue
        for entry in entries:
            if os.path.isdir(entry.path):
                (links if entry.is_symlink() else folders).append(entry.path)
            else:
                yield str(Path(entry.path))  # without ./


def _by_pattern(pattern: str, inputs: Inputs, outputs_in: OutputsIn) -> list[str]:
    n_before = len(inputs.outputs)
    found = [p for p in sorted(glob(pattern, recursive=True)) if not os.path.isdir(p)]
    closed = list(_closed_to(pattern))
    inputs.failures += closed
    files = [p for p in found if not _is_output(p, inputs, outputs_in)]
    if not files and not closed:
        only = len(inputs.outputs) > n_before
        reason = "only explanations match" if only else "no file matches"
        inputs.failures.append(f"{pattern}: {reason}")
    return files


def _closed_to(pattern: str) -> Iterator[str]:
    """Yield a message for each folder that glob skips because it cannot be opened."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if MAGIC.search(part))
    base, rest = os.path.join("", *parts[:fixed]) or ".", parts[fixed:]
    depth = float("inf") if "**" in rest else len(rest) - 1
    errors: list[OSError] = []
    for folder, folders, _ in os.walk(base, onerror=errors.append):
        if len(Path(folder).parts) - len(Path(base).parts) >= depth:
            folders.clear()
    for error in errors:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            yield f"{error.filename}: {CLOSED}: {error.strerror}"


def _is_output(
    path: str, inputs: Inputs, outputs_in: OutputsIn, named: bool = False
) -> bool:
    """Return whether a file is an explanation, and if so list it in `inputs.outputs`.

    Files passed as arguments (`named`) only count as explanations in the output folder.
    """
    folder, name = os.path.split(path)
    if name not in outputs_in(folder or ".", named):
        return False
    if os.path.splitext(name)[1] in AUDIO:
        inputs.outputs.append(path)
    return True
