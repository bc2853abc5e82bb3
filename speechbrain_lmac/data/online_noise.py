"""Noise that is added in a training while it runs.

A noise is an object with ``prepare()`` and ``mix(wav, keys, part)``, which gives the
noisy clips and the clips as they are in them. It has three parts, "train", "valid" and
"test", which share nothing: no file of a corpus, no seed of what is generated. What is
drawn is a function of the key of a clip, so that a resumed training hears the same.

``sources(key, part)`` names the clips of the dataset that are heard: that of the key
and, with `OtherClips`, the one that was added. ``adds(key, part)`` tells whether the
clip of the key gets anything added.
"""

import torch

from speechbrain_lmac.data.sources import (
    CorpusSounds,
    FolderStems,
    GeneratedSounds,
    PartnerClips,
)
from speechbrain_lmac.dsp.mixing import gains_of_snr, mix
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.seeding import generator


class AddedNoise:
    """Noise at a ratio to the clip; each subclass has a source of its own.

    A subclass has `noise(key, n_samples, part)`, a noise (N,) of any level.

    Arguments
    ---------
    snr_db : float
        10 log10 of the clip's energy over the noise's.
    """

    def __init__(self, snr_db: float = 0.0):
        self.gains = gains_of_snr(snr_db)

    def prepare(self) -> None:
        """Nothing to prepare."""

    def mix(
        self, wav: torch.Tensor, keys: list, part: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add noise to each clip.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N), on the CPU. A silent clip becomes noise alone.
        keys : list
            B tuples of strings and numbers: (seed, epoch, clip).
        part : str
            "train", "valid" or "test".

        Returns
        -------
        noisy : torch.Tensor
            Shape (B, N), float32; the largest absolute sample is 1 to rounding.
        clean : torch.Tensor
            Shape (B, N), float32: the clip at the level that it has in `noisy`, so
            that `noisy - clean` is the noise.
        """
        n_samples = wav.shape[1]
        mixed = [
            mix(clip, self.noise(key, n_samples, part), self.gains)[:2]
            for clip, key in zip(wav, keys, strict=True)
        ]
        noisy, clean = zip(*mixed, strict=True)
        return torch.stack(noisy), torch.stack(clean)

    def adds(self, key: tuple, part: str) -> bool:
        """Whether the clip of this key gets noise: each does."""
        return True

    def sources(self, key: tuple[int, int, str], part: str) -> tuple[str]:
        """Names of the clips that are heard: a noise is none."""
        return (key[-1],)


class CorpusNoise(AddedNoise):
    """Recordings of a corpus, joined and cut as `draw_pieces` says.

    Arguments
    ---------
    corpus : object
        From `data_prep.noise_prepare`.
    sample_rate : int
        Of the model, Hz.
    snr_db : float
        10 log10 of the clip's energy over the noise's.
    """

    def __init__(self, corpus, sample_rate: int, snr_db: float = 0.0):
        super().__init__(snr_db)
        self.source = CorpusSounds(corpus)
        self.sample_rate = sample_rate
        self.reader = None  # the folder is known when it was prepared

    def prepare(self):
        """Check the corpus, and write its manifests."""
        return self.source.prepare()

    def noise(self, key: tuple, n_samples: int, part: str) -> torch.Tensor:
        """A noise (N,) of any level."""
        if self.reader is None:
            self.reader = self.source.reader(self.sample_rate)
        draw = generator("noise", part, *key)
        pieces = self.source.pieces([part], n_samples, self.sample_rate, draw)
        return self.reader.join(pieces, n_samples)


class GeneratedNoise(AddedNoise):
    """Noise without recordings: a stock of each part, made once and kept in memory.

    A clip gets one of the stock, turned by an offset (its end comes before its
    beginning), both drawn for its key.

    Arguments
    ---------
    sample_rate : int
        Of the model, Hz.
    snr_db : float
        10 log10 of the clip's energy over the noise's.
    names : sequence
        Among `noise.GENERATORS`, which take turns in the stock.
    n_noises : int
        How many the stock of a part has.
    """

    def __init__(
        self,
        sample_rate: int,
        snr_db: float = 0.0,
        names: list[str] | tuple[str, str] = ("coloured", "babble"),
        n_noises: int = 100,
    ):
        check_counts(n_noises=n_noises)
        super().__init__(snr_db)
        self.source = GeneratedSounds(names)
        self.sample_rate = sample_rate
        self.n_noises = n_noises
        self._stock = {}

    def noise(self, key: tuple, n_samples: int, part: str) -> torch.Tensor:
        """A noise (N,) of any level."""
        draw = generator("noise", part, *key)
        number = torch.randint(self.n_noises, (), generator=draw).item()
        offset = torch.randint(n_samples, (), generator=draw).item()
        place = (part, number, n_samples)
        if place not in self._stock:
            self._stock[place] = self.source.numbered(
                number, ("noise", part), n_samples, self.sample_rate
            )
        return self._stock[place].roll(offset)


class OtherClips(AddedNoise):
    """Another clip of the dataset, of another class: two known sounds at once.

    A part of the dataset is mixed with clips of the same part.

    Arguments
    ---------
    clips : dataio.ClipsById
        Those that are trained on, and what is added to them.
    snr_db : float
        10 log10 of the clip's energy over the other's.
    """

    def __init__(self, clips, snr_db: float = 0.0):
        super().__init__(snr_db)
        self.clips = clips

    def noise(self, key: tuple, n_samples: int, part: str) -> torch.Tensor:
        """The other clip (N,)."""
        return self.clips.wav(self.sources(key, part)[1], part)

    def sources(self, key: tuple[int, int, str], part: str) -> tuple[str, str]:
        """Names of the clip and of the other, for the key (seed, epoch, clip)."""
        clip = key[-1]
        categories = self.clips.categories(part)
        source = PartnerClips(categories, f"the part {part} of the dataset")
        draw = generator("other clip", part, *key)
        return clip, source.draw_one(clip, categories[clip], draw)


class Sometimes:
    """Noise for some of the clips; the others stay as they are.

    So that what is trained is at home in both conditions, clean and noisy.

    Arguments
    ---------
    noise : CorpusNoise, GeneratedNoise or OtherClips
    probability : float
        That a clip gets noise, 0 to 1, drawn for its key.
    """

    def __init__(self, noise, probability: float):
        if not 0 <= probability <= 1:
            raise InputError(f"probability must be from 0 to 1, got {probability}")
        self.noise = noise
        self.probability = probability

    def prepare(self):
        """Prepare the noise."""
        return self.noise.prepare()

    def mix(
        self, wav: torch.Tensor, keys: list, part: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Some of the clips with noise, the others twice; see `AddedNoise.mix`."""
        places = [place for place, key in enumerate(keys) if self.adds(key, part)]
        if not places:
            return wav, wav
        mixed = self.noise.mix(wav[places], [keys[place] for place in places], part)
        return tuple(wav.index_copy(0, torch.tensor(places), part) for part in mixed)

    def adds(self, key: tuple, part: str) -> bool:
        """Whether the clip of this key gets noise."""
        draw = generator("noise or not", part, *key)
        return bool(torch.rand((), generator=draw) < self.probability)

    def sources(self, key: tuple[int, int, str], part: str) -> tuple[str, ...]:
        """Names of the clips that are heard."""
        return self.noise.sources(key, part) if self.adds(key, part) else (key[-1],)


class MixedAlready:
    """Clips that are mixtures already, whose clean part lies in a folder.

    Nothing is added; the finetuning stage is told what is clean (generated sounds).

    Arguments
    ---------
    folder : str
        With ``foreground/ID.wav`` and ``background/ID.wav``, whose sum is the clip.
    sample_rate : int
        Of the model, Hz.
    """

    def __init__(self, folder: str, sample_rate: int):
        self.folder = folder
        self.sample_rate = sample_rate

    def prepare(self) -> None:
        """Nothing to prepare: the stems are made with the clips."""

    def mix(
        self, wav: torch.Tensor, keys: list, part: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The clips as they are, and their foregrounds; see `AddedNoise.mix`."""
        stems = FolderStems(self.folder, self.sample_rate, wav.shape[1])
        ids = [clip for *_, clip in keys]
        stems.check(ids)
        return wav, stems(ids)[0]

    def sources(self, key, part):
        """Names of the clips that are heard: nothing is added."""
        return (key[-1],)

    def adds(self, key: tuple, part: str) -> bool:
        """Whether the clip of this key gets anything added: none does."""
        return False
