"""Class activation maps: which steps of the classifier's last map speak for a class.

The maps are coarse. They lie on the classifier's own axes, time by mel bands, and are
brought to the representation without being stretched: step i of the map keeps its
place in time, step j its mel bands, which are then read at the frequencies of rep
(`domain.from_bands`). At the edges, which the classifier's pooling leaves out, the last
step is repeated; where it padded a short clip, the map is cropped.
"""

import torch
import torch.nn.functional as F

from speechbrain_lmac.dsp.pad_crop import fit_map
from speechbrain_lmac.explainers.gradients import captum_attr
from speechbrain_lmac.utils.errors import check_arguments


def upsample(maps: torch.Tensor, stride: tuple, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear interpolation between the centres of the steps.

    Step i stands for the inputs i * stride to (i + 1) * stride - 1; its value holds in
    their middle.

    Arguments
    ---------
    maps : torch.Tensor
        Shape (B, T', F').
    stride : tuple
        Frames and bands of a step, whole numbers or not.
    size : tuple
        (T, n_mels) of the answer.

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


def at_cells(maps: torch.Tensor, question) -> torch.Tensor:
    """Maps (B, T', F') of `cam_layer` at the cells of the representation, (B, T, F)."""
    stride = question.classifier.cam_stride
    size = (question.encoded.rep.shape[1], question.domain.n_mels)
    bands = upsample(maps, stride, size)
    return question.domain.from_bands(bands)


def grad_cam(question) -> torch.Tensor:
    """Grad-CAM at the cells of the representation, (B, T, F), not negative."""
    layer = question.classifier.cam_layer
    cam = captum_attr().LayerGradCam(question.logits, layer)
    maps = cam.attribute(question.rep, question.target, relu_attributions=True)
    return at_cells(maps[:, 0], question)


class GradCAM:
    """Channels of the last map weighted by their mean gradient, where positive.

    a = ReLU(sum_k w_k A_k), w_k = mean_ij d S_c / d A_k,ij   (Selvaraju et al. 2017,
    arXiv 1610.02391), A the output of `classifier.cam_layer`; upsampled bilinearly.
    See the module's text for what the map says about time and frequency.

    Arguments
    ---------
    to_mask : callable
        Attribution (B, T, F) to mask, from `speechbrain_lmac.explainers.to_mask`.
    """

    def __init__(self, to_mask):
        check_arguments(to_mask)
        captum_attr()
        self.to_mask = to_mask

    def attribute(self, question) -> torch.Tensor:
        """Attribution (B, T, F), not negative, of a `Question`."""
        return grad_cam(question)


class GradCAMPlusPlus:
    """Grad-CAM whose weights count the places where a channel speaks for the class.

    a = ReLU(sum_k w_k A_k) with, g = d S_c / d A_k,ij,

        w_k = sum_ij alpha_k,ij ReLU(g_k,ij)
        alpha_k,ij = g^2 / (2 g^2 + g^3 sum_ab A_k,ab)

    (Chattopadhay et al. 2018, arXiv 1710.11063). It is their closed form, for the
    score Y = exp(S_c) and a network that is linear around its input: the n-th
    derivative of Y is then exp(S_c) g^n. The factor exp(S_c) cancels in alpha; the one
    that it leaves in w_k is the same for the whole map of a clip, which `to_mask`
    divides by, and is left out. alpha is 0 where its denominator is.

    Arguments
    ---------
    to_mask : callable
        See `GradCAM`.
    """

    def __init__(self, to_mask):
        check_arguments(to_mask)
        self.to_mask = to_mask

    def attribute(self, question) -> torch.Tensor:
        """Attribution (B, T, F), not negative, of a `Question`."""
        kept = []
        hook = question.classifier.cam_layer.register_forward_hook(
            lambda module, inputs, output: kept.append(output)
        )
        try:
            logits = question.logits(question.rep)
        finally:
            hook.remove()
        (maps,) = kept
        score = logits.gather(1, question.target[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, maps)
        return at_cells(plus_plus(maps.detach(), gradient), question)


def plus_plus(maps: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Grad-CAM++ maps (B, T', F') of activations and gradients (B, K, T', F').

    Example
    -------
    A channel of sum 4 with the gradient 0.5 in each of two places: alpha = 1 / (2 + 0.5
    * 4) = 0.25, so that w = 2 * 0.25 * 0.5 = 0.25.

    >>> maps = torch.tensor([[[[1.0], [3.0]]]])
    >>> plus_plus(maps, torch.full_like(maps, 0.5)).flatten()
    tensor([0.2500, 0.7500])
    """
    # g^2 cancels; where g is 0, the weight is 0 whatever alpha is.
    denominator = 2 + gradient * maps.sum((2, 3), keepdim=True)
    alpha = 1 / denominator.masked_fill(denominator == 0, torch.inf)
    weights = (alpha * gradient.clamp(min=0)).sum((2, 3), keepdim=True)
    return (weights * maps).sum(1).clamp(min=0)
