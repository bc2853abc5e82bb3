"""How much of a sound a prompt is about: the size of a mask, beside its shape."""

import math

import torch
import torch.nn.functional as F


class PresenceInterpreter(torch.nn.Module):
    """A decoder told in words, whose mask as a whole is turned up or down.

    sigmoid(x + o) in place of the mask sigmoid(x), with one o for each clip and prompt,

    o = sqrt(D) t . (W n + b),  n = the mean and the maximum over time and frequency of
    the deepest hidden map, normalised to mean 0 and variance 1.

    So a prompt that the sound is not about can have a nearly empty mask. A decoder that
    is normalised item by item can hardly learn that: what turns all its channels up or
    down is normalised away. W and b begin at 0: then the mask is the decoder's own.

    Arguments
    ---------
    interpreter : Interpreter
        Whose condition is an embedding: `TextFiLMInterpreter`.
    channels : int
        Of the deepest hidden map.
    text_dim : int
        Values of an embedding, D.

    Shape
    -----
    hidden maps (B, C', T', F'), `encoded.rep` (B, T, F) and embeddings (B, D), of
    length 1, to a mask (B, T, F) in 0..1.
    """

    def __init__(self, interpreter, channels, text_dim):
        super().__init__()
        self.interpreter = interpreter
        self.heard = torch.nn.Linear(2 * channels, text_dim)
        torch.nn.init.zeros_(self.heard.weight)
        torch.nn.init.zeros_(self.heard.bias)

    def offset(self, hidden, condition):
        """What the logits of the mask are raised by, (B,)."""
        deepest = hidden[-1].float()
        pooled = torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], 1)
        heard = self.heard(F.layer_norm(pooled, pooled.shape[1:]))
        return math.sqrt(condition.shape[1]) * (heard * condition).sum(1)

    def forward(self, hidden, encoded, condition):
        mask = self.interpreter(hidden, encoded, condition)
        return raised(mask, self.offset(hidden, condition))


def raised(mask, offset):
    """sigmoid(x + offset) of masks sigmoid(x), (B, T, F), and offsets (B,).

    Example
    -------
    >>> raised(torch.tensor([[[0.5, 0.2]]]), torch.tensor([4.0]).log())
    tensor([[[0.8000, 0.5000]]])
    """
    odds = offset.clamp(-20, 20).exp()[:, None, None]  # beyond, float32 has 0 or 1
    return odds * mask / (odds * mask + (1 - mask))
