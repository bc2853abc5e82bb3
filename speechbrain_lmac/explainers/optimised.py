"""Masks that are optimised for each clip: the equal-size optimum, a wrong class.

They have the size (mean) of another explainer's masks and no more freedom than a smooth
grid, and show which faithfulness scores are possible at that size.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.domains.stft import recorded_samples
from speechbrain_lmac.dsp.pad_crop import join_recordings
from speechbrain_lmac.explainers.cam import upsample
from speechbrain_lmac.explainers.controls import (
    LEAST_MEAN,
    attached,
    bias_of_mean,
    mask_means,
    with_mask,
)
from speechbrain_lmac.explainers.perturbation import check_patch
from speechbrain_lmac.types import (
    Classifier,
    Encoded,
    Explainer,
    Explanation,
    MaskDomain,
)
from speechbrain_lmac.utils.errors import InputError, check_counts, check_numbers
from speechbrain_lmac.utils.seeding import clip_key, generator

# Newton steps for the bias of the masks.
STEPS_OF_BIAS = 4  # in each Adam step, from the previous bias
LAST_STEPS_OF_BIAS = 40  # for the final mask


# Masks (B, T, F) of the reference to the logits from which the optimisation starts.
Start = Callable[[torch.Tensor], torch.Tensor]


def mask_logits(mask: torch.Tensor) -> torch.Tensor:
    """Return the logits of a mask, both (B, T, F), in -13.8 to 13.8."""
    return torch.logit(mask.detach(), eps=LEAST_MEAN)


def flat(mask: torch.Tensor) -> torch.Tensor:
    """Return zeros of the shape of a mask, (B, T, F)."""
    return torch.zeros_like(mask)


class BestMask:
    """The mask that satisfies the papers' metrics best, at another explainer's size.

    M = sigmoid(start + offsets + bias): a grid of offsets for each clip, interpolated
    bilinearly between its cells and mapped from mel bands to the frequencies of rep;
    the bias of each clip is chosen such that M keeps the mean of the reference's mask
    of this clip. From offsets of 0, steps of Adam minimise

        CE(f(M * X), y) - log(1 - p_y((1 - M) * X)),

    where y is the class that the reference explains. A padded clip is optimised alone,
    without its padding.

    Arguments
    ---------
    domain : MaskDomain
        With `from_bands`.
    classifier : Classifier
        Frozen.
    reference : Explainer
        Its mask means are matched. If its mask has a NaN, the result is all NaN.
    cell : tuple
        Frames and mel bands of a cell of the grid: (8, 4) gives 54 x 20 cells for 5 s
        and 80 bands.
    steps : int
        Number of Adam steps.
    learning_rate : float
        Learning rate of Adam, in logits.
    start : callable
        Maps the reference's mask (B, T, F) to the initial logits: `mask_logits` starts
        from that mask, `flat` from a constant mask. The result is the mask after the
        last step, even if an earlier mask was better.
    equal_size : bool
        Keep the mean; otherwise the bias is 0, and the mask has any size.
    """

    def __init__(
        self,
        domain: MaskDomain,
        classifier: Classifier,
        reference: Explainer,
        cell: Sequence[int] = (8, 4),
        steps: int = 40,
        learning_rate: float = 0.5,
        start: Start = mask_logits,
        equal_size: bool = True,
    ) -> None:
        check_counts(steps=steps)
        check_numbers(0, learning_rate=learning_rate)
        self.domain = domain
        self.classifier = classifier
        self.reference = reference
        self.cell = check_patch("cell", cell)
        self.steps = steps
        self.learning_rate = learning_rate
        self.start = start
        self.equal_size = equal_size

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Return the reference's explanation with the optimised mask.

        Arguments and returns are those of `types.Explainer.explain`: waveforms (B, N),
        and a mask (B, T, F) in 0..1.
        """
        with torch.no_grad():
            explanation = self.reference.explain(wav, target, lens)
            means = mask_means(explanation)
        target = self.optimised_class(wav, explanation)
        encoded = explanation.encoded
        if encoded.lens is None:
            mask = self._optimised(encoded, explanation.mask, target, means)
        else:
            recorded = recorded_samples(encoded.lens, encoded.length).clamp(min=1)
            parts = [
                self._optimised(
                    self.domain.encode(wav[item : item + 1, :n]),
                    explanation.mask[item : item + 1],
                    target[item : item + 1],
                    means[item : item + 1],
                )
                for item, n in enumerate(recorded.tolist())
            ]
            mask = join_recordings(parts, encoded.rep.shape[1])
        return replace(with_mask(explanation, mask), target=target)

    def optimised_class(
        self, wav: torch.Tensor, explanation: Explanation
    ) -> torch.Tensor:
        """Return the class (B,) that is optimised for each clip (B, N)."""
        return explanation.target

    def _optimised(
        self,
        encoded: Encoded,
        mask: torch.Tensor,
        target: torch.Tensor,
        means: torch.Tensor,
    ) -> torch.Tensor:
        return optimised_masks(
            self.domain,
            self.classifier,
            encoded,
            self.start(mask[:, : encoded.rep.shape[1]]),
            target,
            means,
            self.cell,
            self.steps,
            self.learning_rate,
            self.equal_size,
        )


