"""Explanations of many files: audio, pictures and a table."""

import errno
import logging
import os
import re
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from speechbrain_lmac.dsp.audio_check import AudioFault, check_audio, header_warnings
from speechbrain_lmac.dsp.audio_streams import MonoFile
from speechbrain_lmac.inference.batches.inputs import Inputs, find_inputs
from speechbrain_lmac.inference.batches.names import file_stem, prompt_names
from speechbrain_lmac.inference.batches.table import ExplanationTable
from speechbrain_lmac.inference.requests import ClassRequest, PromptRequest
from speechbrain_lmac.inference.written_files import write_request
from speechbrain_lmac.utils.console import progress_bar, show
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.escaping import in_utf8, readable
from speechbrain_lmac.utils.files import CannotWriteError, why_refused
from speechbrain_lmac.utils.locks import locked

logger = logging.getLogger(__name__)

WIDEST = 48  # maximum characters of a printed cell
MOST_WARNINGS = 5  # printed in full
NUMBER = re.compile(r"-?\d+\.\d+(e-?\d+)?")
# Errors of the machine, not of a single file.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# Lower-case parts of messages by which torch reports a lack of memory.
NO_MEMORY = ("not enough memory", "out of memory", "defaultcpuallocator")


def explain_files(
    arguments: list[str],
    requests: Sequence[ClassRequest],
    output_folder: Path | str,
    settings: str,
    pictures: Sequence[str] = ("png",),
    again: bool = False,
) -> ExplanationTable:
    """Explain files one by one, and write audio, pictures and a table row for each.

    Unreadable files, and files too large for memory, are reported at the end; a full
    disk stops the run. A row is written as soon as its file is explained. Files already
    explained with the same settings are skipped.

    Arguments
    ---------
    arguments : list of str
        See `batches.inputs.find_inputs`.
    requests : sequence
        Applied to each file: one ClassRequest, or a PromptRequest for each prompt.
    output_folder : str or Path
        Receives `explanations.csv` and the files of `write_request`.
    settings : str
        Fingerprint of everything an explanation depends on, except the file.
    pictures : sequence of str
        Formats: "png", "pdf" or "svg". Drawing takes longer than explaining.
    again : bool
        Redo finished explanations, under the same names.

    Returns
    -------
    table : ExplanationTable
        Its `frame()` is the content of `explanations.csv`.

    Raises
    ------
    CannotWriteError
        Immediately.
    InputError
        At the end, listing the failed files; immediately, if there are no files or the
        folder has a different kind of table.
    """
    folder = Path(output_folder)
    if in_utf8(str(folder)) != str(folder):  # libsndfile cannot open it
        raise InputError(
            f"the name of the output folder {readable(folder)} is not UTF-8: rename "
            "it, or choose another folder"
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
    """Lists the files in a folder that are explanations, according to its table.

    For files passed as arguments (`named`), only the table of this run is used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = os.path.realpath(folder)
        self.known: dict[str, Collection[str]] = {}

    def __call__(self, folder: str, named: bool = False) -> Collection[str]:
        resolved = os.path.realpath(folder)
        if named and resolved != self.folder:
            return ()
        if resolved not in self.known:
            try:
                self.known[resolved] = ExplanationTable(resolved).outputs()
            except (InputError, OSError):  # not a table of explanations
                self.known[resolved] = ()
        return self.known[resolved]


class _Batch:
    """One run of `explain_files`: its settings and the outcomes so far."""

    def __init__(
        self,
        table: ExplanationTable,
        requests: Sequence[ClassRequest],
        settings: str,
        pictures: Sequence[str],
        again: bool,
    ) -> None:
        self.table = table
        self.requests = requests
        prompts = [r.prompt for r in requests if isinstance(r, PromptRequest)]
        self.slugs = prompt_names(prompts) if prompts else [""]
        self.settings = settings
        self.pictures = pictures
        self.again = again
        self.failures: list[str] = []
        self.header_warnings: dict[str, list[str]] = {}  # warning -> files
        self.parts: list[str] = []  # names in the table, in the order of the files
        self.new: list[str] = []  # of these, those explained in this run
        self.n_skipped = 0
        self.warnings: list[str] = []  # of these, about masks that draw their class

    def run(self, files: list[str]) -> None:
        """Explain files; errors go to `failures`."""
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
            for line in header_warnings(self.header_warnings):
                logger.warning(line)

    def _explain(self, path: str) -> None:
        if not os.path.isfile(path):
            check_audio(path)  # raises with the reason
        endings = [f".{kind}" for kind in self.pictures]
        source, known = self.table.find(path, self.settings, endings)
        if known is not None and not self.again:
            self.n_skipped += 1
            self.parts += known.parts
            return
        sound = open_sound(path)
        if sound.header_warning:
            self.header_warnings.setdefault(sound.header_warning, []).append(
                readable(path)
            )
        parts = self.table.begin(source, file_stem(path), self.slugs)
        try:
            scores = [
                write_request(request, sound, self.table.folder, part, self.pictures)
                for request, part in zip(self.requests, parts, strict=True)
            ]
        except Exception:
            self.table.abandon(source, parts)
            raise
        self.table.finish(source, parts, [score.row() for score in scores])
        for part, score in zip(parts, scores, strict=True):
            if warning := score.warning():
                self.warnings.append(f"{readable(part)}: {warning}")
        self.parts += parts
        self.new += parts

    def _stop_if_full(self, error: Exception) -> None:
        if getattr(error, "errno", None) in NO_SPACE:
            raise CannotWriteError(why_refused(error, self.table.folder)) from error

    def conclude(self, inputs: Inputs) -> ExplanationTable:
        """Print a summary and return the table; raise InputError for failures."""
        if self.new:
            show(_aligned([self.table.rows[part] for part in self.new]))
        for warning in self.warnings[:MOST_WARNINGS]:
            show(warning)
        if (n_more := len(self.warnings) - MOST_WARNINGS) > 0:
            show(f"and so do {n_more} more masks: see the column encoding")
        if self.n_skipped:
            show(f"{self.n_skipped} already explained; --again to redo")
        if self.parts:
            show(f"audio and figures in {readable(self.table.folder)}")
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
    """Open a file as a `MonoFile`, decoded once.

    Raises
    ------
    AudioFault
        If it cannot be used.
    """
    try:
        sound = MonoFile(path)
    except InputError:
        check_audio(path)  # raises with the reason
        raise
    if sound.n_samples < sound.declared_samples:
        check_audio(path)  # raises if the file is the cause
    return sound


def _aligned(rows: Sequence[Mapping[str, str | None]]) -> str:
    """Format rows (text by column) as aligned lines, without empty columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns = [c for c in columns if any(row.get(c) is not None for row in rows)]
    lines = [columns, *([_shown(row.get(c)) for c in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:>{n}}" for cell, n in zip(line, widths, strict=True))
        for line in lines
    )


def _shown(text: str | None) -> str:
    """Format a cell: three decimals of a number, the end of a long text."""
    if text is None:
        return "-"
    if NUMBER.fullmatch(text):
        return f"{float(text):.3f}"
    text = readable(text)
    return text if len(text) <= WIDEST else f"...{text[3 - WIDEST :]}"


def _reason(error: Exception) -> str:
    """Return why a file could not be explained, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, (AudioFault, InputError)):
        return str(error)
    if isinstance(error, MemoryError) or any(n in text.lower() for n in NO_MEMORY):
        return f"not enough memory for this file ({text[:200] or 'MemoryError'})"
    if isinstance(error, OSError):
        return f"cannot be read or written: {error.strerror or text}"
    return f"unexpected {type(error).__name__}: {text[:500]}"
