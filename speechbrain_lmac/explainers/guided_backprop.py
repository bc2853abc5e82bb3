"""Guided backpropagation on any classifier of ReLUs, as it is.

captum's hooks see `nn.ReLU` modules only: on a network with functional ReLUs, CNN14
for example, they change nothing and the plain gradient comes out. Here every call of
a ReLU is caught while the classifier runs, whatever it was called by.
"""

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from speechbrain_lmac.explainers.cam import grad_cam
from speechbrain_lmac.explainers.gradients import captum_attr
from speechbrain_lmac.utils.errors import InputError, check_arguments

IN_PLACE = {torch.relu_, torch.Tensor.relu_}
AS_CALLED = {torch.relu, torch.Tensor.relu, F.relu}  # F.relu has `inplace`
# What else an activation may be. Through these the gradient would pass unguided, and
# a network of them with a ReLU or two would get a map that is hardly guided. nn.GELU
# and its kind call these functions. Softmax is no activation of a layer.
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
    def forward(ctx, x: torch.Tensor, in_place: bool) -> torch.Tensor:
        ctx.save_for_backward(x > 0)
        if in_place:
            ctx.mark_dirty(x)
            return x.relu_()
        return x.relu()

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (positive,) = ctx.saved_tensors
        return gradient.clamp(min=0) * positive, None


class GuidedReLUs(TorchFunctionMode):
    """While it is entered, ReLUs are guided and other activations are noted.

    A ReLU that is written as ``clamp(min=0)`` or ``maximum`` is not seen.

    Attributes
    ----------
    n_relus : int
        Calls that were caught.
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

    def __init__(self):
        super().__init__()
        self.n_relus = 0
        self.others = set()

    def __torch_function__(
        self, function, types: tuple, args: tuple = (), kwargs: dict | None = None
    ):
        kwargs = kwargs or {}
        if function in AS_CALLED:
            return self._relu(*args, **kwargs)
        if function in IN_PLACE:
            return self._relu(*args, **kwargs, inplace=True)
        if function in UNGUIDED:
            self.others.add(function.__name__.strip("_"))
        return function(*args, **kwargs)

    def _relu(self, input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
        self.n_relus += 1
        return _GuidedReLU.apply(input, inplace)


def guided_gradient(question) -> torch.Tensor:
    """The guided gradient (B, T, F) of a `Question`.

    Raises
    ------
    InputError
        When the classifier called no ReLU, or called another activation.
    """
    rep = question.rep
    with GuidedReLUs() as relus:
        logits = question.logits(rep)
    found = ", ".join(sorted(relus.others))
    if relus.others or relus.n_relus == 0:
        raise InputError(
            "guided backpropagation is defined for networks whose activations are "
            f"ReLUs; this classifier called {relus.n_relus} ReLUs and "
            f"{found or 'no other activation that is known'}. Leave Guided Backprop "
            "and Guided GradCAM out"
        )
    score = logits.gather(1, question.target[:, None]).sum()
    return torch.autograd.grad(score, rep)[0]


class GuidedBackprop:
    """The gradient that meets no negative gradient and no silent ReLU on its way.

    Springenberg et al. 2015, arXiv 1412.6806: at every ReLU the gradient passes where
    the input and the gradient itself are positive. It is refused where that means
    little: without a ReLU, or with GELU, SiLU, tanh and the like.

    Arguments
    ---------
    to_mask : callable
        Attribution (B, T, F) to mask, from `speechbrain_lmac.explainers.to_mask`.
    """

    def __init__(self, to_mask):
        check_arguments(to_mask)
        self.to_mask = to_mask

    def attribute(self, question) -> torch.Tensor:
        """Attribution (B, T, F) of a `Question`."""
        return guided_gradient(question)


class GuidedGradCAM:
    """The guided gradient times the upsampled Grad-CAM, cell by cell.

    Selvaraju et al. 2017, arXiv 1610.02391: fine as the one, for a class as the other.

    Arguments
    ---------
    to_mask : callable
        See `GuidedBackprop`.
    """

    def __init__(self, to_mask):
        check_arguments(to_mask)
        captum_attr()
        self.to_mask = to_mask

    def attribute(self, question) -> torch.Tensor:
        """Attribution (B, T, F) of a `Question`."""
        return guided_gradient(question) * grad_cam(question)
