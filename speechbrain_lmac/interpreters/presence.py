"""The presence of a prompt in a clip, which scales its mask."""

import math

import torch
import torch.nn.functional as F

from speechbrain_lmac.types import Encoded

# Logit of the initial presence: sigmoid(2) = 0.88 nearly leaves the decoder's mask
# as it is, and the gradient is not saturated on either side.
FIRST_LOGIT = 2.0


class PresenceInterpreter(torch.nn.Module):
    """A decoder conditioned on a prompt, whose mask is scaled by the prompt's presence.

    The mask x becomes g x, with one presence g for each clip and prompt,

    g = sigmoid(2 + sqrt(D) t . (W n + b)),  n = the mean and the maximum over time and
    frequency of the deepest hidden map, normalised to mean 0 and variance 1.

    So the mask of a prompt that is absent from the clip can be nearly empty. A decoder
    that is normalised item by item can hardly learn that: a common gain of all its
    channels is normalised away. The presence can make a mask empty, but not full: the
    decoder alone selects the cells. W and b are initialised to 0.

    Arguments
    ---------
    interpreter : Interpreter
        Conditioned on an embedding: `TextFiLMInterpreter`.
    channels : int
        Of the deepest hidden map.
    text_dim : int
        Values of an embedding, D.
    """

    def __init__(
        self, interpreter: torch.nn.Module, channels: int, text_dim: int
    ) -> None:
        super().__init__()
        self.interpreter = interpreter
        # W and b; the name is a key of saved weights.
        self.heard = torch.nn.Linear(2 * channels, text_dim)
        torch.nn.init.zeros_(self.heard.weight)
        torch.nn.init.zeros_(self.heard.bias)

    def presence(
        self, hidden: tuple[torch.Tensor, ...], condition: torch.Tensor
    ) -> torch.Tensor:
        """Return the presence (B,), 0 to 1, of prompts in clips.

        Arguments are those of `forward`.
        """
        deepest = hidden[-1].float()
        pooled = torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], 1)
        audio = self.heard(F.layer_norm(pooled, pooled.shape[1:]))
        similarity = math.sqrt(condition.shape[1]) * (audio * condition).sum(1)
        return torch.sigmoid(FIRST_LOGIT + similarity)

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded: Encoded,
        condition: torch.Tensor,
    ) -> torch.Tensor:
        """Decode hidden maps into a mask, scaled by the presence.

        Arguments
        ---------
        hidden : tuple of torch.Tensor
            Maps (B, C', T', F') of the audio tower, the shallowest first.
        encoded : Encoded
            With `rep` (B, T, F).
        condition : torch.Tensor
            Embeddings (B, D) of the prompts, of length 1.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        mask = self.interpreter(hidden, encoded, condition)
        return self.presence(hidden, condition)[:, None, None] * mask
