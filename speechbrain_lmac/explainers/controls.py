"""Uninformative baselines: all-ones and random masks.

An all-ones mask changes nothing. A random mask with the same mean as a method's mask
shows the effect of the mean alone, on which AI, AD and FF depend.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.dsp.pad_crop import join_recordings, recordings, score_recordings
from speechbrain_lmac.types import Classifier, Explainer, Explanation, MaskDomain
from speechbrain_lmac.utils.seeding import clip_key, generator

# Range of ln a (see `with_mean`). At its limits every draw becomes 1 or 0 in float64,
# so means of 1 and 0 are exact. After 40 bisections the interval is below 1e-10, and so
# is the error of the mean.
BISECTIONS = 40
LOG_EXPONENT_RANGE = (-40.0, 45.0)
# Means closer to 0 and 1 are not reached by a sigmoid without extreme biases.
LEAST_MEAN = 1e-6


class AllOnesExplainer:
    """All-ones masks: AI = AD = AG = 0, and FF is p - p(silence).

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    """

    def __init__(self, domain: MaskDomain, classifier: Classifier) -> None:
        self.domain = domain
        self.classifier = classifier

    @torch.no_grad()
    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Explain waveforms with all-ones masks.

        Arguments and returns are those of `types.Explainer.explain`: waveforms (B, N),
        and a mask (B, T, F) in 0..1.
        """
        encoded = self.domain.encode(wav, lens)
        logits = classify(self.domain, self.classifier, encoded).logits
        return Explanation(
            mask=torch.ones_like(encoded.rep),
            target=logits.argmax(1) if target is None else target,
            encoded=encoded,
            logits=logits,
        )


