"""A frozen classifier in fewer steps: batch norms that become part of convolutions."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d)


@torch.no_grad()
def fold_batch_norms(classifier, features: torch.Tensor) -> None:
    """Let a frozen classifier say the same with less work, for good.

    In eval mode a batch norm multiplies and adds constants, which the convolution
    before it can do at no cost (`torch.nn.utils.fusion`). In a training against the
    classifier that saves a third of its backward pass, and half of the memory: a
    convolution's answer need not be kept for the norm. The logits differ by rounding.

    Which norm hears which convolution is found by listening to the model once. Where a
    convolution's own answer, or a norm's, is a hidden map or used twice, it would not
    say the same; then it stays as it is. It is not folded in a copy: of a large
    classifier there would be two in memory.

    Arguments
    ---------
    classifier : torch.nn.Module
        features to `ClassifierOutput`, in eval mode, on the device of the features.
        Afterwards its submodules and `state_dict` are others.
    features : torch.Tensor
        Anything that the classifier can hear.
    """
    before = classifier(features)
    replaced = {}
    for convolution, norm in _pairs(classifier, features):
        replaced[convolution] = classifier.get_submodule(convolution)
        replaced[norm] = classifier.get_submodule(norm)
        fused = fuse_conv_bn_eval(replaced[convolution], replaced[norm])
        classifier.set_submodule(convolution, fused.requires_grad_(False))
        classifier.set_submodule(norm, torch.nn.Identity().eval())
    if not _alike(before, classifier(features)):
        for name, module in replaced.items():
            classifier.set_submodule(name, module)


def _pairs(classifier, features: torch.Tensor) -> list:
    """Names of convolutions, each with that of the batch norm which hears it alone."""
    answers, pairs, heard = {}, [], []

    def listen(
        module, inputs: tuple[torch.Tensor], answer: torch.Tensor, name: str
    ) -> None:
        heard.append(name)
        if isinstance(module, CONVOLUTIONS):
            answers[id(answer)] = (name, answer)  # kept, so that no other has its id
        elif id(inputs[0]) in answers:
            pairs.append((answers[id(inputs[0])][0], name))

    hooks = [
        module.register_forward_hook(
            lambda module, inputs, answer, name=name: listen(
                module, inputs, answer, name
            )
        )
        for name, module in classifier.named_modules()
        if isinstance(module, (*CONVOLUTIONS, _BatchNorm))
    ]
    try:
        classifier(features)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(heard.count(name) == 1 for name in pair)]


def _alike(one, other) -> bool:
    """Whether logits and hidden maps are the same but for rounding."""
    return all(
        a.shape == b.shape
        and torch.allclose(a, b, rtol=1e-3, atol=1e-4 * a.abs().max())
        for a, b in zip(
            (one.logits, *one.hidden), (other.logits, *other.hidden), strict=True
        )
    )
