"""Clips as a CLAP hears them in its training: alone or two at once, with captions."""

from dataclasses import dataclass

import torch

from speechbrain_lmac.data.class_captions import choose
from speechbrain_lmac.dsp.mixing import gains_of_snr, mix
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator, uniform


@dataclass(frozen=True)
class Captioned:
    """A batch of clips, what could be said of each, and what is."""

    wav: torch.Tensor  # (B, N)
    facts: list  # B frozensets
    captions: list  # B `class_captions.Caption`
    mixed: list  # B booleans: has it another clip in it?


class CaptionedClips:
    """Captions for clips of known classes, some of which are mixed with another clip.

    A mixture has both classes at about equal energy, and the caption names both. Which
    clip is mixed, with which, and what is said is a function of its key.

    Arguments
    ---------
    clips : dataio.ClipsById
        Those that are trained on, and what is added to them.
    captions : captions.ClassCaptions
        What is said.
    mixed : float
        Share of the clips that are mixed, 0 to 1.
    snr_db : tuple
        Range of the clip's energy over the other's, in dB.
    """

    def __init__(
        self,
        clips,
        captions,
        mixed: float = 0.5,
        snr_db: list[float] | tuple[float, float] = (-3.0, 3.0),
    ):
        if not 0 <= mixed <= 1:
            raise InputError(f"mixed must be from 0 to 1, got {mixed}")
        self.clips = clips
        self.captions = captions
        self.mixed = mixed
        self.snr_db = snr_db

    def __call__(self, wav: torch.Tensor, keys: list, part: str) -> Captioned:
        """Clips (B, N) and their keys (seed, epoch, clip) to a `Captioned`.

        `part` is "train", "valid" or "test": clips are mixed with those of their part.
        """
        heard, facts, captions, mixed = [], [], [], []
        for clip, key in zip(wav, keys, strict=True):
            draw = generator("caption", part, *key)
            category = self.clips.categories(part)[key[-1]]
            others = self.captions.partners(category)
            if others and torch.rand((), generator=draw) < self.mixed:
                clip, other = self.pair(clip, others, part, draw)
                said, attributes = [category, other], ()
            else:
                said, attributes = [category], self.captions.attributes(key[-1])
            heard.append(clip)
            mixed.append(len(said) > 1)
            facts.append(
                frozenset.union(*(self.captions.facts(c, attributes) for c in said))
            )
            captions.append(self.captions.caption(said, attributes, draw))
        return Captioned(torch.stack(heard), facts, captions, mixed)

    def pairs(self, wav: torch.Tensor, keys: list, part: str) -> tuple:
        """Every clip with one of another class, whether trainings mix these or not.

        Returns
        -------
        mixtures : torch.Tensor
            Shape (B, N).
        pairs : list
            B pairs of classes, each in the order of their names.
        """
        heard, pairs = [], []
        for clip, key in zip(wav, keys, strict=True):
            draw = generator("pair", part, *key)
            category = self.clips.categories(part)[key[-1]]
            others = [c for c in self.captions.categories if c != category]
            mixture, other = self.pair(clip, others, part, draw)
            heard.append(mixture)
            pairs.append(tuple(sorted([category, other])))
        return torch.stack(heard), pairs

    def pair(
        self, clip: torch.Tensor, others: list[str], part: str, draw: torch.Generator
    ) -> tuple[torch.Tensor, str]:
        """A clip (N,) with a clip of one of these classes, and which it is."""
        clips = self.clips.categories(part)
        there = set(clips.values())
        other = choose([category for category in others if category in there], draw)
        name = choose([name for name, c in clips.items() if c == other], draw)
        snr_db = uniform(*self.snr_db, draw)
        mixture, *_ = mix(clip, self.clips.wav(name, part), gains_of_snr(snr_db))
        return mixture, other