class RandomExplainer:
    """Random masks that have, for each clip, the same mean as another explainer's mask.

    Every draw depends only on the seed and the samples of the clip, not on its batch or
    on earlier draws. Padding is excluded from the means, and the mask is 0 there.

    Arguments
    ---------
    reference : Explainer
        The explainer whose mask means are matched, to within 1e-6. If its mask has a
        NaN, the random mask is all NaN.
    block : tuple
        Frames and bins per block of equal values. Larger blocks resemble real masks
        more closely.
    seed : int
        Seed of the draws.

    Raises
    ------
    ValueError
        When `block` is not two numbers, at least 1.

    Example
    -------
    >>> random = RandomExplainer(reference=None, block=(2, 2))
    >>> mask = random.mask_of_mean(torch.zeros(1, 99), torch.tensor([0.3]), (4, 5))
    >>> mask.shape, round(mask.mean().item(), 5)
    (torch.Size([1, 4, 5]), 0.3)
    """

    def __init__(
        self, reference: Explainer, block: Sequence[int] = (1, 1), seed: int = 1234
    ) -> None:
        self.reference = reference
        self.block = tuple(block)
        self.seed = seed
        if len(self.block) != 2 or min(self.block) < 1:
            raise ValueError(f"block must be (frames, bins), each >= 1, got {block}")

    @torch.no_grad()
    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Return the reference's explanation with a random mask.

        Arguments and returns are those of `types.Explainer.explain`: waveforms (B, N),
        and a mask (B, T, F) in 0..1.
        """
        explanation = self.reference.explain(wav, target, lens)
        encoded = explanation.encoded
        shape = encoded.rep.shape[1:]
        means = mask_means(explanation)
        mask = self.mask_of_mean(wav, means, shape, encoded.frames)
        return with_mask(explanation, mask)

    def mask_of_mean(
        self,
        wav: torch.Tensor,
        means: torch.Tensor,
        shape: tuple[int, ...],
        frames: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Draw random masks with given means.

        Arguments
        ---------
        wav : torch.Tensor
            Clips (B, N), on whose samples the draws depend.
        means : torch.Tensor
            Means (B,), 0 to 1.
        shape : tuple
            (T, F) of a mask.
        frames : torch.Tensor, optional
            Number of frames before the padding, (B,), over which means are taken.

        Returns
        -------
        masks : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        draws = torch.stack([self._uniform(clip, shape) for clip in wav])
        return powers_with_mean(draws.to(means.device), means, frames)

    def _uniform(self, clip: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Draw uniform values (T, F), one per block, cropped at the edges."""
        frames, bins = self.block
        draw = generator("random mask", self.seed, clip_key(clip))
        rows, columns = -(-shape[0] // frames), -(-shape[1] // bins)
        draws = torch.rand(rows, columns, generator=draw, dtype=torch.float64)
        draws = draws.repeat_interleave(frames, 0).repeat_interleave(bins, 1)
        return draws[: shape[0], : shape[1]]


class Remembered:
    """An explainer that caches its last explanation.

    For explainers that are the reference of a random control: list `Remembered(lmac)`
    first, then `RandomExplainer` with the same object. The reference is computed once,
    and the seconds in the table are its own.

    Batches, `target` and `lens` are compared by identity: do not modify them in place
    between two calls.

    Arguments
    ---------
    explainer : Explainer
    """

    def __init__(self, explainer: Explainer) -> None:
        self.explainer = explainer
        self._last: tuple[tuple, Explanation] | None = None

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Return the explanation, cached if the arguments are those of the last call.

        Arguments and returns are those of `types.Explainer.explain`: waveforms (B, N),
        and a mask (B, T, F) in 0..1.
        """
        inputs = (wav, target, lens)
        if self._last is not None:
            last_inputs, explanation = self._last
            if all(a is b for a, b in zip(inputs, last_inputs, strict=True)):
                return explanation
        explanation = self.explainer.explain(*inputs)
        self._last = (inputs, explanation)
        return explanation


def mask_means(explanation: Explanation) -> torch.Tensor:
    """Return the mean of each mask, (B,), float64, over the frames of the recording."""
    return score_recordings(
        lambda mask: mask.double().mean(dim=(1, 2)),
        explanation.encoded.frames,
        explanation.mask,
    )


def with_mask(explanation: Explanation, mask: torch.Tensor) -> Explanation:
    """Return an explanation with another mask (B, T, F), without gradient."""
    return replace(
        explanation,
        mask=mask.to(explanation.encoded.rep),
        logits=explanation.logits.detach(),
    )


def powers_with_mean(
    values: torch.Tensor, means: torch.Tensor, frames: torch.Tensor | None
) -> torch.Tensor:
    """Return masks `values ** a` of given means, 0 in the padding.

    Arguments
    ---------
    values : torch.Tensor
        Shape (B, T, F), in 0..1, float64.
    means : torch.Tensor
        Means (B,), 0 to 1.
    frames : torch.Tensor or None
        Number of frames before the padding, (B,), over which the means are taken.

    Returns
    -------
    masks : torch.Tensor
        Shape (B, T, F), in 0..1.
    """
    parts = recordings(frames, values)
    means_of_parts = means.double().split([len(part) for part in parts])
    return join_recordings(map(with_mean, parts, means_of_parts), values.shape[1])


def with_mean(draws: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """Return `draws ** a`, (B, T, F), with `a` per item chosen to match means (B,).

    The mean falls from 1 to 0 as `a` rises from 0, by at most 1/e per unit of ln a.
    ln a is found by bisection, for all items at once.
    """
    # A draw of 0 has no logarithm; the smallest positive draw is 2 ** -53.
    log_draws = draws.clamp(min=2.0**-54).log()
    low, high = (torch.full_like(means, limit) for limit in LOG_EXPONENT_RANGE)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_large = _power(log_draws, middle).mean(dim=(1, 2)) > means
        low = torch.where(too_large, middle, low)
        high = torch.where(too_large, high, middle)
    mask = _power(log_draws, (low + high) / 2)
    means = means[:, None, None]
    return torch.where(means.isnan(), means, mask)


def _power(log_draws: torch.Tensor, log_exponent: torch.Tensor) -> torch.Tensor:
    return (log_draws * log_exponent.exp()[:, None, None]).exp()


def bias_of_mean(
    logits: torch.Tensor, means: torch.Tensor, bias: torch.Tensor, steps: int
) -> torch.Tensor:
    """Return the bias of each item at which sigmoid(logits + bias) has a mean.

    Newton's method within a shrinking bracket; bisection where a step would leave it.

    Arguments
    ---------
    logits : torch.Tensor
        Shape (B, T, F).
    means : torch.Tensor
        Means (B,), 0 to 1.
    bias : torch.Tensor
        First guess, (B,).
    steps : int
        Number of Newton steps.

    Returns
    -------
    bias : torch.Tensor
        Shape (B,).

    Example
    -------
    >>> logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])
    >>> bias = bias_of_mean(logits, torch.tensor([0.5]), torch.tensor([3.0]), 20)
    >>> round(bias.item(), 4)
    0.0
    """
    means = means.to(logits).clamp(LEAST_MEAN, 1 - LEAST_MEAN)
    middle = torch.logit(means)
    low, high = middle - logits.amax((1, 2)), middle - logits.amin((1, 2))
    bias = bias.clamp(low, high)
    for _ in range(steps):
        mask = torch.sigmoid(logits + bias[:, None, None])
        error = mask.mean((1, 2)) - means
        slope = (mask * (1 - mask)).mean((1, 2))
        low = torch.where(error < 0, bias, low)
        high = torch.where(error > 0, bias, high)
        newton = bias - error / slope.clamp(min=1e-12)
        inside = (newton >= low) & (newton <= high)
        bias = torch.where(inside, newton, (low + high) / 2)
    return bias


def attached(
    bias: torch.Tensor, logits: torch.Tensor, means: torch.Tensor
) -> torch.Tensor:
    """Return the bias (B, 1, 1) as a function of the logits, for the gradient.

    One Newton step from the solution, with gradient through the mean only: the implicit
    function's derivative, d bias / d logits = -s' / sum s'.

    Arguments
    ---------
    bias : torch.Tensor
        From `bias_of_mean`, (B,).
    logits : torch.Tensor
        Shape (B, T, F), with gradient.
    means : torch.Tensor
        Means (B,).

    Returns
    -------
    bias : torch.Tensor
        Shape (B, 1, 1).
    """
    mask = torch.sigmoid(logits + bias[:, None, None])
    slope = (mask * (1 - mask)).mean((1, 2)).detach()
    error = mask.mean((1, 2)) - means.to(mask)
    return (bias - error / slope.clamp(min=1e-12))[:, None, None]
