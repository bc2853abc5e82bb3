"""Class activation maps: evidence for a class in the classifier's last hidden map.

The maps are coarse, on the classifier's time and mel axes. They are resampled to the
representation without being stretched: step i of the map stays at its position in time,
step j at its mel bands, which are then mapped to the frequencies of rep
(`domain.from_bands`). The last step is repeated at edges that the classifier's pooling
drops; the map is cropped where the classifier padded a short clip.
"""

import torch
import torch.nn.functional as F

from speechbrain_lmac.dsp.pad_crop import fit_map
from speechbrain_lmac.explainers.attribution import AttributionInputs
from speechbrain_lmac.explainers.gradients import captum_attr
from speechbrain_lmac.explainers.to_mask import ToMask
from speechbrain_lmac.utils.errors import check_arguments


def upsample(
    maps: torch.Tensor, stride: tuple[float, float], size: tuple[int, int]
) -> torch.Tensor:
    """Interpolate maps bilinearly between the centres of their steps.

    Step i covers the inputs i * stride to (i + 1) * stride - 1; its value is taken at
    their centre.

    Arguments
    ---------
    maps : torch.Tensor
        Shape (B, T', F').
    stride : tuple
        Frames and bands per step, not necessarily integers.
    size : tuple
        (T, n_mels) of the result.

    Returns
    -------
    maps : torch.Tensor
        Shape (B, T, n_mels).

    Example
    -------
    Two steps of 4 frames have their centres between frames 1 and 2 and between
    frames 5 and 6, and a ninth frame is left over.

    >>> upsample(torch.tensor([[[0.0], [8.0]]]), (4, 1), (9, 1)).flatten()
    tensor([0., 0., 1., 3., 5., 7., 8., 8., 8.])
    """
    maps = F.interpolate(
        maps[:, None],
        size=(round(maps.shape[1] * stride[0]), round(maps.shape[2] * stride[1])),
        mode="bilinear",
        align_corners=False,
    )
    return fit_map(maps, size)[:, 0]


def at_cells(maps: torch.Tensor, inputs: AttributionInputs) -> torch.Tensor:
    """Resample maps (B, T', F') of `cam_layer` to the shape (B, T, F) of rep."""
    stride = inputs.classifier.cam_stride
    size = (inputs.encoded.rep.shape[1], inputs.domain.n_mels)
    bands = upsample(maps, stride, size)
    return inputs.domain.from_bands(bands)


def grad_cam(inputs: AttributionInputs) -> torch.Tensor:
    """Return Grad-CAM, resampled to the representation, (B, T, F), >= 0."""
    layer = inputs.classifier.cam_layer
    cam = captum_attr().LayerGradCam(inputs.logits, layer)
    maps = cam.attribute(inputs.rep, inputs.target, relu_attributions=True)
    return at_cells(maps[:, 0], inputs)


class GradCAM:
    """Grad-CAM: positive part of the channels weighted by their mean gradients.

    a = ReLU(sum_k w_k A_k), w_k = mean_ij d S_c / d A_k,ij   (Selvaraju et al. 2017,
    arXiv 1610.02391), with A the output of `classifier.cam_layer`; upsampled
    bilinearly. For the axes see the module docstring.

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
        """Return attributions (B, T, F) >= 0."""
        return grad_cam(inputs)


class GradCAMPlusPlus:
    """Grad-CAM++: channel weights from the cells with a positive gradient.

    a = ReLU(sum_k w_k A_k) with, g = d S_c / d A_k,ij,

        w_k = sum_ij alpha_k,ij ReLU(g_k,ij)
        alpha_k,ij = g^2 / (2 g^2 + g^3 sum_ab A_k,ab)

    (Chattopadhay et al. 2018, arXiv 1710.11063). This is their closed form, for the
    score Y = exp(S_c) and a network that is linear around its input: the n-th
    derivative of Y is then exp(S_c) g^n. The factor exp(S_c) cancels in alpha. In w_k
    it is constant over the map of a clip and omitted, as `to_mask` normalises the map.
    alpha is 0 where its denominator is 0.

    Arguments
    ---------
    to_mask : callable
        See `GradCAM`.
    """

    def __init__(self, to_mask: ToMask) -> None:
        check_arguments(to_mask)
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) >= 0."""
        outputs: list[torch.Tensor] = []
        hook = inputs.classifier.cam_layer.register_forward_hook(
            lambda module, args, output: outputs.append(output)
        )
        try:
            logits = inputs.logits(inputs.rep)
        finally:
            hook.remove()
        (maps,) = outputs
        score = logits.gather(1, inputs.target[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, maps)
        return at_cells(plus_plus(maps.detach(), gradient), inputs)


def plus_plus(maps: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return Grad-CAM++ maps (B, T', F') of activations and gradients (B, K, T', F').

    Example
    -------
    A channel of sum 4 with the gradient 0.5 in each of two places: alpha = 1 / (2 + 0.5
    * 4) = 0.25, so that w = 2 * 0.25 * 0.5 = 0.25.

    >>> maps = torch.tensor([[[[1.0], [3.0]]]])
    >>> plus_plus(maps, torch.full_like(maps, 0.5)).flatten()
    tensor([0.2500, 0.7500])
    """
    # g^2 cancels; where g is 0, the weight is 0 for any alpha.
    denominator = 2 + gradient * maps.sum((2, 3), keepdim=True)
    alpha = 1 / denominator.masked_fill(denominator == 0, torch.inf)
    weights = (alpha * gradient.clamp(min=0)).sum((2, 3), keepdim=True)
    return (weights * maps).sum(1).clamp(min=0)
