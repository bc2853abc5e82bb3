"""Streams of clips for large corpora: lists of files, and shards of a WebDataset.

A corpus is a stream of parts (consecutive lines of the list, or shards), and a part is
a stream of clips; neither is ever in memory as a whole.
"""

import io
import itertools
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch

from speechbrain_lmac.dsp.audio import AUDIO, decode_mono, read_mono
from speechbrain_lmac.dsp.audio_check import AudioFault, check_audio
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.escaping import in_utf8
from speechbrain_lmac.utils.hashing import fingerprint_of

TAR_END = 1024  # bytes of zeros, two blocks, at the end of a complete archive
Clip = tuple[str, Callable[[], torch.Tensor]]


@dataclass(frozen=True)
class Part:
    """A part of a corpus: its content, and the function that reads its clips."""

    index: int
    content: tuple  # names, or name and size; its hash names the results file
    # Returns pairs (name, function that returns samples (N,) at the model's rate).
    clips: Callable[[], Iterator[Clip]]

    @property
    def name(self) -> str:
        """The name of its results file."""
        return f"part-{self.index:06d}-{fingerprint_of(self.content)}.csv"


class ListedClips:
    """A text file with one path per line, read line by line.

    Arguments
    ---------
    path : str or Path
    part_size : int
        Number of lines per part.
    """

    def __init__(self, path: Path | str, part_size: int = 1000) -> None:
        check_counts(part_size=part_size)
        if not Path(path).is_file():
            raise InputError(f"missing file list: {path}")
        self.path = Path(path)
        self.part_size = part_size

    def parts(self, sample_rate: int) -> Iterator[Part]:
        """Yield the parts of the list; waveforms at `sample_rate` (Hz)."""
        with open(self.path, encoding="utf-8-sig", errors="surrogateescape") as stream:
            lines = (line.rstrip("\n") for line in stream)
            names = (line for line in lines if line)
            for index in itertools.count():
                some = tuple(itertools.islice(names, self.part_size))
                if not some:
                    return
                yield Part(index, some, _Listed(some, sample_rate))


class _Listed:
    """The clips of a part of a list; a class, so that processes can pickle it."""

    def __init__(self, names: tuple[str, ...], sample_rate: int) -> None:
        self.names = names
        self.sample_rate = sample_rate

    def __call__(self) -> Iterator[Clip]:
        for name in self.names:
            yield in_utf8(name), partial(self.read, name)

    def read(self, name: str) -> torch.Tensor:
        """Return the waveform (N,) of a file."""
        try:
            check_audio(Path(name))
        except AudioFault as fault:
            raise InputError(str(fault)) from None
        return read_mono(name, self.sample_rate)


class ShardedClips:
    """The shards of a WebDataset: tar archives of audio files.

    Arguments
    ---------
    pattern : str or Path
        Path of a shard, or a pattern such as `corpus-{000000..000099}.tar`.
    """

    def __init__(self, pattern: Path | str) -> None:
        try:
            from braceexpand import braceexpand
        except ImportError as error:
            raise InputError(
                "shards need webdataset, which is not installed: "
                "pip install 'speechbrain_lmac[webdataset]'"
            ) from error
        self.paths = list(braceexpand(str(pattern)))
        missing = [path for path in self.paths if not Path(path).is_file()]
        if missing:
            raise InputError(
                f"missing shards ({len(missing)} of {len(self.paths)}), the first: "
                f"{missing[0]}"
            )

    def parts(self, sample_rate: int) -> Iterator[Part]:
        """Yield a part for each shard; waveforms at `sample_rate` (Hz)."""
        for index, path in enumerate(self.paths):
            content = (Path(path).name, Path(path).stat().st_size)
            yield Part(index, content, _Shard(path, sample_rate))


class _Shard:
    """The clips of a shard."""

    def __init__(self, path: str, sample_rate: int) -> None:
        self.path = path
        self.sample_rate = sample_rate

    def __call__(self) -> Iterator[Clip]:
        from webdataset.tariterators import group_by_keys, tar_file_expander

        try:
            # Opened here: webdataset parses a path as a URL, which # and ? would end.
            with open(self.path, "rb") as stream:
                files = tar_file_expander([{"url": self.path, "stream": stream}])
                for sample in group_by_keys(files):
                    audio = [key for key in sample if f".{key.lower()}" in AUDIO]
                    name = f"{Path(self.path).name}/{sample['__key__']}"
                    if audio:
                        yield name, partial(self.read, sample[audio[0]], name)
        except (tarfile.ReadError, EOFError, OSError) as error:
            cause = getattr(error, "strerror", None) or error.args[0]
            reason = f"the archive cannot be read to its end: {cause}"
            yield Path(self.path).name, partial(_refuse, reason)
            return
        if not _has_end_marker(self.path):
            message = "the archive is truncated: clips at its end are missing"
            yield Path(self.path).name, partial(_refuse, message)

    def read(self, data: bytes, name: str) -> torch.Tensor:
        """Return the waveform (N,) of an audio file in memory."""
        return decode_mono(data, name, self.sample_rate)


def _refuse(message: str) -> NoReturn:
    raise InputError(message)


def _has_end_marker(path: str) -> bool:
    """Return whether a tar archive ends with its end marker."""
    with open(path, "rb") as file:
        file.seek(0, io.SEEK_END)
        file.seek(max(0, file.tell() - TAR_END))
        return not any(file.read())
