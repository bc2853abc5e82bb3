"""The towers of a CLAP that hears waveforms, behind its front end: mel masking."""

import torch

from speechbrain_lmac.utils.errors import InputError


class MelClap(torch.nn.Module):
    """The same towers, whose audio is the mel spectrogram in dB.

    What a mask on the mel spectrogram leaves (`ClapMelDomain`) has no waveform.

    Arguments
    ---------
    clap : Clap
        With `front_end` and `hear`: `HuggingFaceClap` or `MicrosoftClap`.

    Shape
    -----
    ``audio``: (B, W, n_mels), the window of `ClapSpectrogram`, to an `AudioEmbedding`.
    """

    def __init__(self, clap):
        super().__init__()
        self.clap = clap

    @property
    def sample_rate(self) -> int:
        """Of the waveforms that the domain hears, Hz."""
        return self.clap.sample_rate

    @property
    def embedding_dim(self):
        """Values of an embedding, D."""
        return self.clap.embedding_dim

    @property
    def hidden_channels(self):
        """Channels of the hidden maps."""
        return self.clap.hidden_channels

    @property
    def scale(self) -> torch.Tensor:
        """What similarities are multiplied by, 0-dim."""
        return self.clap.scale

    @property
    def cam_layer(self):
        """The module whose output class activation maps look at."""
        return self.clap.cam_layer

    @property
    def cam_stride(self) -> tuple:
        """Frames and bands that a step of that map stands for."""
        return self.clap.cam_stride

    def hidden_grids(self):
        """A `MapGrid` of each hidden map."""
        return self.clap.hidden_grids()

    def audio(self, mel: torch.Tensor):
        """The window (B, W, n_mels), in dB, to an `AudioEmbedding`."""
        wanted = (self.clap.front_end.n_frames, self.clap.front_end.n_mels)
        if mel.shape[1:] != wanted:
            raise InputError(
                f"this CLAP hears mel spectrograms (batch, {wanted[0]}, {wanted[1]}), "
                f"got the shape {tuple(mel.shape)}: it needs ClapMelDomain"
            )
        return self.clap.hear(mel)

    def text(self, prompts: list[str]) -> torch.Tensor:
        """Sentences to their embeddings (P, D), each of length 1."""
        return self.clap.text(prompts)
