"""Masks that bound the scores of a table: energy, other clips, ideal masks.

A method is informative where it beats the energy of the clip and the mask of another
clip. Ideal masks of known stems are the bound of separation, not of the faithfulness.
"""

from collections.abc import Callable
from typing import NoReturn

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.conditions import explained_source
from speechbrain_lmac.domains.learned import LearnedDomain
from speechbrain_lmac.domains.stft import recorded_samples
from speechbrain_lmac.dsp.ideal_masks import ideal_ratio_mask
from speechbrain_lmac.dsp.pad_crop import (
    join_recordings,
    recordings,
    repeat_or_cut,
)
from speechbrain_lmac.explainers.attribution import Background
from speechbrain_lmac.explainers.controls import (
    mask_means,
    powers_with_mean,
    with_mask,
)
from speechbrain_lmac.types import (
    Classifier,
    Encoded,
    Explainer,
    Explanation,
    MaskDomain,
)
from speechbrain_lmac.utils.errors import InputError, check_counts, check_numbers
from speechbrain_lmac.utils.seeding import clip_key, generator


def log_magnitude(encoded: Encoded) -> torch.Tensor:
    """Return the representation itself, (B, T, F): log1p|X| of the STFT or mel."""
    return encoded.rep


def magnitude(encoded: Encoded) -> torch.Tensor:
    """Return expm1 of the representation, (B, T, F): |X| of the STFT or mel."""
    return encoded.rep.expm1()


