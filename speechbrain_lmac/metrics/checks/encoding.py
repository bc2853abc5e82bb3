"""Encoding: the class probability that a mask gives to fixed sounds.

A mask that only selects sound gives no class to sounds that do not have it. One clip
is enough for this check, so `explain` has it for every file; `imprint` is its
counterpart for tables, with sounds drawn for each clip.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.dsp.pad_crop import repeat_or_cut
from speechbrain_lmac.dsp.toy_sounds import INT16_SCALE, render_clip
from speechbrain_lmac.metrics.checks.carriers import NOISES, at_level_of
from speechbrain_lmac.metrics.checks.imprint import logits_on
from speechbrain_lmac.types import Classifier, Encoded, MaskDomain

# Generated clips by their index in `toy_sounds.render_clip`. The first is `example.wav`
# of the shipped models.
CLIPS = {"generated chirps": 0, "generated hum": 5}
CLIP_SEED = 1234
NOISE_NAMES = tuple(f"{noise} noise" for noise in ("white", "pink", "babble"))
SOUND_NAMES = (*NOISE_NAMES, *CLIPS)
SECONDS = 5.0  # of each sound, which is repeated or cut to the length of a clip
# The sounds are encoded and classified without a mask once for clips of similar length
# and level: doing so for each clip would more than double the time of the check.
LENGTH_STEP_S = 0.5
LEVEL_STEP_DB = 3.0
N_CACHED = 16  # lengths and levels; each has 6 MB for clips of 5 s at 16 kHz
SAMPLES_AT_ONCE = 2_000_000  # of the sounds of a clip that are classified together


@functools.lru_cache(maxsize=2)
def fixed_sounds(sample_rate: int) -> torch.Tensor:
    """Return the sounds of the check: three noises and two generated clips.

    A clip begins with its first event, which thus remains if the clip is shortened.

    Arguments
    ---------
    sample_rate : int
        Hz. The sounds are generated at this rate.

    Returns
    -------
    sounds : torch.Tensor
        Shape (S, N), in the order of `SOUND_NAMES`, `SECONDS` long, of any level.
    """
    n_samples = round(SECONDS * sample_rate)
    sounds = [
        NOISES[name.removesuffix(" noise")](("encoding",), n_samples, sample_rate)
        for name in NOISE_NAMES
    ]
    for index in CLIPS.values():
        rendered = render_clip(CLIP_SEED, index, sample_rate, SECONDS)
        clip = torch.from_numpy(rendered["clip"] / INT16_SCALE).float()
        sounds.append(clip.roll(-round(rendered["start_s"] * sample_rate)))
    return torch.stack(sounds)


def encoding(probabilities: torch.Tensor) -> torch.Tensor:
    """Return the mean over sounds of the class probability that a mask gives them.

    mean_z p_c(M * Z), over the sounds z that the classifier does not assign to c.

    Arguments
    ---------
    probabilities : torch.Tensor
        Shape (B, S), 0 to 1; NaN for a sound that is left out.

    Returns
    -------
    encoding : torch.Tensor
        Shape (B,), 0 to 1, lower is better; NaN where all sounds are left out.

    Example
    -------
    >>> encoding(torch.tensor([[0.9, 0.5, torch.nan], [torch.nan] * 3]))
    tensor([0.7000,    nan])
    """
    return probabilities.nanmean(1)


class EncodingCheck:
    """Probabilities of the explained class for fixed sounds under a mask.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    """

    def __init__(self, domain: MaskDomain, classifier: Classifier) -> None:
        self.domain, self.classifier = domain, classifier
        # By length, level in steps, and device; the oldest first.
        self._cache: dict[tuple[int, int, torch.device], _Sounds] = {}

    @torch.no_grad()
    def __call__(
        self, mask: torch.Tensor, target: torch.Tensor, wavs: torch.Tensor
    ) -> torch.Tensor:
        """Return p_c(M * Z) for each mask and sound, near the RMS of the clip.

        The level of the sounds is a multiple of `LEVEL_STEP_DB`. Left out are sounds
        that the classifier assigns to c without a mask, and all sounds of a silent
        clip. The sounds of a clip are one batch, so no value depends on other clips.

        Arguments
        ---------
        mask : torch.Tensor
            M, shape (B, T, F), in 0..1.
        target : torch.Tensor
            c, the explained classes (B,).
        wavs : torch.Tensor
            The explained clips (B, N), without padding, at the model's level.

        Returns
        -------
        probabilities : torch.Tensor
            Shape (B, S), float64, 0 to 1; NaN for a sound that is left out, and for a
            mask with a NaN.
        """
        shape = (len(wavs), len(SOUND_NAMES))
        found = wavs.new_full(shape, torch.nan, dtype=torch.float64)
        for place, (wav, own, c) in enumerate(zip(wavs, mask, target, strict=True)):
            level = wav.square().mean().sqrt().item()
            if level == 0 or own.isnan().any():
                continue
            for part in self._parts(len(wav), level, wav.device):
                chosen = (part.classes != c).nonzero().flatten()
                if not len(chosen):  # all are left out
                    continue
                carriers = _cut(part.encoded, chosen, len(wav), len(own))
                masks = own.expand(len(chosen), -1, -1)
                logits = logits_on(self.domain, self.classifier, masks, carriers)
                places = part.first + chosen
                found[place, places] = logits.double().softmax(1)[:, c]
        return found

    def _parts(
        self, n_samples: int, level: float, device: torch.device
    ) -> Iterable["_Sounds"]:
        """Yield the sounds near a length and a level (RMS), by `SAMPLES_AT_ONCE`."""
        step = round(LENGTH_STEP_S * self.domain.sample_rate)
        length = -(-n_samples // step) * step
        steps = round(20 * math.log10(level) / LEVEL_STEP_DB)
        if length * len(SOUND_NAMES) <= SAMPLES_AT_ONCE:
            key = length, steps, device
            if key not in self._cache:
                if len(self._cache) == N_CACHED:
                    del self._cache[next(iter(self._cache))]
                self._cache[key] = self._prepared(0, len(SOUND_NAMES), *key)
            yield self._cache[key]
            return
        at_once = max(1, SAMPLES_AT_ONCE // length)
        for first in range(0, len(SOUND_NAMES), at_once):
            yield self._prepared(first, at_once, length, steps, device)

    def _prepared(
        self, first: int, number: int, length: int, steps: int, device: torch.device
    ) -> "_Sounds":
        """Return some of the sounds, encoded and classified without a mask."""
        sounds = fixed_sounds(self.domain.sample_rate)[first : first + number]
        sounds = repeat_or_cut(sounds, length, dim=1).to(device)
        rms = 10 ** (steps * LEVEL_STEP_DB / 20)
        encoded = self.domain.encode(at_level_of(sounds, torch.full_like(sounds, rms)))
        classes = classify(self.domain, self.classifier, encoded).logits.argmax(1)
        if not self.domain.features_from_waveform:  # only `decode` needs the phase
            encoded = replace(encoded, phasor=None)
        return _Sounds(first, encoded.with_rep(encoded.rep), classes)


@dataclass(frozen=True)
class _Sounds:
    """Encoded sounds, and the classes that they have without a mask."""

    first: int  # index in `SOUND_NAMES` of the first one
    encoded: Encoded  # of S' sounds, without waveforms
    classes: torch.Tensor  # (S',)


def _cut(
    encoded: Encoded, chosen: torch.Tensor, n_samples: int, n_frames: int
) -> Encoded:
    """Return some of the encoded sounds, cut to N samples and T frames."""
    phasor = encoded.phasor
    return replace(
        encoded,
        rep=encoded.rep[chosen, :n_frames],
        phasor=None if phasor is None else phasor[chosen, :n_frames],
        length=n_samples,
    )
