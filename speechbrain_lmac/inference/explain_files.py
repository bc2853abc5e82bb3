"""Explain many files, and write their sounds, pictures and a table of them."""

import errno
import logging
import os
import re
import shlex
import sys
from pathlib import Path

from speechbrain_lmac.dsp.audio_check import AudioFault, check_audio, doubt_lines
from speechbrain_lmac.dsp.audio_streams import MonoFile
from speechbrain_lmac.inference.batches.inputs import find_inputs
from speechbrain_lmac.inference.batches.names import file_stem, prompt_names
from speechbrain_lmac.inference.batches.table import ExplanationTable
from speechbrain_lmac.inference.requests import PromptRequest
from speechbrain_lmac.inference.written_files import write_request
from speechbrain_lmac.utils.console import progress_bar, show
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.escaping import in_utf8, readable
from speechbrain_lmac.utils.files import CannotWriteError, why_refused
from speechbrain_lmac.utils.locks import locked

logger = logging.getLogger(__name__)

WIDEST = 48  # characters of a cell that is shown
NUMBER = re.compile(r"-?\d+\.\d+(e-?\d+)?")
# The machine's fault and not a file's, wherever in a file's turn it shows.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# How torch says that there is too little memory, which Python calls a MemoryError.
NO_MEMORY = ("not enough memory", "out of memory", "defaultcpuallocator")


def explain_files(
    arguments: list,
    requests: list[PromptRequest],
    output_folder: Path | str,
    settings: str,
    pictures: list[str] | tuple = ("png",),
    again: bool = False,
) -> ExplanationTable:
    """Explain files one after the other, and write what is heard of each.

    A file that cannot be read, or for which there is too little memory, does not stop
    the others; a full disk does. Each row is in the table as soon as its file is
    explained. What is finished is not done again: a file that was explained before
    with the same settings is skipped.

    Arguments
    ---------
    arguments : sequence of str
        See `batches.inputs.find_inputs`.
    requests : list
        What is asked of each file: a ClassRequest, or a PromptRequest for each prompt.
    output_folder : str or Path
        Where `explanations.csv` and, for each file, what `write_request` writes go.
    settings : str
        A fingerprint of all that an explanation depends on but the file.
    pictures : sequence of str
        Their kinds, of "png", "pdf" and "svg"; to draw takes longer than to explain.
    again : bool
        Explain what is finished once more, under the same names.

    Returns
    -------
    table : ExplanationTable
        Its `frame()` is what is in `explanations.csv`.

    Raises
    ------
    CannotWriteError
        At once.
    InputError
        At the end, naming what could not be explained; at once, when no file is named
        or the folder has a table of something else.
    """
    folder = Path(output_folder)
    if in_utf8(str(folder)) != str(folder):  # libsndfile could not be told of it
        raise InputError(
            f"the output folder {readable(folder)} has a name that is not UTF-8: take "
            "another one"
        )
    inputs = find_inputs(arguments, _Outputs(folder))
    for note in inputs.notes():
        show(note)
    for warning in inputs.warnings():
        logger.warning(warning)
    with locked(folder, shlex.join(sys.argv)):
        batch = _Batch(ExplanationTable(folder), requests, settings, pictures, again)
        batch.run(inputs.files)
    return batch.conclude(inputs)


class _Outputs:
    """The names in a folder of what was written there.

    Files that are found next to any table are explanations if it lists them; one that
    is named, only next to the table of this run.
    """

    def __init__(self, folder: Path):
        self.folder = os.path.realpath(folder)
        self.known = {}

    def __call__(self, folder: str, named: bool = False) -> set[str] | tuple:
        place = os.path.realpath(folder)
        if named and place != self.folder:
            return ()
        if place not in self.known:
            try:
                self.known[place] = ExplanationTable(place).outputs()
            except (InputError, OSError):  # a table of something else
                self.known[place] = ()
        return self.known[place]


