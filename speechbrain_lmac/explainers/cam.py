"""Class activation maps: evidence for a class in a hidden map of the classifier.

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
from speechbrain_lmac.types import CamBlocks, Classifier
from speechbrain_lmac.utils.errors import InputError, check_arguments, check_counts


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


def layer_of(
    classifier: Classifier, number: int | None
) -> tuple[torch.nn.Module, tuple[float, float]]:
    """Return the layer of the maps, with frames and bands per step of its output.

    Arguments
    ---------
    classifier : Classifier
    number : int or None
        Number of a block in `classifier.cam_blocks`, from 1, the shallowest. None:
        `cam_layer`.

    Returns
    -------
    layer : torch.nn.Module
        Its output has the shape (B, K, T', F').
    stride : tuple
        Frames and bands.

    Raises
    ------
    InputError
        When the classifier does not have this block.
    """
    if number is None:
        return classifier.cam_layer, classifier.cam_stride
    blocks: CamBlocks = getattr(classifier, "cam_blocks", None) or ()
    if not 1 <= number <= len(blocks):
        raise InputError(
            f"layer must be one of the {len(blocks)} `cam_blocks` of the classifier "
            f"({type(classifier).__name__}), from 1, got {number!r}"
        )
    return blocks[number - 1]


def at_cells(
    maps: torch.Tensor, inputs: AttributionInputs, stride: tuple[float, float]
) -> torch.Tensor:
    """Resample maps to the cells of the representation.

    Arguments
    ---------
    maps : torch.Tensor
        Shape (B, T', F').
    inputs : AttributionInputs
        Inputs of B clips.
    stride : tuple
        Frames and bands of a step.

    Returns
    -------
    maps : torch.Tensor
        Shape (B, T, F).
    """
    size = (inputs.encoded.rep.shape[1], inputs.domain.n_mels)
    bands = upsample(maps, stride, size)
    return inputs.domain.from_bands(bands)


def grad_cam(inputs: AttributionInputs, number: int | None = None) -> torch.Tensor:
    """Return Grad-CAM at the cells of the representation, (B, T, F), >= 0."""
    layer, stride = layer_of(inputs.classifier, number)
    cam = captum_attr().LayerGradCam(inputs.logits, layer)
    maps = cam.attribute(inputs.rep, inputs.target, relu_attributions=True)
    return at_cells(maps[:, 0], inputs, stride)


def maps_and_gradient(
    inputs: AttributionInputs, layer: torch.nn.Module
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's output and the gradient of the target's logit there.

    Arguments
    ---------
    inputs : AttributionInputs
        Inputs of B clips.
    layer : torch.nn.Module
        Layer of the classifier.

    Returns
    -------
    maps, gradient : torch.Tensor
        Shape (B, K, T', F').
    """
    outputs: list[torch.Tensor] = []
    hook = layer.register_forward_hook(
        lambda module, args, output: outputs.append(output)
    )
    try:
        logits = inputs.logits(inputs.rep)
    finally:
        hook.remove()
    (maps,) = outputs
    score = logits.gather(1, inputs.target[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, maps)
    return maps.detach(), gradient


class ClassActivationMap:
    """A map of the classifier's last block, or of another one.

    Arguments
    ---------
    to_mask : callable
        Attribution (B, T, F) to mask, from `speechbrain_lmac.explainers.to_mask`.
    layer : int, optional
        Block of the classifier, from 1, the shallowest (`layer_of`). Default: its
        `cam_layer`, the last block.
    """

    # Of the class: an instance without a choice has the attributes, and with them the
    # fingerprint, that it had before there was a choice.
    layer: int | None = None

    def __init__(self, to_mask: ToMask, layer: int | None = None) -> None:
        check_arguments(to_mask)
        self.to_mask = to_mask
        if layer is not None:
            check_counts(layer=layer)
            self.layer = layer


class GradCAM(ClassActivationMap):
    """Channels of the last map weighted by their mean gradient, where positive.

    a = ReLU(sum_k w_k A_k), w_k = mean_ij d S_c / d A_k,ij   (Selvaraju et al. 2017,
    arXiv 1610.02391), with A the output of `classifier.cam_layer`; upsampled
    bilinearly. For the axes see the module docstring.

    Arguments
    ---------
    to_mask : callable
        Attribution (B, T, F) to mask, from `speechbrain_lmac.explainers.to_mask`.
    layer : int, optional
        Block of the classifier, from 1, the shallowest (`layer_of`). Default: its
        `cam_layer`, the last block.
    """

    def __init__(self, to_mask: ToMask, layer: int | None = None) -> None:
        super().__init__(to_mask, layer)
        captum_attr()

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) >= 0."""
        return grad_cam(inputs, self.layer)


class GradCAMPlusPlus(ClassActivationMap):
    """Grad-CAM with weights of the cells in which a channel is evidence for the class.

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
    to_mask, layer
        As `GradCAM`; attributions have the shape (B, T, F).
    """

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) >= 0."""
        layer, stride = layer_of(inputs.classifier, self.layer)
        maps, gradient = maps_and_gradient(inputs, layer)
        return at_cells(plus_plus(maps, gradient), inputs, stride)


class LayerCAM(ClassActivationMap):
    """Each place of each channel weighted by its own gradient, where positive.

    a = ReLU(sum_k ReLU(g_k) A_k), g_k = d S_c / d A_k, place by place   (Jiang et al.
    2021, "LayerCAM: Exploring hierarchical class activation maps for localization",
    IEEE Transactions on Image Processing 30). Unlike Grad-CAM's, its maps of shallow
    blocks, which are finer, can be used.

    Arguments
    ---------
    to_mask, layer
        As `GradCAM`; attributions have the shape (B, T, F).
    """

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) >= 0."""
        layer, stride = layer_of(inputs.classifier, self.layer)
        maps, gradient = maps_and_gradient(inputs, layer)
        return at_cells(layer_cam(maps, gradient), inputs, stride)


def layer_cam(maps: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return LayerCAM maps (B, T', F') of activations and gradients (B, K, T', F').

    Example
    -------
    The second place has no positive gradient; in the third one the second channel,
    -1 * 3, outweighs the first.

    >>> maps = torch.tensor([[[[1.0, 3.0, 2.0]], [[5.0, 1.0, -1.0]]]])
    >>> gradient = torch.tensor([[[[0.5, -1.0, 1.0]], [[0.1, 0.0, 3.0]]]])
    >>> layer_cam(maps, gradient)
    tensor([[[1., 0., 0.]]])
    """
    return (gradient.clamp(min=0) * maps).sum(1).clamp(min=0)


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
