"""The corpora that can be explained: lists of files, and shards of a WebDataset.

Each is a stream of parts, runs of lines of the list or the shards, and each part one of
clips; neither is ever held whole.
"""

import io
import itertools
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from speechbrain_lmac.dsp.audio import AUDIO, decode_mono, read_mono
from speechbrain_lmac.dsp.audio_check import AudioFault, check_audio
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.escaping import in_utf8
from speechbrain_lmac.utils.hashing import fingerprint_of

TAR_END = 1024  # zeros, two blocks, at the end of a whole archive


@dataclass(frozen=True)
class Part:
    """A piece of a corpus: what makes it, and the function that reads its clips."""

    index: int
    content: tuple  # what its rows depend on
    clips: object  # () -> (name, () -> samples (N,) at the model's rate), in order

    @property
    def name(self) -> str:
        """Of its file."""
        return f"part-{self.index:06d}-{fingerprint_of(self.content)}.csv"


class ListedClips:
    """The files that a text names, one in each line; read line by line.

    Arguments
    ---------
    path : str or Path
    part_size : int
        Lines of a part.
    """

    def __init__(self, path: Path | str, part_size: int = 1000):
        check_counts(part_size=part_size)
        if not Path(path).is_file():
            raise InputError(f"no such list of files: {path}")
        self.path = Path(path)
        self.part_size = part_size

    def parts(self, sample_rate: int) -> Iterator[Part]:
        """The parts of the list, one after the other."""
        with open(self.path, encoding="utf-8-sig", errors="surrogateescape") as stream:
            names = (line.rstrip("\n") for line in stream)
            names = (name for name in names if name)
            for index in itertools.count():
                some = tuple(itertools.islice(names, self.part_size))
                if not some:
                    return
                yield Part(index, some, _Listed(some, sample_rate))


class _Listed:
    """The clips of a part of a list; a class, so that it can go to another process."""

    def __init__(self, names: tuple[str, ...], sample_rate: int):
        self.names = names
        self.sample_rate = sample_rate

    def __call__(self) -> Iterator[tuple]:
        for name in self.names:
            yield in_utf8(name), lambda name=name: self.read(name)

    def read(self, name: str) -> torch.Tensor:
        """Samples (N,) of a file."""
        try:
            check_audio(name)
        except AudioFault as fault:
            raise InputError(str(fault)) from None
        return read_mono(name, self.sample_rate)


class ShardedClips:
    """The shards of a WebDataset: tar archives whose members are sounds.

    Arguments
    ---------
    pattern : str
        Path of a shard, or of many as `corpus-{000000..000099}.tar`.
    """

    def __init__(self, pattern: Path | str):
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
                f"{len(missing)} of {len(self.paths)} shards are not there, the first: "
                f"{missing[0]}"
            )

    def parts(self, sample_rate: int) -> Iterator[Part]:
        """A part for each shard."""
        for index, path in enumerate(self.paths):
            content = (Path(path).name, Path(path).stat().st_size)
            yield Part(index, content, _Shard(path, sample_rate))


class _Shard:
    """The clips of a shard."""

    def __init__(self, path: str, sample_rate: int):
        self.path = path
        self.sample_rate = sample_rate

    def __call__(self) -> Iterator[tuple]:
        from webdataset.tariterators import group_by_keys, tar_file_expander

        try:
            # Opened here: webdataset takes a path for a URL, which # and ? would end.
            with open(self.path, "rb") as stream:
                files = tar_file_expander([{"url": self.path, "stream": stream}])
                for sample in group_by_keys(files):
                    sound = [key for key in sample if f".{key.lower()}" in AUDIO]
                    name = f"{Path(self.path).name}/{sample['__key__']}"
                    if sound:
                        data = sample[sound[0]]
                        yield name, lambda d=data, n=name: self.read(d, n)
        except (tarfile.ReadError, EOFError, OSError) as error:
            cause = getattr(error, "strerror", None) or error.args[0]
            reason = f"the archive cannot be read to its end: {cause}"
            yield Path(self.path).name, lambda: _refuse(reason)
            return
        if not _ends_whole(self.path):
            message = "the archive was cut short, clips at its end are lost"
            yield Path(self.path).name, lambda: _refuse(message)

    def read(self, data, name):
        """Samples (N,) of a sound in memory."""
        return decode_mono(data, name, self.sample_rate)


def _refuse(message: str) -> None:
    raise InputError(message)


def _ends_whole(path: str) -> bool:
    """Whether an archive ends as archives do."""
    with open(path, "rb") as file:
        file.seek(0, io.SEEK_END)
        file.seek(max(0, file.tell() - TAR_END))
        return not any(file.read())