class EnergyExplainer:
    """The clip's own spectrogram as a mask, with the mean of another explainer's mask.

    M = (v / max v)^a, where v is the representation, and a is chosen such that M has
    the mean of the reference's mask of this clip, as in `RandomExplainer`. The maximum
    and the means are over the frames before the padding, and the mask is 0 in the
    padding. A silent clip has a constant mask.

    Arguments
    ---------
    reference : Explainer
        Its mask means are matched. If its mask has a NaN, the result is all NaN.
    representation : callable
        `Encoded` to values (B, T, F) >= 0: `log_magnitude` or `magnitude`.
    """

    def __init__(
        self,
        reference: Explainer,
        representation: Callable[[Encoded], torch.Tensor] = log_magnitude,
    ) -> None:
        self.reference = reference
        self.representation = representation

    @torch.no_grad()
    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Return the reference's explanation with the energy as its mask.

        Arguments and returns are those of `types.Explainer.explain`: waveforms (B, N),
        and a mask (B, T, F) in 0..1.
        """
        explanation = self.reference.explain(wav, target, lens)
        frames = explanation.encoded.frames
        values = self.representation(explanation.encoded).double()
        parts = [share_of_maximum(part) for part in recordings(frames, values)]
        values = join_recordings(parts, values.shape[1])
        mask = powers_with_mean(values, mask_means(explanation), frames)
        return with_mask(explanation, mask)


def share_of_maximum(values: torch.Tensor) -> torch.Tensor:
    """Divide values (B, T, F) >= 0 by the maximum of each clip; zeros stay 0.

    The result is at most 1 / (1 + 1e-6), not 1: powers of a constant map (for example
    of digital silence) can then have any mean, too.

    Example
    -------
    >>> share_of_maximum(torch.tensor([[[1.0, 4.0]], [[0.0, 0.0]]])).flatten(1)
    tensor([[0.2500, 1.0000],
            [0.0000, 0.0000]])
    """
    largest = values.amax((1, 2), keepdim=True)
    return values / largest.masked_fill(largest == 0, 1) / (1 + 1e-6)


class OtherClipMask:
    """The mask that an explainer makes for another clip.

    The other clip is drawn from a pool by the seed and the recording's own samples; a
    clip with the same samples is never drawn. Its mask is repeated in time where it is
    shorter than the recording, and cut where it is longer; it is 0 in the padding. If
    the pool has no other clip (of the class), the mask is all NaN, and tables count the
    clip as `non_finite`.

    Arguments
    ---------
    reference : Explainer
        Explains the predicted class of each clip of the pool, once.
    clips : callable
        () to waveforms (K, N'), see `data.background.TrainingClips`.
    same_class : bool
        Draw from the clips whose predicted class is the explained one; otherwise from
        all.
    seed : int
        Seed of the draws.
    batch_size : int
        Clips of the pool that are explained at once.
    """

    def __init__(
        self,
        reference: Explainer,
        clips: Background,
        same_class: bool,
        seed: int = 1234,
        batch_size: int = 8,
    ) -> None:
        check_counts(batch_size=batch_size)
        self.reference = reference
        self.clips = clips
        self.same_class = same_class
        self.seed = seed
        self._batch_size = batch_size
        self._pool: tuple[torch.Tensor, torch.Tensor, list[int]] | None = None

    @torch.no_grad()
    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Return the reference's explanation with the masks of other clips.

        Arguments and returns are those of `types.Explainer.explain`: waveforms (B, N),
        and a mask (B, T, F) in 0..1, or NaN.
        """
        # First, so that a `Remembered` reference still caches the explanation of `wav`.
        masks, classes, keys = self.pool(wav)
        explanation = self.reference.explain(wav, target, lens)
        encoded = explanation.encoded
        n_frames = encoded.rep.shape[1]
        own_frames = [n_frames] * len(wav)
        own_samples = [wav.shape[1]] * len(wav)
        if encoded.frames is not None and lens is not None:
            own_frames = encoded.frames.tolist()
            own_samples = recorded_samples(lens, wav.shape[1]).tolist()
        parts = []
        for item, label in enumerate(explanation.target.tolist()):
            key = clip_key(wav[item, : own_samples[item]])
            others = [
                index
                for index, (other, other_label) in enumerate(
                    zip(keys, classes.tolist(), strict=True)
                )
                if other != key and (other_label == label or not self.same_class)
            ]
            if others:
                draw = generator("other clip", self.seed, key)
                index = others[int(torch.randint(len(others), (), generator=draw))]
                mask = masks[index]
            else:
                mask = torch.full_like(masks[0], torch.nan)
            parts.append(repeat_or_cut(mask, own_frames[item])[None])
        return with_mask(explanation, join_recordings(parts, n_frames))

    def pool(self, wav: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Return masks (K, T', F), classes (K,) and keys of the pool, on wav's device.

        Raises
        ------
        InputError
            When the pool is empty.
        """
        if self._pool is None or self._pool[0].device != wav.device:
            clips = self.clips()
            if len(clips) == 0:
                raise InputError(
                    "clips must return at least one clip, whose mask is used; got none"
                )
            explanations = [
                self.reference.explain(batch)
                for batch in clips.to(wav).split(self._batch_size)
            ]
            self._pool = (
                torch.cat([explanation.mask for explanation in explanations]),
                torch.cat([explanation.target for explanation in explanations]),
                [clip_key(clip) for clip in clips],
            )
        return self._pool


class IdealMask:
    """The ideal ratio mask of the explained source of a mixture, from its stems.

    M = |S|^p / (|S|^p + |S_o|^p), S the explained source and S_o the other one, cell by
    cell, at the cells of the representation (in a learned code S is the code); 0 where
    both stems are silent. The explained source is the foreground; in mixtures of two
    known classes it is the background where that has the explained class
    (`conditions.explained_source`). Only mixtures with stems have one:
    `evaluation.evaluate` leaves the row out where there are none.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    exponent : float
        p, above 0. 1: shares of the magnitude. 2: shares of the power, the mask of the
        score IRM overlap.
    """

    def __init__(
        self, domain: MaskDomain, classifier: Classifier, exponent: float = 1.0
    ) -> None:
        check_numbers(1e-3, exponent=exponent)
        self.domain = domain
        self.classifier = classifier
        self.exponent = exponent

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> NoReturn:
        """Raise: waveforms alone have no stems, which `explain_mixture` takes.

        Arguments
        ---------
        wav, target, lens
            As `explain_mixture`; waveforms (B, N).

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "the ideal mask needs the stems of each clip: use a condition with stems, "
            "such as hparams/parts/condition/mixtures.yaml"
        )

    @torch.no_grad()
    def explain_mixture(
        self,
        wav: torch.Tensor,
        foreground: torch.Tensor,
        background: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
        classes: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> Explanation:
        """Explain mixtures by the ideal mask of the explained source.

        Arguments
        ---------
        wav : torch.Tensor
            Waveforms (B, N).
        foreground, background : torch.Tensor
            Stems (B, N), whose sum is the mixture up to its level.
        target : torch.Tensor, optional
            Classes (B,). Default: the predicted ones.
        lens : torch.Tensor, optional
            Share of each clip before the padding, (B,), above 0 and at most 1.
        classes : (torch.Tensor, torch.Tensor), optional
            Classes of the stems, (B,) each, see `GroundTruth`.

        Returns
        -------
        explanation : Explanation
            With a mask (B, T, F) in 0..1.
        """
        encoded = self.domain.encode(wav, lens)
        logits = classify(self.domain, self.classifier, encoded).logits
        target = logits.argmax(1) if target is None else target
        own, other, _ = explained_source(target, (foreground, background), classes)
        of_own, of_other = (
            self._magnitude(self.domain.encode(stem, lens)) for stem in (own, other)
        )
        mask = ideal_ratio_mask(of_own, of_other, self.exponent)
        return Explanation(
            mask=mask.to(encoded.rep),
            target=target,
            encoded=encoded,
            logits=logits,
        )

    def _magnitude(self, encoded: Encoded) -> torch.Tensor:
        """Return the magnitude at the cells of the representation, (B, T, F)."""
        if isinstance(self.domain, LearnedDomain):
            return encoded.rep
        return self.domain.magnitude(encoded)
