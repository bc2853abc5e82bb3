"""Sources of interference: corpora, generators, other clips, stems.

A source is used in two ways. In training, `online_noise` draws and adds noise for the
key of a clip in an epoch. For evaluations, `contaminants` draws once, and a manifest
stores the draw (`mixtures`).
"""

import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from speechbrain_lmac.data.corpora import Corpus, read_part
from speechbrain_lmac.data.mixtures import Entry, Sounds, draw_pieces
from speechbrain_lmac.dsp.audio import AudioReader, fix_length, read_mono
from speechbrain_lmac.dsp.noise import GENERATORS
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.seeding import generator, seed_of

if TYPE_CHECKING:
    from speechbrain_lmac.data_prep.manifest import Manifests


class CorpusSounds:
    """Recordings of a corpus, joined and cut to the length of a clip.

    Arguments
    ---------
    corpus : Corpus
        From `data_prep.noise_prepare`.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._files: dict[tuple[str, ...], list[Entry]] = {}

    def prepare(self) -> "Manifests":
        """Check the corpus and write its manifests."""
        self._files = {}
        return self.corpus.prepare()

    @property
    def root(self) -> Path:
        """The folder of the corpus."""
        return self.corpus.root

    def files(self, *parts: str) -> list[Entry]:
        """Return the recordings of parts of the corpus (`corpora.read_part`)."""
        if parts not in self._files:
            self._files[parts] = [f for p in parts for f in read_part(self.corpus, p)]
        return self._files[parts]

    def pieces(
        self,
        parts: Sequence[str],
        n_samples: int,
        sample_rate: int,
        draw: torch.Generator,
        cut: Callable[
            [list[Entry], int, int, torch.Generator], list[Entry]
        ] = draw_pieces,
    ) -> list[Entry]:
        """Draw pieces of recordings, for `mixtures.Sounds.join`.

        Arguments
        ---------
        parts : sequence of str
            Parts of the corpus.
        n_samples, sample_rate : int
            Length and rate (Hz) of the clip.
        draw : torch.Generator
        cut : callable
            `draw_pieces`, or a function with the same signature.

        Returns
        -------
        pieces : list of dict
            `wav` ("{noise_root}/..."), `start`, `length`.
        """
        pieces = cut(self.files(*parts), n_samples, sample_rate, draw)
        for piece in pieces:
            piece["wav"] = piece["wav"].replace("{data_root}", "{noise_root}", 1)
        return pieces

    def reader(self, sample_rate: int) -> Sounds:
        """Return the reader of the pieces."""
        return Sounds({"noise_root": (self.root, AudioReader(sample_rate))})


class GeneratedSounds:
    """Generated noise of several kinds.

    Arguments
    ---------
    names : sequence of str
        Keys of `noise.GENERATORS`.
    """

    def __init__(self, names: Sequence[str] = ("coloured", "babble")) -> None:
        self.names = list(names)

    def drawn(self, key: tuple) -> Entry:
        """Draw a kind and a seed for a manifest, each kind with equal probability."""
        index = torch.randint(len(self.names), (), generator=generator(*key))
        return {"generated": self.names[index], "seed": seed_of(*key)}

    def numbered(
        self, number: int, key: tuple, n_samples: int, sample_rate: int
    ) -> torch.Tensor:
        """Generate one noise of a numbered series with alternating kinds.

        Arguments
        ---------
        number : int
            Number in the series, at least 0.
        key : tuple
            Strings and numbers that seed the series.
        n_samples, sample_rate : int
            Length and rate (Hz).

        Returns
        -------
        noise : torch.Tensor
            Shape (N,).
        """
        generate = GENERATORS[self.names[number % len(self.names)]]
        return generate((*key, number), n_samples, sample_rate)


class PartnerClips:
    """Clips of a split that may be mixed with each other.

    Arguments
    ---------
    categories : dict
        Clip name to class.
    split : str
        The split, for messages: "the split valid".
    may_be_added : callable
        Returns whether a clip of one class may be added to one of another. Default:
        True for different classes.
    """

    def __init__(
        self,
        categories: dict[str, str],
        split: str,
        may_be_added: Callable[[str, str], bool] = operator.ne,
    ) -> None:
        self.categories = categories
        self.split = split
        self.may_be_added = may_be_added

    def partners(self, clip: str, category: str) -> list[str]:
        """Return the clips that may be added to a clip of this class.

        Raises
        ------
        InputError
            There is no such clip.
        """
        fit = [
            name
            for name, other in self.categories.items()
            if name != clip and self.may_be_added(other, category)
        ]
        if not fit:
            raise InputError(
                f"no clip to mix with {clip}: {self.split} has no clip of a class "
                f"other than {category}"
            )
        return fit

    def draw_one(self, clip: str, category: str, draw: torch.Generator) -> str:
        """Draw one of the partners.

        Arguments
        ---------
        clip, category : str
            The clip and its class.
        draw : torch.Generator

        Returns
        -------
        partner : str
        """
        fit = self.partners(clip, category)
        return fit[int(torch.randint(len(fit), (), generator=draw))]

    def draw_several(
        self, clip: str, category: str, n: int, draw: torch.Generator
    ) -> list[str]:
        """Draw n different partners; they repeat if fewer exist.

        Arguments
        ---------
        clip, category : str
            The clip and its class.
        n : int
        draw : torch.Generator

        Returns
        -------
        partners : list of str
        """
        fit = self.partners(clip, category)
        order = torch.randperm(len(fit), generator=draw).tolist()
        return [fit[order[k % len(order)]] for k in range(n)]


class FolderStems:
    """Stems of clips from a folder, scaled to a peak of 1 of their sum.

    Arguments
    ---------
    folder : str
        Contains ``foreground/ID.wav`` and ``background/ID.wav``.
    sample_rate : int
        Sample rate of the model, Hz.
    n_samples : int
        Length of a clip.
    """

    def __init__(self, folder: Path | str, sample_rate: int, n_samples: int) -> None:
        self.folder = Path(str(folder))
        self.sample_rate = sample_rate
        self.n_samples = n_samples

    def __call__(self, ids: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return foreground and background of each id, two tensors (B, N)."""
        stems = torch.stack(
            [torch.stack([self.read(path) for path in self.paths(c)]) for c in ids]
        )
        # The stems are divided by the largest absolute sample of the clip.
        peak = stems.sum(1).abs().amax(1)[:, None, None]
        stems = stems / torch.where(peak > 0, peak, 1.0)
        return stems[:, 0], stems[:, 1]

    def paths(self, clip: str) -> list[Path]:
        """Return the files of the foreground and of the background."""
        return [self.folder / n / f"{clip}.wav" for n in ("foreground", "background")]

    def read(self, path: Path) -> torch.Tensor:
        """Read one stem (N,), unscaled."""
        return fix_length(read_mono(path, self.sample_rate), self.n_samples)

    def check(self, ids: list[str]) -> None:
        """Raise if stems are missing."""
        missing = [p for clip in ids for p in self.paths(clip) if not p.is_file()]
        if missing:
            raise InputError(
                f"missing stems in {self.folder} ({len(missing)}): {some_of(missing)}"
            )

    def states(self, ids: list[str]) -> list[list[int]]:
        """Return size (bytes) and modification time (ns) of every file."""
        stats = [path.stat() for clip in ids for path in self.paths(clip)]
        return [[stat.st_size, stat.st_mtime_ns] for stat in stats]
