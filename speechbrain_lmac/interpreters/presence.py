"""The presence of a prompt in a clip, which scales its mask."""

import math

import torch
import torch.nn.functional as F

from speechbrain_lmac.types import Encoded

# Logit of the initial presence: sigmoid(2) = 0.88 scales the decoder's mask only
# slightly, and the sigmoid is not saturated.
INITIAL_LOGIT = 2.0


class PresenceInterpreter(torch.nn.Module):
    """A prompt-conditioned decoder whose mask is scaled by the prompt's presence.

    The mask is multiplied by a scalar presence g per clip and prompt,

    g = sigmoid(2 + sqrt(D) t . (W n + b)),

    where t is the embedding of the prompt, and n the mean and the maximum over time and
    frequency of the deepest hidden map, normalised to mean 0 and variance 1.

    This allows nearly empty masks for prompts that are absent from the clip. A decoder
    with per-item normalisation can hardly learn them, as the normalisation removes a
    gain common to all channels. The presence only attenuates: which cells are selected
    is up to the decoder. W and b are initialised to 0.

    Arguments
    ---------
    interpreter : Interpreter
        Conditioned on an embedding: `TextFiLMInterpreter`.
    channels : int
        Number of channels of the deepest hidden map.
    text_dim : int
        Dimension D of the prompt embeddings.
    """

    def __init__(
        self, interpreter: torch.nn.Module, channels: int, text_dim: int
    ) -> None:
        super().__init__()
        self.interpreter = interpreter
        # W and b. The attribute name is part of saved state dicts.
        self.heard = torch.nn.Linear(2 * channels, text_dim)
        torch.nn.init.zeros_(self.heard.weight)
        torch.nn.init.zeros_(self.heard.bias)

    def presence(
        self, hidden: tuple[torch.Tensor, ...], condition: torch.Tensor
    ) -> torch.Tensor:
        """Return the presence of each prompt in its clip, (B,), 0 to 1.

        Arguments as for `forward`.
        """
        deepest = hidden[-1].float()
        pooled = torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], 1)
        audio = self.heard(F.layer_norm(pooled, pooled.shape[1:]))
        similarity = math.sqrt(condition.shape[1]) * (audio * condition).sum(1)
        return torch.sigmoid(INITIAL_LOGIT + similarity)

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
            Prompt embeddings (B, D) of unit norm.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        mask = self.interpreter(hidden, encoded, condition)
        return self.presence(hidden, condition)[:, None, None] * mask
