"""Explanations that know nothing: what every table must be read against.

A mask of ones keeps everything. A random mask of the same size as a method's shows
what that size alone is worth: AI, AD and FF depend on it.
"""

import zlib

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.dsp.pad_crop import join_recordings, recordings, score_recordings
from speechbrain_lmac.types import Explanation
from speechbrain_lmac.utils.seeding import generator

# Of ln a (see `with_mean`). At its ends every draw becomes 1 or 0 in float64, so that
# means of 1 and 0 are met exactly; 40 halvings leave 1e-10 of it, and no mean moves by
# more than that.
BISECTIONS = 40
LOG_EXPONENT_RANGE = (-40.0, 45.0)


class AllOnesExplainer:
    """Holds everything responsible. AI = AD = AG = 0, and FF is p - p(silence).

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    """

    def __init__(self, domain, classifier):
        self.domain = domain
        self.classifier = classifier

    @torch.no_grad()
    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Explain class `target` (default: the predicted one) of wav (B, N)."""
        encoded = self.domain.encode(wav, lens)
        logits = classify(self.domain, self.classifier, encoded).logits
        return Explanation(
            mask=torch.ones_like(encoded.rep),
            target=logits.argmax(1) if target is None else target,
            encoded=encoded,
            logits=logits,
        )


class RandomExplainer:
    """Random values with, clip by clip, the mean of another explainer's mask.

    Every draw depends on the seed and on the clip's own samples and on nothing else:
    not on its batch, nor on what was drawn before. Where a clip is padded, the means
    are those of the frames that hold recording, and the mask is 0 in the padding.

    Arguments
    ---------
    reference : Explainer
        The explainer whose mask's mean is matched, within 1e-6. A NaN there makes
        a mask of NaN.
    block : tuple
        Frames and bins which share a value. Larger blocks look more like a mask.
    seed : int

    Example
    -------
    >>> random = RandomExplainer(reference=None, block=(2, 2))
    >>> mask = random.mask_of_mean(torch.zeros(1, 99), torch.tensor([0.3]), (4, 5))
    >>> mask.shape, round(mask.mean().item(), 5)
    (torch.Size([1, 4, 5]), 0.3)
    """

    def __init__(
        self, reference, block: list[int] | tuple[int, ...] = (1, 1), seed: int = 1234
    ):
        self.reference = reference
        self.block = tuple(block)
        self.seed = seed
        if len(self.block) != 2 or min(self.block) < 1:
            raise ValueError(
                f"block must be (frames, bins), at least 1 each, got {block}"
            )

    @torch.no_grad()
    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """The reference's explanation of wav (B, N) with a random mask."""
        explanation = self.reference.explain(wav, target, lens)
        encoded = explanation.encoded
        means = score_recordings(
            lambda mask: mask.double().mean(dim=(1, 2)),
            encoded.frames,
            explanation.mask,
        )
        shape = encoded.rep.shape[1:]
        mask = self.mask_of_mean(wav, means, shape, encoded.frames)
        return Explanation(
            mask=mask.to(encoded.rep),
            target=explanation.target,
            encoded=encoded,
            logits=explanation.logits.detach(),
        )

    def mask_of_mean(
        self,
        wav: torch.Tensor,
        means: torch.Tensor,
        shape,
        frames: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Random masks (B, T, F) of the clips (B, N) with these means (B,).

        The means are those of the first `frames` (B,) of each, where they are given.
        """
        draws = torch.stack([self._uniform(clip, shape) for clip in wav])
        parts = recordings(frames, draws.to(means.device))
        means = means.double().split([len(part) for part in parts])
        return join_recordings(map(with_mean, parts, means), shape[0])

    def _uniform(self, clip: torch.Tensor, shape) -> torch.Tensor:
        """Uniform draws (T, F), one per block; those at the edges are cut."""
        frames, bins = self.block
        samples = clip.detach().cpu().float().contiguous().numpy()
        draw = generator("random mask", self.seed, zlib.crc32(samples))
        rows, columns = -(-shape[0] // frames), -(-shape[1] // bins)
        draws = torch.rand(rows, columns, generator=draw, dtype=torch.float64)
        draws = draws.repeat_interleave(frames, 0).repeat_interleave(bins, 1)
        return draws[: shape[0], : shape[1]]


class Remembered:
    """Another explainer, which explains a batch once however often it is asked.

    For a reference in a table that has a random control: list `Remembered(lmac)`
    first and then `RandomExplainer` of the same object, and the seconds in the table
    are those of the explainer.

    The batch is known by identity, and so are `target` and `lens`: do not write into
    them between two calls.

    Arguments
    ---------
    explainer : Explainer
    """

    def __init__(self, explainer):
        self.explainer = explainer
        self._asked = (None, None, None)
        self._answer = None

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """The explanation of wav (B, N), from memory if it was the last one."""
        asked = (wav, target, lens)
        if any(new is not old for new, old in zip(asked, self._asked, strict=True)):
            self._answer = self.explainer.explain(*asked)
            self._asked = asked
        return self._answer


def with_mean(draws: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """`draws ** a`, with the `a` of each item (B, T, F) that gives its mean (B,).

    The mean falls from 1 to 0 while `a` rises from 0, and by at most 1/e per unit of
    ln a, which is bisected for all items at once.
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
