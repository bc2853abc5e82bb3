"""Noise augmentation in training.

A noise is an object with ``prepare()`` and ``mix(wav, keys, part)``, which returns the
noisy and the clean clips. It has three parts, "train", "valid" and "test", without
common files of a corpus or seeds of generated noise. Every draw depends only on the key
(seed, epoch, clip), so a resumed training has the same noise.

``sources(key, part)`` returns the clips of the dataset in the noisy clip: that of the
key and, with `OtherClips`, the added one. ``adds(key, part)`` returns whether the clip
of the key gets noise.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from speechbrain_lmac.data.corpora import Corpus
from speechbrain_lmac.data.dataset import ClipsById
from speechbrain_lmac.data.mixtures import Sounds
from speechbrain_lmac.data.sources import (
    CorpusSounds,
    FolderStems,
    GeneratedSounds,
    PartnerClips,
)
from speechbrain_lmac.dsp.mixing import gains_of_snr, mix
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.seeding import generator

if TYPE_CHECKING:
    from speechbrain_lmac.data_prep.manifest import Manifests


class AddedNoise:
    """Noise at a given SNR; a subclass defines its source and `noise`.

    Arguments
    ---------
    snr_db : float
        10 log10 of the clip's energy over the noise's.
    """

    def __init__(self, snr_db: float = 0.0) -> None:
        self.gains = gains_of_snr(snr_db)

    def prepare(self) -> "Manifests | None":
        """Do nothing: no files to prepare."""
        return None

    def noise(self, key: tuple, n_samples: int, part: str) -> torch.Tensor:
        """Draw noise of any level for a clip.

        Arguments
        ---------
        key : tuple
            (seed, epoch, clip).
        n_samples : int
            Length N of the clip.
        part : str
            "train", "valid" or "test".

        Returns
        -------
        noise : torch.Tensor
            Shape (N,).
        """
        raise NotImplementedError

    def mix(
        self, wav: torch.Tensor, keys: Sequence[tuple], part: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add noise to each clip.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N), on the CPU. A silent clip is replaced by the noise.
        keys : sequence of tuple
            B keys (seed, epoch, clip).
        part : str
            "train", "valid" or "test".

        Returns
        -------
        noisy : torch.Tensor
            Shape (B, N), float32; the largest absolute sample is 1 to rounding.
        clean : torch.Tensor
            Shape (B, N), float32: the clip at its level in `noisy`; `noisy - clean` is
            the noise.
        """
        n_samples = wav.shape[1]
        mixed = [
            mix(clip, self.noise(key, n_samples, part), self.gains)[:2]
            for clip, key in zip(wav, keys, strict=True)
        ]
        noisy, clean = zip(*mixed, strict=True)
        return torch.stack(noisy), torch.stack(clean)

    def adds(self, key: tuple, part: str) -> bool:
        """Return True: every clip gets noise."""
        return True

    def sources(self, key: tuple, part: str) -> tuple[str, ...]:
        """Return the clips of the dataset in the noisy clip: that of the key."""
        return (key[-1],)


class CorpusNoise(AddedNoise):
    """Recordings of a corpus, joined and cut by `draw_pieces`.

    Arguments
    ---------
    corpus : Corpus
        From `data_prep.noise_prepare`.
    sample_rate : int
        Sample rate of the model, Hz.
    snr_db : float
        10 log10 of the clip's energy over the noise's.
    """

    def __init__(self, corpus: Corpus, sample_rate: int, snr_db: float = 0.0) -> None:
        super().__init__(snr_db)
        self.source = CorpusSounds(corpus)
        self.sample_rate = sample_rate
        # Set later: the folder exists only after `prepare`.
        self.reader: Sounds | None = None

    def prepare(self) -> "Manifests":
        """Check the corpus and write its manifests."""
        return self.source.prepare()

    def noise(self, key: tuple, n_samples: int, part: str) -> torch.Tensor:
        """Draw pieces of recordings for a clip.

        Arguments
        ---------
        key, n_samples, part
            As in `AddedNoise.noise`.

        Returns
        -------
        noise : torch.Tensor
            Shape (N,).
        """
        if self.reader is None:
            self.reader = self.source.reader(self.sample_rate)
        draw = generator("noise", part, *key)
        pieces = self.source.pieces([part], n_samples, self.sample_rate, draw)
        return self.reader.join(pieces, n_samples)