class WrongClassMask(BestMask):
    """The best mask of the reference's size for a wrong class.

    As `BestMask`, for a class that is drawn from all but the predicted (or the given)
    one, by the seed and the clip's samples; it is the `target` of the explanation. If
    such masks score as well as `BestMask`, a high score is no evidence that the class
    is in the clip.

    Arguments
    ---------
    domain, classifier, reference, cell, steps, learning_rate, start, equal_size
        As `BestMask`; masks have the shape (B, T, F).
    seed : int
        Seed of the draws of classes.
    """

    def __init__(
        self,
        domain: MaskDomain,
        classifier: Classifier,
        reference: Explainer,
        cell: Sequence[int] = (8, 4),
        steps: int = 40,
        learning_rate: float = 0.5,
        start: Start = flat,
        equal_size: bool = True,
        seed: int = 1234,
    ) -> None:
        parts = (domain, classifier, reference)
        super().__init__(*parts, cell, steps, learning_rate, start, equal_size)
        self.seed = seed

    def optimised_class(
        self, wav: torch.Tensor, explanation: Explanation
    ) -> torch.Tensor:
        """Return a class (B,) for each clip (B, N) that is not the explained one.

        Raises
        ------
        InputError
            When the classifier has fewer than two classes.
        """
        n_classes = explanation.logits.shape[1]
        if n_classes < 2:
            raise InputError(
                f"a wrong class needs a classifier of two classes or more, got "
                f"{n_classes}"
            )
        lens = explanation.encoded.lens
        recorded = [wav.shape[1]] * len(wav)
        if lens is not None:
            recorded = recorded_samples(lens, wav.shape[1]).tolist()
        drawn = []
        for clip, n in zip(wav, recorded, strict=True):
            draw = generator("wrong class", self.seed, clip_key(clip[:n]))
            drawn.append(torch.randint(n_classes - 1, (), generator=draw))
        numbers = torch.stack(drawn).to(explanation.target)
        return numbers + (numbers >= explanation.target)


def optimised_masks(
    domain: MaskDomain,
    classifier: Classifier,
    encoded: Encoded,
    start: torch.Tensor,
    target: torch.Tensor,
    means: torch.Tensor,
    cell: tuple[int, int] = (8, 4),
    steps: int = 40,
    learning_rate: float = 0.5,
    equal_size: bool = True,
) -> torch.Tensor:
    """Return the best masks of given means on a smooth grid, see `BestMask`.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
        Frozen.
    encoded : Encoded
        B clips without padding.
    start : torch.Tensor
        Logits (B, T, F) of the first mask, up to a bias.
    target : torch.Tensor
        Classes (B,).
    means : torch.Tensor
        Means of the masks (B,), 0 to 1, which are kept within 1e-6.
    cell : tuple
        Frames and mel bands of a cell of the grid.
    steps : int
        Number of Adam steps.
    learning_rate : float
        Learning rate of Adam, in logits.
    equal_size : bool
        Keep the means; otherwise only a NaN among them has an effect: a mask of NaN.

    Returns
    -------
    masks : torch.Tensor
        Shape (B, T, F), in 0..1.
    """
    size = (encoded.rep.shape[1], domain.n_mels)
    shape = (len(target), -(-size[0] // cell[0]), -(-size[1] // cell[1]))
    offsets = encoded.rep.new_zeros(shape, requires_grad=True)
    optimizer = torch.optim.Adam([offsets], lr=learning_rate)
    bias = torch.logit(means.to(encoded.rep), eps=LEAST_MEAN)
    if not equal_size:
        bias = torch.zeros_like(bias)

    with torch.enable_grad():
        for _ in range(steps):
            logits = start + domain.from_bands(upsample(offsets, cell, size))
            shift = bias[:, None, None]
            if equal_size:
                bias = bias_of_mean(logits.detach(), means, bias, STEPS_OF_BIAS)
                shift = attached(bias, logits, means)
            mask = torch.sigmoid(logits + shift)
            loss = size_free_objective(domain, classifier, encoded, mask, target)
            (offsets.grad,) = torch.autograd.grad(loss.sum(), offsets)
            optimizer.step()
    with torch.no_grad():
        logits = start + domain.from_bands(upsample(offsets, cell, size))
        if equal_size:
            bias = bias_of_mean(logits, means, bias, LAST_STEPS_OF_BIAS)
        mask = torch.sigmoid(logits + bias[:, None, None])
        return torch.where(means.isnan()[:, None, None], torch.nan, mask)


def size_free_objective(
    domain: MaskDomain,
    classifier: Classifier,
    encoded: Encoded,
    mask: torch.Tensor,
    target: torch.Tensor,
) -> torch.Tensor:
    """Return CE(f(M * X), y) - log(1 - p_y((1 - M) * X)) of each clip, (B,).

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    encoded : Encoded
        B clips.
    mask : torch.Tensor
        Shape (B, T, F), in 0..1.
    target : torch.Tensor
        Classes (B,).

    Returns
    -------
    objective : torch.Tensor
        Shape (B,), at least 0.
    """
    logits_in, logits_out = (
        classify(domain, classifier, domain.apply_mask(encoded, part)).logits
        for part in (mask, 1 - mask)
    )
    of_target = logits_out.gather(1, target[:, None])[:, 0]
    others = logits_out.scatter(1, target[:, None], -torch.inf).logsumexp(1)
    # -log(1 - p_y) = log(1 + exp(s_y - logsumexp of the others)).
    mask_in = F.cross_entropy(logits_in, target, reduction="none")
    return mask_in + F.softplus(of_target - others)
