"""Attributions by removing parts of the clip: occlusion, LIME, RISE.

No gradients: the classifier is applied to masked clips. Parts are patches of frames and
mel bands, as the cells of class activation maps, and are mapped to the frequencies of
rep (`domain.from_bands`). A removed cell is 0 in the representation, silence. Clips are
treated one at a time, so that no result depends on the batch.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F

from speechbrain_lmac.explainers.attribution import AttributionInputs
from speechbrain_lmac.explainers.gradients import captum_attr
from speechbrain_lmac.explainers.to_mask import ToMask
from speechbrain_lmac.utils.errors import (
    InputError,
    check_arguments,
    check_counts,
    check_numbers,
)
from speechbrain_lmac.utils.seeding import (
    clip_key,
    generator,
    global_generators,
    seed_of,
)

KERNEL_WIDTH = 0.25  # of LIME's weights, in cosine distances


def logits_of_masks(
    clip: AttributionInputs,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function from masks (P, T, n_mels) of a clip to its logits (P, C)."""

    def logits(masks: torch.Tensor) -> torch.Tensor:
        return clip.logits(clip.encoded.rep * clip.domain.from_bands(masks))

    return logits


def full_mask(clip: AttributionInputs) -> torch.Tensor:
    """Return a mask of ones for one clip on frames and mel bands, (1, T, n_mels)."""
    rep = clip.encoded.rep
    return rep.new_ones(1, rep.shape[1], clip.domain.n_mels)


def at_frequencies(clip: AttributionInputs, maps: torch.Tensor) -> torch.Tensor:
    """Map an attribution of mel bands (1, T, n_mels) to the cells of rep (1, T, F)."""
    return clip.domain.from_bands(maps.to(clip.encoded.rep))


def check_patch(name: str, patch: Sequence[int]) -> tuple[int, int]:
    """Return a patch as (frames, bands); InputError unless both are ints from 1."""
    if len(patch) != 2:
        raise InputError(f"{name} must be (frames, bands), got {patch!r}")
    frames, bands = patch
    check_counts(**{f"frames of {name}": frames, f"bands of {name}": bands})
    return frames, bands


