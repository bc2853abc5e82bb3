"""Gradient-based attribution methods of captum.

captum is installed by the extra `baselines`, and imported only when a method is built.
It draws random numbers for a whole batch from the global generators; here it is called
for one clip at a time, with generators seeded per clip, so no result depends on the
batch. The sample points of a clip pass through the classifier in batches.
"""

from types import ModuleType

import torch

from speechbrain_lmac.explainers.attribution import AttributionInputs
from speechbrain_lmac.explainers.to_mask import ToMask
from speechbrain_lmac.utils.errors import InputError, check_arguments, check_counts
from speechbrain_lmac.utils.seeding import clip_key, global_generators, seed_of


def captum_attr() -> ModuleType:
    """Import and return `captum.attr`.

    Raises
    ------
    InputError
        When captum is not installed.
    """
    try:
        import captum.attr
    except ImportError as error:
        raise InputError(
            "this method requires captum, which is not installed: "
            "pip install 'speechbrain_lmac[baselines]'"
        ) from error
    return captum.attr


class Saliency:
    """The gradient of the target's logit with respect to the representation.

    a = d S_c / d x   (Simonyan et al. 2014, arXiv 1312.6034), with its sign; `to_mask`
    takes the absolute value.

    Arguments
    ---------
    to_mask : callable
        Maps attributions (B, T, F) to masks, see `speechbrain_lmac.explainers.to_mask`.
    """

    def __init__(self, to_mask: ToMask) -> None:
        check_arguments(to_mask)
        captum_attr()
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign, all clips in one pass."""
        saliency = captum_attr().Saliency(inputs.logits)
        return saliency.attribute(inputs.rep, inputs.target, abs=False)


class SmoothGrad:
    """SmoothGrad: the mean gradient over noisy copies of the representation.

    a = mean_i d S_c / d x at x + n_i, n_i ~ N(0, sigma^2)   (Smilkov et al. 2017, arXiv
    1706.03825). As in that paper, signed gradients are averaged. The domain treats
    values below 0 as silence.

    Arguments
    ---------
    n_samples : int
        Number of noisy copies of a clip.
    noise : float
        sigma relative to the range, max - min, of the clip's representation.
    samples_per_batch : int
        Number of copies classified at once, which bounds memory. The random draws are
        made per batch and depend on it.
    seed : int
        Seed of the draws, which also depend on the clip's samples.
    to_mask : callable
        See `Saliency`.
    """

    def __init__(
        self,
        n_samples: int,
        noise: float,
        samples_per_batch: int,
        seed: int,
        to_mask: ToMask,
    ) -> None:
        check_counts(n_samples=n_samples, samples_per_batch=samples_per_batch)
        check_arguments(to_mask)
        captum_attr()
        if not noise >= 0:
            raise InputError(f"noise must be at least 0, got {noise}")
        self.n_samples = n_samples
        self.noise = noise
        self.samples_per_batch = samples_per_batch
        self.seed = seed
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        return torch.cat([self._attribute(clip) for clip in inputs.clips()])

    def _attribute(self, clip: AttributionInputs) -> torch.Tensor:
        captum = captum_attr()
        tunnel = captum.NoiseTunnel(captum.Saliency(clip.logits))
        rep = clip.rep
        spread = (rep.max() - rep.min()).item()
        seed = seed_of("SmoothGrad", self.seed, clip_key(clip.wav))
        with global_generators(seed, rep.device):
            return tunnel.attribute(
                rep,
                nt_samples=self.n_samples,
                nt_samples_batch_size=self.samples_per_batch,
                stdevs=self.noise * spread,
                target=clip.target,
                abs=False,
            )


class IntegratedGradients:
    """Integrated gradients, along the straight line from silence.

    a = x * mean over alpha in 0..1 of d S_c / d x at alpha x   (Sundararajan et al.
    2017, arXiv 1703.01365), by Gauss-Legendre quadrature; the baseline is rep = 0.
    The sum over all cells approximates S_c(x) - S_c(silence).

    Arguments
    ---------
    n_steps : int
        Number of points on the line.
    internal_batch_size : int
        Number of points classified at once, which bounds memory for any number of
        clips.
    to_mask : callable
        See `Saliency`.
    """

    def __init__(self, n_steps: int, internal_batch_size: int, to_mask: ToMask) -> None:
        check_counts(n_steps=n_steps, internal_batch_size=internal_batch_size)
        check_arguments(to_mask)
        captum_attr()
        self.n_steps = n_steps
        self.internal_batch_size = internal_batch_size
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        return torch.cat([self._attribute(clip) for clip in inputs.clips()])

    def _attribute(self, clip: AttributionInputs) -> torch.Tensor:
        integrated = captum_attr().IntegratedGradients(clip.logits)
        return integrated.attribute(
            clip.rep,
            baselines=0.0,
            target=clip.target,
            n_steps=self.n_steps,
            internal_batch_size=self.internal_batch_size,
        )


class GradientShap:
    """GradientSHAP: expected gradients at random points between background and clip.

    a = mean_i (x - b_i) * d S_c / d x at b_i + u_i (x - b_i), with b_i drawn from the
    background and u_i uniform in 0..1   (Lundberg and Lee 2017, arXiv 1705.07874, as
    captum approximates it). No noise is added to x.

    Arguments
    ---------
    n_samples : int
        Number of points, each with its own background clip.
    samples_per_batch : int
        Number of points classified at once, which bounds memory. The random draws are
        made per batch and depend on it.
    seed : int
        Seed of the draws, which also depend on the clip's samples.
    to_mask : callable
        See `Saliency`.
    """

    def __init__(
        self, n_samples: int, samples_per_batch: int, seed: int, to_mask: ToMask
    ) -> None:
        check_counts(n_samples=n_samples, samples_per_batch=samples_per_batch)
        check_arguments(to_mask)
        captum_attr()
        self.n_samples = n_samples
        self.samples_per_batch = samples_per_batch
        self.seed = seed
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        background = inputs.background_reps()
        attributions = [self._attribute(clip, background) for clip in inputs.clips()]
        return torch.cat(attributions)

    def _attribute(
        self, clip: AttributionInputs, background: torch.Tensor
    ) -> torch.Tensor:
        shap = captum_attr().GradientShap(clip.logits)
        rep = clip.rep
        total = torch.zeros_like(rep)
        seed = seed_of("GradientShap", self.seed, clip_key(clip.wav))
        with global_generators(seed, rep.device):
            for done in range(0, self.n_samples, self.samples_per_batch):
                n_samples = min(self.samples_per_batch, self.n_samples - done)
                mean = shap.attribute(
                    rep,
                    baselines=background,
                    n_samples=n_samples,
                    stdevs=0.0,
                    target=clip.target,
                )
                total = total + n_samples * mean.detach()
        return total / self.n_samples