class GeneratedNoise(AddedNoise):
    """Generated noise: a pool for each part, generated once and kept in memory.

    A clip gets a noise of the pool, rotated by an offset, both drawn for its key.

    Arguments
    ---------
    sample_rate : int
        Sample rate of the model, Hz.
    snr_db : float
        10 log10 of the clip's energy over the noise's.
    names : sequence of str
        Keys of `noise.GENERATORS`, alternating in the pool.
    n_noises : int
        Size of the pool of a part.
    """

    def __init__(
        self,
        sample_rate: int,
        snr_db: float = 0.0,
        names: Sequence[str] = ("coloured", "babble"),
        n_noises: int = 100,
    ) -> None:
        check_counts(n_noises=n_noises)
        super().__init__(snr_db)
        self.source = GeneratedSounds(names)
        self.sample_rate = sample_rate
        self.n_noises = n_noises
        self._stock: dict[tuple[str, int, int], torch.Tensor] = {}

    def noise(self, key: tuple, n_samples: int, part: str) -> torch.Tensor:
        """Draw a noise of the pool for a clip.

        Arguments
        ---------
        key, n_samples, part
            As in `AddedNoise.noise`.

        Returns
        -------
        noise : torch.Tensor
            Shape (N,).
        """
        draw = generator("noise", part, *key)
        number = int(torch.randint(self.n_noises, (), generator=draw))
        offset = int(torch.randint(n_samples, (), generator=draw))
        stock_key = (part, number, n_samples)
        if stock_key not in self._stock:
            self._stock[stock_key] = self.source.numbered(
                number, ("noise", part), n_samples, self.sample_rate
            )
        return self._stock[stock_key].roll(offset)


class OtherClips(AddedNoise):
    """A clip of another class of the dataset, from the same part.

    Arguments
    ---------
    clips : dataset.ClipsById
        The training clips, also added to each other.
    snr_db : float
        10 log10 of the clip's energy over the added clip's.
    """

    def __init__(self, clips: ClipsById, snr_db: float = 0.0) -> None:
        super().__init__(snr_db)
        self.clips = clips

    def noise(self, key: tuple, n_samples: int, part: str) -> torch.Tensor:
        """Draw a clip of another class.

        Arguments
        ---------
        key, n_samples, part
            As in `AddedNoise.noise`.

        Returns
        -------
        noise : torch.Tensor
            Shape (N,).
        """
        return self.clips.wav(self.sources(key, part)[1], part)

    def sources(self, key: tuple, part: str) -> tuple[str, str]:
        """Return the names of the clip and the added clip."""
        clip = key[-1]
        categories = self.clips.categories(part)
        source = PartnerClips(categories, f"the part {part} of the dataset")
        draw = generator("other clip", part, *key)
        return clip, source.draw_one(clip, categories[clip], draw)


class Sometimes:
    """Noise for some of the clips, to train on clean and noisy clips.

    Arguments
    ---------
    noise : AddedNoise
    probability : float
        Probability that a clip gets noise, 0 to 1; drawn for its key.
    """

    def __init__(self, noise: AddedNoise, probability: float) -> None:
        if not 0 <= probability <= 1:
            raise InputError(f"probability must be from 0 to 1, got {probability}")
        self.noise = noise
        self.probability = probability

    def prepare(self) -> "Manifests | None":
        """Prepare the noise."""
        return self.noise.prepare()

    def mix(
        self, wav: torch.Tensor, keys: Sequence[tuple], part: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add noise to some of the clips.

        Arguments
        ---------
        wav, keys, part
            As in `AddedNoise.mix`.

        Returns
        -------
        noisy, clean : torch.Tensor
            Shape (B, N), equal for clips without noise.
        """
        indices = [index for index, key in enumerate(keys) if self.adds(key, part)]
        if not indices:
            return wav, wav
        chosen = torch.tensor(indices)
        noisy, clean = self.noise.mix(wav[indices], [keys[i] for i in indices], part)
        return wav.index_copy(0, chosen, noisy), wav.index_copy(0, chosen, clean)

    def adds(self, key: tuple, part: str) -> bool:
        """Return whether the clip of this key gets noise."""
        draw = generator("noise or not", part, *key)
        return bool(torch.rand((), generator=draw) < self.probability)

    def sources(self, key: tuple, part: str) -> tuple[str, ...]:
        """Return the clips of the dataset in the clip of the key after `mix`."""
        return self.noise.sources(key, part) if self.adds(key, part) else (key[-1],)


class MixedAlready:
    """Clips that are already mixtures, with their stems in a folder.

    Nothing is added; the finetuning stage gets the clean stems (generated sounds).

    Arguments
    ---------
    folder : str or Path
        Contains ``foreground/ID.wav`` and ``background/ID.wav``, whose sum is the clip.
    sample_rate : int
        Sample rate of the model, Hz.
    """

    def __init__(self, folder: str | Path, sample_rate: int) -> None:
        self.folder = folder
        self.sample_rate = sample_rate

    def prepare(self) -> None:
        """Do nothing: the stems were written with the clips."""

    def mix(
        self, wav: torch.Tensor, keys: Sequence[tuple], part: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the unchanged clips and their foregrounds.

        Arguments
        ---------
        wav, keys, part
            As in `AddedNoise.mix`.

        Returns
        -------
        noisy, clean : torch.Tensor
            Shape (B, N).

        Raises
        ------
        InputError
            Stems are missing.
        """
        stems = FolderStems(self.folder, self.sample_rate, wav.shape[1])
        ids = [clip for *_, clip in keys]
        stems.check(ids)
        return wav, stems(ids)[0]

    def sources(self, key: tuple, part: str) -> tuple[str, ...]:
        """Return the clips of the dataset in the clip: that of the key."""
        return (key[-1],)

    def adds(self, key: tuple, part: str) -> bool:
        """Return False: no clip gets noise."""
        return False