class Occlusion:
    """The fall of the target's logit when a patch is removed.

    a = mean over the patches W around a cell of S_c(x) - S_c(x without W)   (Zeiler and
    Fergus 2014, arXiv 1311.2901), by captum; a patch every half patch in both axes.

    Arguments
    ---------
    patch : tuple
        Frames and mel bands.
    masks_per_batch : int
        Masked clips that go through the classifier at once: a bound on memory.
    to_mask : callable
        Attribution (B, T, F) to mask, from `speechbrain_lmac.explainers.to_mask`.
    """

    def __init__(
        self, patch: Sequence[int], masks_per_batch: int, to_mask: ToMask
    ) -> None:
        check_counts(masks_per_batch=masks_per_batch)
        check_arguments(to_mask)
        captum_attr()
        self.patch = check_patch("patch", patch)
        self.masks_per_batch = masks_per_batch
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        return torch.cat([self._attribute(clip) for clip in inputs.clips()])

    def _attribute(self, clip: AttributionInputs) -> torch.Tensor:
        mask = full_mask(clip)
        sizes = zip(self.patch, mask.shape[1:], strict=True)
        patch = tuple(min(pair) for pair in sizes)
        maps = (
            captum_attr()
            .Occlusion(logits_of_masks(clip))
            .attribute(
                mask,
                sliding_window_shapes=patch,
                strides=tuple(-(-size // 2) for size in patch),
                baselines=0.0,
                target=clip.target,
                perturbations_per_eval=self.masks_per_batch,
            )
        )
        return at_frequencies(clip, maps)


class Lime:
    """A linear model of the target's logit as a function of the patches that are kept.

    a = w of the patch, with S_c(x with the patches kept where z = 1) ~ w . z + b, over
    z of fair coins, weighted by exp(-D^2 / (2 0.25^2)), D the cosine distance of the
    masks, and with ridge 1   (Ribeiro, Singh and Guestrin 2016, arXiv 1602.04938, with
    the settings of its authors' code for images), by captum. The patches are a grid.

    Arguments
    ---------
    patch : tuple
        Frames and mel bands.
    n_samples : int
        Masked copies of a clip.
    masks_per_batch : int
        Copies that go through the classifier at once: a bound on memory.
    seed : int
        The draws depend on it and on the clip's samples.
    to_mask : callable
        See `Occlusion`.
    """

    def __init__(
        self,
        patch: Sequence[int],
        n_samples: int,
        masks_per_batch: int,
        seed: int,
        to_mask: ToMask,
    ) -> None:
        check_counts(n_samples=n_samples, masks_per_batch=masks_per_batch)
        check_arguments(to_mask)
        captum_attr()
        self.patch = check_patch("patch", patch)
        self.n_samples = n_samples
        self.masks_per_batch = masks_per_batch
        self.seed = seed
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        return torch.cat([self._attribute(clip) for clip in inputs.clips()])

    def _attribute(self, clip: AttributionInputs) -> torch.Tensor:
        lime = captum_attr().Lime(
            logits_of_masks(clip),
            interpretable_model=Ridge(),
            similarity_func=cosine_kernel,
        )
        mask = full_mask(clip)
        seed = seed_of("LIME", self.seed, clip_key(clip.wav[0]))
        with global_generators(seed, mask.device), torch.no_grad():
            maps = lime.attribute(
                mask,
                baselines=0.0,
                target=clip.target,
                feature_mask=patches(mask.shape[1:], self.patch).to(mask.device)[None],
                n_samples=self.n_samples,
                perturbations_per_eval=self.masks_per_batch,
            )
        return at_frequencies(clip, maps)


def cosine_kernel(
    original: torch.Tensor, masked: torch.Tensor, kept: torch.Tensor, **options: object
) -> torch.Tensor:
    """Return the weight of a masked copy, exp(-D^2 / (2 KERNEL_WIDTH^2)), a scalar.

    Arguments
    ---------
    original, masked : torch.Tensor
        Shape (1, T, n_mels); D is the cosine distance of the two.
    kept : torch.Tensor
        The coins (1, K), not used.
    **options : object
        Further arguments of captum, not used.

    Returns
    -------
    weight : torch.Tensor
        Shape (1,), in 0..1.
    """
    distance = 1 - F.cosine_similarity(original.flatten(1), masked.flatten(1))
    return (-distance.square() / (2 * KERNEL_WIDTH**2)).exp()


def patches(size: Sequence[int], patch: tuple[int, int]) -> torch.Tensor:
    """Return the number of the patch of each cell, (T, n_mels) int64, from 0.

    Example
    -------
    >>> patches((3, 4), (2, 3))
    tensor([[0, 0, 0, 1],
            [0, 0, 0, 1],
            [2, 2, 2, 3]])
    """
    rows, columns = (
        torch.arange(n) // step for n, step in zip(size, patch, strict=True)
    )
    return rows[:, None] * (columns[-1] + 1) + columns


class Ridge:
    """Weighted ridge regression with an intercept, a model for captum's `Lime`.

    Minimises sum_i s_i (w . z_i + b - y_i)^2 + |w|^2.
    """

    def __init__(self) -> None:
        self._weights = torch.empty(0)

    def fit(self, batches: Iterable[Sequence[torch.Tensor]]) -> None:
        """Fit batches of inputs (n, K), outputs (n,) and sample weights (n,).

        Example
        -------
        Inputs -1 and 1 and outputs 0 and 4: 2 * 4 / (2 + 1) in place of the slope 2.

        >>> ridge = Ridge()
        >>> ridge.fit(
        ...     [
        ...         (
        ...             torch.tensor([[-1.0], [1.0]]),
        ...             torch.tensor([0.0, 4.0]),
        ...             torch.ones(2),
        ...         )
        ...     ]
        ... )
        >>> ridge.representation()
        tensor([[1.3333]])
        """
        columns = zip(*batches, strict=True)
        inputs, outputs, weights = (torch.cat(column).double() for column in columns)
        shares = weights / weights.sum()
        inputs = inputs - shares @ inputs
        outputs = outputs - shares @ outputs
        weighted = inputs.T * weights
        penalty = torch.eye(inputs.shape[1], device=inputs.device, dtype=inputs.dtype)
        solution = torch.linalg.solve(weighted @ inputs + penalty, weighted @ outputs)
        self._weights = solution.float()[None]

    def representation(self) -> torch.Tensor:
        """Return the weights w, (1, K)."""
        return self._weights


class Rise:
    """The probability of the target under random smooth masks, correlated with them.

    a = mean_i (p_i - mean p) M_i / share, p_i the probability of the target for x times
    the mask M_i: a grid of coins, interpolated bilinearly, with a random shift
    (Petsiuk, Das and Saenko 2018, arXiv 1806.07421). There p is not centred; here it
    is, so that a cell without an effect has 0 and not the mean probability.

    Arguments
    ---------
    patch : tuple
        Frames and mel bands from one coin to the next.
    n_samples : int
        Masks.
    share : float
        Probability that a coin keeps its place, above 0 and below 1.
    masks_per_batch : int
        Masked clips that go through the classifier at once: a bound on memory. The
        draws do not depend on it.
    seed : int
        The draws depend on it and on the clip's samples.
    to_mask : callable
        See `Occlusion`.
    """

    def __init__(
        self,
        patch: Sequence[int],
        n_samples: int,
        share: float,
        masks_per_batch: int,
        seed: int,
        to_mask: ToMask,
    ) -> None:
        check_counts(n_samples=n_samples, masks_per_batch=masks_per_batch)
        check_numbers(0.01, 0.99, share=share)
        check_arguments(to_mask)
        self.patch = check_patch("patch", patch)
        self.n_samples = n_samples
        self.share = share
        self.masks_per_batch = masks_per_batch
        self.seed = seed
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        with torch.no_grad():
            return torch.cat([self._attribute(clip) for clip in inputs.clips()])

    def _attribute(self, clip: AttributionInputs) -> torch.Tensor:
        whole, logits = full_mask(clip), logits_of_masks(clip)
        size = whole.shape[1:]
        draw = generator("RISE", self.seed, clip_key(clip.wav[0]))
        coins = draw_coins(self.n_samples, size, self.patch, self.share, draw)
        # Sums of p M and of M, of all masks: the mean of p is known at their end.
        weighted, total = (torch.zeros_like(whole[0]).double() for _ in range(2))
        sum_of_p = 0.0
        for part in range(0, self.n_samples, self.masks_per_batch):
            few = [values[part : part + self.masks_per_batch] for values in coins]
            masks = smooth_masks(few, size, self.patch).to(whole)
            p = logits(masks).softmax(1)[:, clip.target[0]].double()
            weighted += torch.tensordot(p, masks.double(), 1)
            total += masks.double().sum(0)
            sum_of_p += p.sum().item()
        centred = weighted - sum_of_p / self.n_samples * total
        return at_frequencies(clip, centred[None] / (self.n_samples * self.share))


def draw_coins(
    n_masks: int,
    size: Sequence[int],
    patch: tuple[int, int],
    share: float,
    draw: torch.Generator,
) -> list[torch.Tensor]:
    """Draw the grids of RISE's masks, and their shifts.

    Arguments
    ---------
    n_masks : int
    size : tuple
        (T, n_mels) of a mask.
    patch : tuple
        Frames and bands from one coin to the next.
    share : float
        Probability of a 1, 0 to 1.
    draw : torch.Generator

    Returns
    -------
    coins : list of torch.Tensor
        Grids (n_masks, rows, columns) of 0 and 1; shifts in frames, (n_masks,) int64,
        and in bands.
    """
    rows, columns = (-(-n // step) + 1 for n, step in zip(size, patch, strict=True))
    grids = torch.rand(n_masks, rows, columns, generator=draw) < share
    shifts = [torch.randint(step, (n_masks,), generator=draw) for step in patch]
    return [grids.float(), *shifts]


def smooth_masks(
    coins: Sequence[torch.Tensor], size: Sequence[int], patch: tuple[int, int]
) -> torch.Tensor:
    """Return the masks of RISE, bilinear between the coins and shifted.

    Arguments
    ---------
    coins : list of torch.Tensor
        From `draw_coins`.
    size : tuple
        (T, n_mels) of a mask.
    patch : tuple
        Frames and bands from one coin to the next.

    Returns
    -------
    masks : torch.Tensor
        Shape (n_masks, T, n_mels), in 0..1.
    """
    grids, *shifts = coins
    enlarged = [n * step for n, step in zip(grids.shape[1:], patch, strict=True)]
    smooth = F.interpolate(
        grids[:, None], size=enlarged, mode="bilinear", align_corners=False
    )[:, 0]
    places = zip(smooth, *(shift.tolist() for shift in shifts), strict=True)
    return torch.stack(
        [mask[t : t + size[0], f : f + size[1]] for mask, t, f in places]
    )
