"""Encoding: the class probability that a mask gives to fixed sounds.

A mask that only selects sound gives no class to sounds that do not have it. One clip
is enough for this check, so `explain` has it for every file; `imprint` is its
counterpart for tables, with sounds drawn for each clip.
"""

import functools
import math

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.dsp.pad_crop import repeat_or_cut
from speechbrain_lmac.dsp.toy_sounds import INT16_SCALE, render_clip
from speechbrain_lmac.metrics.checks.imprint import NOISES, at_level_of, logits_on
from speechbrain_lmac.types import Classifier, MaskDomain

# Generated clips by their index in `toy_sounds.render_clip`. The first is `example.wav`
# of the shipped models.
CLIPS = {"generated chirps": 0, "generated hum": 5}
CLIP_SEED = 1234
NOISE_NAMES = tuple(f"{noise} noise" for noise in ("white", "pink", "babble"))
SOUND_NAMES = (*NOISE_NAMES, *CLIPS)
SECONDS = 5.0  # of each sound, which is repeated or cut to the length of a clip
# The classifier's decisions for the sounds alone are cached for lengths and levels in
# these steps: one more batch for every clip would double the time of the check.
LENGTH_STEP_S = 0.5
LEVEL_STEP_DB = 3.0
SAMPLES_AT_ONCE = 2_000_000  # of the sounds of a clip that are classified together


@functools.lru_cache(maxsize=2)
def fixed_sounds(sample_rate: int) -> torch.Tensor:
    """Return the sounds of the check: three noises and two generated clips.

    A clip begins with its first event, so that a short cut contains it.

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
        # (samples, level in steps) to the classes (S,) of the sounds alone.
        self._classes: dict[tuple[int, int], torch.Tensor] = {}

    @torch.no_grad()
    def __call__(
        self, mask: torch.Tensor, target: torch.Tensor, wavs: torch.Tensor
    ) -> torch.Tensor:
        """Return p_c(M * Z) for each mask and sound, at the RMS of the clip.

        Left out are sounds that the classifier assigns to c without a mask, and all
        sounds of a silent clip. The sounds of a clip are one batch, so no value depends
        on the other clips.

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
        sounds = self._of_length(wavs.shape[1]).to(wavs)
        found = wavs.new_full((len(wavs), len(sounds)), torch.nan, dtype=torch.float64)
        at_once = max(1, SAMPLES_AT_ONCE // wavs.shape[1])
        for place, (wav, own, c) in enumerate(zip(wavs, mask, target, strict=True)):
            if own.isnan().any():
                continue
            for chosen in self._counted(sounds, wav, c).split(at_once):
                if not len(chosen):  # all are left out
                    continue
                carriers = at_level_of(sounds[chosen], wav.expand(len(chosen), -1))
                logits = logits_on(
                    self.domain,
                    self.classifier,
                    own.expand(len(chosen), -1, -1),
                    self.domain.encode(carriers),
                )
                found[place, chosen] = logits.double().softmax(1)[:, c]
        return found

    def _of_length(self, n_samples: int) -> torch.Tensor:
        """Return the sounds (S, n_samples)."""
        return repeat_or_cut(fixed_sounds(self.domain.sample_rate), n_samples, dim=1)

    def _counted(
        self, sounds: torch.Tensor, wav: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Return the indices of the sounds that count for a clip (N,), int64."""
        level = wav.square().mean().sqrt().item()
        if level == 0:
            return target.new_zeros(0)
        classes = self._classes_at(len(wav), level, wav.device)
        return (sounds.any(1) & (classes != target)).nonzero().flatten()

    def _classes_at(
        self, n_samples: int, level: float, device: torch.device
    ) -> torch.Tensor:
        """Return the classes (S,) of the sounds near a length and a level (RMS)."""
        step = round(LENGTH_STEP_S * self.domain.sample_rate)
        length = max(1, round(n_samples / step)) * step
        steps = round(20 * math.log10(level) / LEVEL_STEP_DB)
        if (length, steps) not in self._classes:
            sounds = self._of_length(length).to(device)
            rms = 10 ** (steps * LEVEL_STEP_DB / 20)
            sounds = at_level_of(sounds, torch.full_like(sounds, rms))
            self._classes[length, steps] = self._classified(sounds)
        return self._classes[length, steps]

    def _classified(self, sounds: torch.Tensor) -> torch.Tensor:
        """Return the classes (S,) of sounds (S, N)."""
        at_once = max(1, SAMPLES_AT_ONCE // sounds.shape[1])
        return torch.cat(
            [
                classify(
                    self.domain, self.classifier, self.domain.encode(part)
                ).logits.argmax(1)
                for part in sounds.split(at_once)
            ]
        )
