"""CLAPs with mel spectrograms as input, for mel masking."""

import torch

from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding
from speechbrain_lmac.classifiers.clap.huggingface import HuggingFaceTowers
from speechbrain_lmac.classifiers.clap.microsoft import MicrosoftClap
from speechbrain_lmac.classifiers.waveform import MapGrid
from speechbrain_lmac.types import CamBlocks
from speechbrain_lmac.utils.errors import InputError


class MelClap(torch.nn.Module):
    """A CLAP whose audio input is the mel spectrogram in dB.

    For masked mel spectrograms (`ClapMelDomain`), which have no waveform.

    Arguments
    ---------
    clap : Clap
        With `front_end` and `embed_mel`: `HuggingFaceClap` or `MicrosoftClap`.

    Shape
    -----
    ``audio``: (B, W, n_mels), the window of `ClapSpectrogram`, to an `AudioEmbedding`.
    """

    clap: HuggingFaceTowers | MicrosoftClap

    def __init__(self, clap: HuggingFaceTowers | MicrosoftClap) -> None:
        super().__init__()
        self.clap = clap

    @property
    def sample_rate(self) -> int:
        """Sample rate of the domain's waveforms, Hz."""
        return self.clap.sample_rate

    @property
    def embedding_dim(self) -> int:
        """Values of an embedding, D."""
        return self.clap.embedding_dim

    @property
    def hidden_channels(self) -> list[int]:
        """Channels of the hidden maps."""
        return self.clap.hidden_channels

    @property
    def scale(self) -> torch.Tensor:
        """Factor from similarities to logits, shape ()."""
        return self.clap.scale

    @property
    def cam_layer(self) -> torch.nn.Module:
        """The layer of class activation maps."""
        return self.clap.cam_layer

    @property
    def cam_stride(self) -> tuple[float, float]:
        """Frames and bands per step of that layer's map."""
        return self.clap.cam_stride

    @property
    def cam_blocks(self) -> CamBlocks | None:
        """Its blocks for class activation maps; None if the CLAP names none."""
        return getattr(self.clap, "cam_blocks", None)

    def hidden_grids(self) -> list[MapGrid]:
        """Return a `MapGrid` of each hidden map."""
        return self.clap.hidden_grids()

    def audio(self, mel: torch.Tensor) -> AudioEmbedding:
        """Return the `AudioEmbedding` of windows (B, W, n_mels), in dB."""
        expected = (self.clap.front_end.n_frames, self.clap.front_end.n_mels)
        if mel.shape[1:] != expected:
            raise InputError(
                f"this CLAP needs mel spectrograms (batch, {expected[0]}, "
                f"{expected[1]}), got the shape {tuple(mel.shape)}: use ClapMelDomain"
            )
        return self.clap.embed_mel(mel)

    def text(self, prompts: list[str]) -> torch.Tensor:
        """Return the embeddings of P prompts, (P, D), each of length 1."""
        return self.clap.text(prompts)
