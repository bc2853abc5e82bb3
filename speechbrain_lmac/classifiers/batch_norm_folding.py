"""Folding of batch norms into the convolutions before them."""

from functools import partial

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from speechbrain_lmac.types import ClassifierOutput

CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d)


@torch.no_grad()
def fold_batch_norms(classifier: torch.nn.Module, features: torch.Tensor) -> None:
    """Fold batch norms into convolutions, in place.

    In eval mode a batch norm multiplies and adds constants, which can be merged into
    the weights of the convolution before it (`torch.nn.utils.fusion`). When gradients
    flow through the classifier, that saves a third of the backward pass and half of the
    memory, as the convolution's output is not stored. The logits differ by rounding.

    Pairs of a convolution and its batch norm are found by one forward pass. If the
    output of either is a hidden map or used twice, folding would change the outputs;
    the model is then left unchanged. It is not copied, which would double the memory.

    Arguments
    ---------
    classifier : torch.nn.Module
        Maps features to `ClassifierOutput`; in eval mode, on the device of the
        features. Its submodules and `state_dict` are changed.
    features : torch.Tensor
        Any valid input: features (B, T, n_mels) or waveforms (B, N).
    """
    before = classifier(features)
    replaced: dict[str, torch.nn.Module] = {}
    for names in _pairs(classifier, features):
        convolution, norm = map(classifier.get_submodule, names)
        assert isinstance(convolution, CONVOLUTIONS) and isinstance(norm, _BatchNorm)
        replaced.update(zip(names, (convolution, norm), strict=True))
        fused = fuse_conv_bn_eval(convolution, norm)
        classifier.set_submodule(names[0], fused.requires_grad_(False))
        classifier.set_submodule(names[1], torch.nn.Identity().eval())
    if not _outputs_equal(before, classifier(features)):
        for name, module in replaced.items():
            classifier.set_submodule(name, module)


def _pairs(
    classifier: torch.nn.Module, features: torch.Tensor
) -> list[tuple[str, str]]:
    """Return pairs of names: a convolution and the batch norm of its output.

    Only modules that are called once in a forward pass.
    """
    outputs: dict[int, tuple[str, torch.Tensor]] = {}
    pairs: list[tuple[str, str]] = []
    called: list[str] = []

    def record(
        name: str,
        module: torch.nn.Module,
        inputs: tuple[torch.Tensor, ...],
        output: torch.Tensor,
    ) -> None:
        called.append(name)
        if isinstance(module, CONVOLUTIONS):
            outputs[id(output)] = (name, output)  # kept, so that its id stays unique
        elif id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], name))

    hooks = [
        module.register_forward_hook(partial(record, name))
        for name, module in classifier.named_modules()
        if isinstance(module, (*CONVOLUTIONS, _BatchNorm))
    ]
    try:
        classifier(features)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(called.count(name) == 1 for name in pair)]


def _outputs_equal(one: ClassifierOutput, other: ClassifierOutput) -> bool:
    """Return whether logits and hidden maps are equal up to rounding."""
    return all(
        a.shape == b.shape
        and torch.allclose(a, b, rtol=1e-3, atol=1e-4 * a.abs().max().item())
        for a, b in zip(
            (one.logits, *one.hidden), (other.logits, *other.hidden), strict=True
        )
    )
