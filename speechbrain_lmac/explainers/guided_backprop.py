"""Guided backpropagation on any classifier of ReLUs.

captum's hooks act on `nn.ReLU` modules only: on a network with functional ReLUs, CNN14
for example, they change nothing and the result is the plain gradient. Here every call
of a ReLU is intercepted while the classifier runs, of modules and of functions.
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

IN_PLACE = {torch.relu_, torch.Tensor.relu_}
AS_CALLED = {torch.relu, torch.Tensor.relu, F.relu}  # F.relu has `inplace`
# Other activations. The gradient would pass through these unguided, and a network of
# them with a ReLU or two would get a map that is hardly guided. nn.GELU and similar
# modules call these functions. Softmax is not an activation of a layer.
UNGUIDED = {
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
    """A context in which ReLUs are guided and other activations are recorded.

    A ReLU that is written as ``clamp(min=0)`` or ``maximum`` is not recognised.

    Attributes
    ----------
    n_relus : int
        Number of ReLU calls.
    others : set
        Names of activations that are not ReLUs.

    Example
    -------
    The first gradient is negative, the last input is.

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
        if function in AS_CALLED:
            return self._relu(*args, **kwargs)
        if function in IN_PLACE:
            return self._relu(*args, **{**kwargs, "inplace": True})
        if function in UNGUIDED:
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
        When the classifier called no ReLU, or called another activation.
    """
    rep = inputs.rep
    with GuidedReLUs() as relus:
        logits = inputs.logits(rep)
    found = ", ".join(sorted(relus.others))
    if relus.others or relus.n_relus == 0:
        raise InputError(
            "guided backpropagation needs a network whose activations are ReLUs; this "
            f"classifier called {relus.n_relus} ReLUs and "
            f"{found or 'no other known activation'}. Leave Guided Backprop and Guided "
            "GradCAM out"
        )
    score = logits.gather(1, inputs.target[:, None]).sum()
    return torch.autograd.grad(score, rep)[0]


class GuidedBackprop:
    """The gradient, guided at every ReLU.

    Springenberg et al. 2015, arXiv 1412.6806: at every ReLU the gradient passes where
    the input and the gradient itself are positive. `attribute` raises InputError for a
    classifier without a ReLU, or with GELU, SiLU, tanh and the like.

    Arguments
    ---------
    to_mask : callable
        Attribution (B, T, F) to mask, from `speechbrain_lmac.explainers.to_mask`.
    """

    def __init__(self, to_mask: ToMask) -> None:
        check_arguments(to_mask)
        self.to_mask = to_mask

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        return guided_gradient(inputs)


class GuidedGradCAM(GradCAM):
    """The guided gradient times the upsampled Grad-CAM, cell by cell.

    Selvaraju et al. 2017, arXiv 1610.02391: as fine as the guided gradient, as specific
    to a class as Grad-CAM.

    Arguments
    ---------
    to_mask, layer
        As `GradCAM`; attributions have the shape (B, T, F).
    """

    def attribute(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""
        return guided_gradient(inputs) * grad_cam(inputs, self.layer)