class _Batch:
    """Files on their way into a table."""

    def __init__(
        self,
        table: ExplanationTable,
        requests: list[PromptRequest],
        settings: str,
        pictures: list[str] | tuple,
        again: bool,
    ):
        self.table = table
        self.requests = requests
        prompts = [r.prompt for r in requests if isinstance(r, PromptRequest)]
        self.slugs = prompt_names(prompts) if prompts else [""]
        self.settings = settings
        self.pictures = pictures
        self.again = again
        self.failures = []
        self.doubtful = {}  # doubt -> files
        self.parts = []  # names in the table, in the order of the files
        self.new = []  # of these, those that were explained now
        self.n_skipped = 0

    def run(self, files: list[str]) -> None:
        """Explain files; what is wrong with one of them goes to `failures`."""
        self.table.repair()
        try:
            for path in progress_bar(files, "explain", unit="file"):
                try:
                    self._explain(path)
                except CannotWriteError:
                    raise
                except Exception as error:
                    self._stop_if_full(error)
                    self.failures.append(readable(f"{path}: {_reason(error)}"))
                    logger.debug("%s", path, exc_info=True)
            self.table.sort(self.parts)
        finally:
            for line in doubt_lines(self.doubtful):
                logger.warning(line)

    def _explain(self, path: str) -> None:
        if not os.path.isfile(path):
            check_audio(path)  # says why
        endings = [f".{kind}" for kind in self.pictures]
        source, known = self.table.find(path, self.settings, endings)
        if known is not None and not self.again:
            self.n_skipped += 1
            self.parts += known.parts
            return
        sound = open_sound(path)
        if sound.doubt:
            self.doubtful.setdefault(sound.doubt, []).append(readable(path))
        parts = self.table.begin(source, file_stem(path), self.slugs)
        try:
            rows = [
                write_request(
                    request, sound, self.table.folder, part, self.pictures
                ).row()
                for request, part in zip(self.requests, parts, strict=True)
            ]
        except Exception:
            self.table.abandon(source, parts)
            raise
        self.table.finish(source, parts, rows)
        self.parts += parts
        self.new += parts

    def _stop_if_full(self, error) -> None:
        if getattr(error, "errno", None) in NO_SPACE:
            raise CannotWriteError(why_refused(error, self.table.folder)) from error

    def conclude(self, inputs) -> ExplanationTable:
        """Show what was done and return the table; raise InputError for failures."""
        if self.new:
            show(_aligned([self.table.rows[part] for part in self.new]))
        if self.n_skipped:
            show(f"{self.n_skipped} already explained; --again to redo")
        if self.parts:
            show(f"listen and look in {readable(self.table.folder)}")
        failures = [*map(readable, inputs.failures), *self.failures]
        if failures:
            n_named = len(inputs.files) + len(inputs.failures)
            raise InputError(
                f"{len(failures)} of {n_named} files could not be explained:\n  "
                + "\n  ".join(failures)
            )
        if not inputs.files:
            raise InputError(f"nothing to explain: {'; '.join(inputs.notes())}")
        return self.table


def open_sound(path: str) -> MonoFile:
    """A file as a `MonoFile`, decoded once.

    Raises
    ------
    AudioFault
        Where it cannot be used.
    """
    try:
        sound = MonoFile(path)
    except InputError:
        check_audio(path)  # says why
        raise
    if sound.n_samples < sound.promised:
        check_audio(path)  # whether that is a fault of the file
    return sound


def _aligned(rows: list) -> str:
    """Rows of texts by column as lines; columns without a value are left out."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns = [c for c in columns if any(row.get(c) is not None for row in rows)]
    lines = [columns, *([_shown(row.get(c)) for c in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:>{n}}" for cell, n in zip(line, widths, strict=True))
        for line in lines
    )


def _shown(text: str) -> str:
    """A cell as it is shown: three digits of a fraction, the end of a long text."""
    if text is None:
        return "-"
    if NUMBER.fullmatch(text):
        return f"{float(text):.3f}"
    text = readable(text)
    return text if len(text) <= WIDEST else f"...{text[3 - WIDEST :]}"


def _reason(error) -> str:
    """Why a file could not be explained, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, (AudioFault, InputError)):
        return str(error)
    if isinstance(error, MemoryError) or any(n in text.lower() for n in NO_MEMORY):
        return f"too little memory for this file ({text[:200] or 'MemoryError'})"
    if isinstance(error, OSError):
        return f"cannot be read or written: {error.strerror or text}"
    return f"unexpected {type(error).__name__}: {text[:500]}"
