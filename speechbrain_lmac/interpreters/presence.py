"""How much of a sound a prompt is about: the size of a mask, beside its shape."""

import math

import torch
import torch.nn.functional as F

# Of the presence before anything is learned: sigmoid(2) = 0.88 leaves the decoder's
# mask nearly as it is, and a gradient to both sides.
FIRST_LOGIT = 2.0


class PresenceInterpreter(torch.nn.Module):
    """A decoder told in words, whose mask as a whole is turned down.

    g x in place of the mask x, with one presence g for each clip and prompt,

    g = sigmoid(2 + sqrt(D) t . (W n + b)),  n = the mean and the maximum over time and
    frequency of the deepest hidden map, normalised to mean 0 and variance 1.

    So a prompt that the sound is not about can have a nearly empty mask. A decoder that
    is normalised item by item can hardly learn that: what turns all its channels up or
    down is normalised away. The presence can make a mask empty, but not full: where
    something is kept, the decoder has to say what. W and b begin at 0.

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

    def __init__(self, interpreter: torch.nn.Module, channels: int, text_dim: int):
        super().__init__()
        self.interpreter = interpreter
        self.heard = torch.nn.Linear(2 * channels, text_dim)
        torch.nn.init.zeros_(self.heard.weight)
        torch.nn.init.zeros_(self.heard.bias)

    def presence(
        self, hidden: tuple[torch.Tensor, ...], condition: torch.Tensor
    ) -> torch.Tensor:
        """What the masks are multiplied by, (B,), 0 to 1."""
        deepest = hidden[-1].float()
        pooled = torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], 1)
        heard = self.heard(F.layer_norm(pooled, pooled.shape[1:]))
        about = math.sqrt(condition.shape[1]) * (heard * condition).sum(1)
        return torch.sigmoid(FIRST_LOGIT + about)

    def forward(
        self, hidden: tuple[torch.Tensor, ...], encoded, condition: torch.Tensor
    ) -> torch.Tensor:
        mask = self.interpreter(hidden, encoded, condition)
        return self.presence(hidden, condition)[:, None, None] * mask
