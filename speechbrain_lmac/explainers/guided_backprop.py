"""Guided backpropagation for any classifier with ReLU activations.

captum hooks `nn.ReLU` modules only: for networks with functional ReLUs, such as CNN14,
it returns the plain gradient. Here all ReLU calls in the classifier's forward pass are
intercepted, module or functional.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from speechbrain_lmac.explainers.attribution import AttributionInputs
from speechbrain_lmac.explainers.cam import GradCAM, grad_cam
from speechbrain_lmac.explainers.to_mask import ToMask
from speechbrain_lmac.utils.errors import InputError, check_arguments

RELUS_IN_PLACE = {torch.relu_, torch.Tensor.relu_}
RELUS = {torch.relu, torch.Tensor.relu, F.relu}  # F.relu has an argument `inplace`
# Other activation functions, also called by modules such as nn.GELU. The gradient
# passes through them unguided, so a network with mostly these is rejected even if it
# has a few ReLUs. Softmax does not count as an activation.
OTHER_ACTIVATIONS = {
    getattr(holder, name + suffix)
    for name in (
        *("celu", "elu", "gelu", "glu", "gru", "hardshrink", "hardsigmoid"),
        *("hardswish", "hardtanh", "leaky_relu", "logsigmoid", "lstm", "mish"),
        *("prelu", "relu6", "rnn_tanh", "rnn_relu", "rrelu", "selu", "sigmoid"),
        *("silu", "softplus", "softshrink", "softsign", "tanh", "tanhshrink"),
        *("threshold",),
    )
    for suffix in ("", "_")
    for holder in (torch, torch.Tensor, F)
    if hasattr(holder, name + suffix)
}


class _GuidedReLU(torch.autograd.Function):
    """ReLU whose gradient passes where both the input and the gradient are positive."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, in_place: bool) -> torch.Tensor:
        ctx.save_for_backward(x > 0)
        if in_place:
            ctx.mark_dirty(x)
            return x.relu_()
        return x.relu()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (positive,) = ctx.saved_tensors
        return gradient.clamp(min=0) * positive, None


class GuidedReLUs(TorchFunctionMode):
    """Context manager that guides ReLUs and records other activation functions.

    ReLUs written as ``clamp(min=0)`` or ``maximum`` are not recognised.

    Attributes
    ----------
    n_relus : int
        Number of ReLU calls.
    others : set
        Names of the other activation functions called.

    Example
    -------
    The gradient is 0 where it is negative (first) and where the input is (last).

    >>> x = torch.tensor([1.0, 2.0, -3.0], requires_grad=True)
    >>> with GuidedReLUs() as relus:
    ...     y = F.relu(x) @ torch.tensor([-5.0, 5.0, 5.0])
    >>> torch.autograd.grad(y, x)[0], relus.n_relus
    (tensor([0., 5., 0.]), 1)
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_relus = 0
        self.others: set[str] = set()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function in RELUS:
            return self._relu(*args, **kwargs)
        if function in RELUS_IN_PLACE:
            return self._relu(*args, **{**kwargs, "inplace": True})
        if function in OTHER_ACTIVATIONS:
            self.others.add(function.__name__.strip("_"))
        return function(*args, **kwargs)

    def _relu(self, input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
        self.n_relus += 1
        return _GuidedReLU.apply(input, inplace)


def guided_gradient(inputs: AttributionInputs) -> torch.Tensor:
    """Return the guided gradient (B, T, F).

    Raises
    ------
    InputError
        When the classifier calls no ReLU, or any other activation function.
    """
    rep = inputs.rep
    with GuidedReLUs() as relus:
        logits = inputs.logits(rep)
    found = ", ".join(sorted(relus.others))
    if relus.others or relus.n_relus == 0:
        raise InputError(
            "guided backpropagation requires ReLU activations only; this classifier "
            f"called {relus.n_relus} ReLUs and {found or 'no other known activation'}. "
            "Remove Guided Backprop and Guided GradCAM from the methods"
        )
    score = logits.gather(1, inputs.target[:, None]).sum()
    return torch.autograd.grad(score, rep)[0]


class GuidedBackprop:
    """Guided backpropagation.

    Springenberg et al. 2015, arXiv 1412.6806: at every ReLU the gradient passes only
    where both the input and the gradient are positive. `attribute` raises InputError
    for classifiers without ReLUs, or with other activations such as GELU or tanh.

    Arguments
    ---------
    to_mask : callable
        Maps attributions (B, T, F) to masks, see `speechbrain_lmac.explainers.to_mask`.
    """

    def __init__(self, to_mask: ToMask) -> None:
        check_arguments(to_mask)
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        return guided_gradient(inputs)


class GuidedGradCAM(GradCAM):
    """Guided Grad-CAM: guided gradient times upsampled Grad-CAM, elementwise.

    Selvaraju et al. 2017, arXiv 1610.02391: it combines the resolution of the guided
    gradient with the class specificity of Grad-CAM.

    Arguments
    ---------
    to_mask, layer
        As `GradCAM`; attributions have the shape (B, T, F).
    """

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        return guided_gradient(inputs) * grad_cam(inputs, self.layer)
