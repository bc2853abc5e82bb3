"""Captioned clips and mixtures of two clips, for training a CLAP."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from speechbrain_lmac.data.class_captions import Caption, ClassCaptions, Fact, choose
from speechbrain_lmac.data.dataset import ClipsById
from speechbrain_lmac.dsp.mixing import gains_of_snr, mix
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator, uniform


@dataclass(frozen=True)
class Captioned:
    """A batch of clips with the facts and a caption of each."""

    wav: torch.Tensor  # (B, N)
    facts: list[frozenset[Fact]]  # B sets: all true facts
    captions: list[Caption]  # B, each with the facts that it states
    mixed: list[bool]  # B: whether the clip is a mixture of two


class CaptionedClips:
    """Captioned clips of known classes; some are mixed with a clip of another class.

    A mixture has both classes at about equal energy, and its caption names both. All
    draws depend only on the clip's key.

    Arguments
    ---------
    clips : dataset.ClipsById
        The clips of all splits; a mixture adds another clip of the same split.
    captions : class_captions.ClassCaptions
    mixed : float
        Probability that a clip is mixed, 0 to 1.
    snr_db : (float, float)
        Range of the SNR of a mixture, clip over added clip, in dB.
    """

    def __init__(
        self,
        clips: ClipsById,
        captions: ClassCaptions,
        mixed: float = 0.5,
        snr_db: Sequence[float] = (-3.0, 3.0),
    ) -> None:
        if not 0 <= mixed <= 1:
            raise InputError(f"mixed must be from 0 to 1, got {mixed}")
        self.clips = clips
        self.captions = captions
        self.mixed = mixed
        self.snr_db = snr_db

    def __call__(
        self, wav: torch.Tensor, keys: Sequence[tuple], part: str
    ) -> Captioned:
        """Caption a batch of clips and mix some of them.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N).
        keys : sequence of tuple
            B keys (seed, epoch, clip).
        part : str
            "train", "valid" or "test": clips are mixed with clips of this split.

        Returns
        -------
        captioned : Captioned
        """
        wavs, facts, captions, mixed = [], [], [], []
        for clip, key in zip(wav, keys, strict=True):
            draw = generator("caption", part, *key)
            category = self.clips.categories(part)[key[-1]]
            others = self.captions.partners(category)
            if others and torch.rand((), generator=draw) < self.mixed:
                clip, other = self.pair(clip, others, part, draw)
                categories = [category, other]
                attributes: Sequence[str] = ()
            else:
                categories = [category]
                attributes = self.captions.attributes(key[-1])
            wavs.append(clip)
            mixed.append(len(categories) > 1)
            of_each = (self.captions.facts(c, attributes) for c in categories)
            facts.append(frozenset[Fact]().union(*of_each))
            captions.append(self.captions.caption(categories, attributes, draw))
        return Captioned(torch.stack(wavs), facts, captions, mixed)

    def pairs(
        self, wav: torch.Tensor, keys: Sequence[tuple], part: str
    ) -> tuple[torch.Tensor, list[tuple[str, str]]]:
        """Mix every clip with one of another class, held-out pairs of classes included.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N).
        keys : sequence of tuple
            B keys (seed, epoch, clip).
        part : str
            "train", "valid" or "test".

        Returns
        -------
        mixtures : torch.Tensor
            Shape (B, N).
        pairs : list
            B pairs of classes, each in alphabetical order.
        """
        mixtures, pairs = [], []
        for clip, key in zip(wav, keys, strict=True):
            draw = generator("pair", part, *key)
            category = self.clips.categories(part)[key[-1]]
            others = [c for c in self.captions.categories if c != category]
            mixture, other = self.pair(clip, others, part, draw)
            mixtures.append(mixture)
            pairs.append((min(category, other), max(category, other)))
        return torch.stack(mixtures), pairs

    def pair(
        self,
        clip: torch.Tensor,
        others: Sequence[str],
        part: str,
        draw: torch.Generator,
    ) -> tuple[torch.Tensor, str]:
        """Mix a clip with a clip of another class.

        Arguments
        ---------
        clip : torch.Tensor
            Shape (N,).
        others : sequence of str
            Classes to choose from.
        part : str
            "train", "valid" or "test".
        draw : torch.Generator

        Returns
        -------
        mixture : torch.Tensor
            Shape (N,).
        other : str
            The chosen class.
        """
        clips = self.clips.categories(part)
        existing = set(clips.values())
        other = choose([category for category in others if category in existing], draw)
        name = choose([name for name, c in clips.items() if c == other], draw)
        low, high = self.snr_db
        snr_db = uniform(low, high, draw)
        mixture, *_ = mix(clip, self.clips.wav(name, part), gains_of_snr(snr_db))
        return mixture, other
