"""Sources of sounds to add to a clip: which there are, and how one is drawn.

A source is used in two ways. `online_noise` draws and adds in a training, for the key
of a clip in an epoch. `contaminants` draws once, and a manifest freezes what was drawn
(`mixtures`).
"""

import operator
from pathlib import Path

import torch

from speechbrain_lmac.data.corpora import read_part
from speechbrain_lmac.data.mixtures import Sounds, draw_pieces
from speechbrain_lmac.dsp.audio import AudioReader, fix_length, read_mono
from speechbrain_lmac.dsp.noise import GENERATORS
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.seeding import generator, seed_of


class CorpusSounds:
    """Recordings of a corpus, joined and cut to the length of a clip.

    Arguments
    ---------
    corpus : object
        Of `data_prep.noise_prepare`: `prepare()`, `root`, `manifest_folder`.
    """

    def __init__(self, corpus):
        self.corpus = corpus
        self._files = {}

    def prepare(self):
        """Check the corpus, and write its manifests."""
        self._files = {}
        return self.corpus.prepare()

    @property
    def root(self) -> Path:
        """The folder of the corpus."""
        return self.corpus.root

    def files(self, *parts) -> list:
        """The recordings of parts of the corpus (`corpora.read_part`)."""
        if parts not in self._files:
            self._files[parts] = [f for p in parts for f in read_part(self.corpus, p)]
        return self._files[parts]

    def pieces(
        self,
        parts: list[str] | tuple[str, ...],
        n_samples: int,
        sample_rate: int,
        draw: torch.Generator,
        cut=draw_pieces,
    ) -> list:
        """What is heard of which recordings, for `mixtures.Sounds.join`.

        Arguments
        ---------
        parts : sequence of str
            Of the corpus.
        n_samples, sample_rate : int
            Of the clip.
        draw : torch.Generator
        cut : callable
            How recordings become a sound of this length: `draw_pieces`, or what does
            as it does.

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
        """What reads the pieces."""
        return Sounds({"noise_root": (self.root, AudioReader(sample_rate))})


class GeneratedSounds:
    """Noise without recordings, of several kinds.

    Arguments
    ---------
    names : sequence
        Among `noise.GENERATORS`.
    """

    def __init__(self, names: list[str] | tuple[str, ...] = ("coloured", "babble")):
        self.names = list(names)

    def drawn(self, key: tuple) -> dict[str, int | str]:
        """A kind and a seed for a manifest, each kind with equal chance."""
        place = torch.randint(len(self.names), (), generator=generator(*key))
        return {"generated": self.names[place], "seed": seed_of(*key)}

    def numbered(
        self, number: int, key: tuple[str, str], n_samples: int, sample_rate: int
    ) -> torch.Tensor:
        """The samples (N,) of one of many, in which the kinds take turns."""
        generate = GENERATORS[self.names[number % len(self.names)]]
        return generate((*key, number), n_samples, sample_rate)


class PartnerClips:
    """The clips of a split, to be added to one another.

    Arguments
    ---------
    categories : dict
        Clip to class.
    split : str
        What a message calls it.
    may_be_added : callable
        Whether a clip of one class may be added to a clip of another: by default,
        where the classes differ.
    """

    def __init__(
        self, categories: dict[str, str], split: str, may_be_added=operator.ne
    ):
        self.categories = categories
        self.split = split
        self.may_be_added = may_be_added

    def partners(self, clip: str, category: str) -> list[str]:
        """The clips that may be added to a clip of this class.

        Raises
        ------
        InputError
            There is none.
        """
        fit = [
            name
            for name, other in self.categories.items()
            if name != clip and self.may_be_added(other, category)
        ]
        if not fit:
            raise InputError(
                f"no clip to mix with {clip}: {self.split} has no clip of another "
                f"class than {category}"
            )
        return fit

    def draw_one(self, clip: str, category: str, draw: torch.Generator) -> str:
        """Any of the partners."""
        fit = self.partners(clip, category)
        return fit[torch.randint(len(fit), (), generator=draw).item()]

    def draw_several(
        self, clip: str, category: str, n: int, draw: torch.Generator
    ) -> list[str]:
        """Different partners, as long as there are enough."""
        fit = self.partners(clip, category)
        order = torch.randperm(len(fit), generator=draw).tolist()
        return [fit[order[k % len(order)]] for k in range(n)]


class FolderStems:
    """Stems of clips from a folder, at the level that the model hears.

    Arguments
    ---------
    folder : str
        With ``foreground/ID.wav`` and ``background/ID.wav``.
    sample_rate : int
        Of the model, Hz.
    n_samples : int
        Length of a clip.
    """

    def __init__(self, folder: Path | str, sample_rate: int, n_samples: int):
        self.folder = Path(str(folder))
        self.sample_rate = sample_rate
        self.n_samples = n_samples

    def __call__(self, ids: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Foreground and background of each id, two tensors (B, N)."""
        stems = torch.stack(
            [torch.stack([self.read(path) for path in self.paths(c)]) for c in ids]
        )
        # The clip is divided by its largest absolute sample; so are its parts.
        peak = stems.sum(1).abs().amax(1)[:, None, None]
        stems = stems / torch.where(peak > 0, peak, 1.0)
        return stems[:, 0], stems[:, 1]

    def paths(self, clip: str) -> list[Path]:
        """The files of the foreground and of the background."""
        return [self.folder / n / f"{clip}.wav" for n in ("foreground", "background")]

    def read(self, path: Path) -> torch.Tensor:
        """One stem (N,) at the file's level."""
        return fix_length(read_mono(path, self.sample_rate), self.n_samples)

    def check(self, ids: list[str]) -> None:
        """Refuse a folder that lacks a stem."""
        missing = [p for clip in ids for p in self.paths(clip) if not p.is_file()]
        if missing:
            raise InputError(
                f"{self.folder} lacks stems ({len(missing)}): {some_of(missing)}"
            )

    def states(self, ids: list[str]) -> list:
        """Size and time of change of every file."""
        stats = [path.stat() for clip in ids for path in self.paths(clip)]
        return [[stat.st_size, stat.st_mtime_ns] for stat in stats]
