"""Zero-shot classification by a CLAP: prompts are the classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch

from speechbrain_lmac.classifiers.padding import masks_padding, on_recordings
from speechbrain_lmac.types import CamBlocks, ClassifierOutput
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.tokenizer import TEMPLATE


@dataclass(frozen=True)
class AudioEmbedding:
    """Output of the audio tower of a CLAP."""

    embedding: torch.Tensor  # (B, D), float32, each of length 1
    hidden: tuple[torch.Tensor, ...]  # maps (B, C', T', F'), the shallowest first


class Clap(Protocol):
    """A module with an audio and a text tower that share an embedding space."""

    @property
    def scale(self) -> torch.Tensor:
        """Factor from similarities to logits, shape ()."""

    @property
    def embedding_dim(self) -> int:
        """Values of an embedding, D."""

    @property
    def cam_layer(self) -> torch.nn.Module:
        """See `Classifier`."""

    @property
    def cam_stride(self) -> tuple[float, float]:
        """See `Classifier`."""

    @property
    def audio(self) -> Any:
        """A method that maps a domain's `features` (B, ...) to an `AudioEmbedding`."""

    def text(self, prompts: list[str], /) -> torch.Tensor:
        """Return the embeddings of P prompts, (P, D), each of length 1."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As `torch.nn.Module`."""


class ClapClassifier(torch.nn.Module):
    """A CLAP and a list of prompts: logits are scaled similarities to the prompts.

    logits = scale * a @ t.T, with the embeddings a (B, D) of clips and t (C, D) of
    prompts, all of length 1. It is frozen: always in eval mode, with constant weights;
    gradients flow through it to its input. Prompts are embedded once.

    Arguments
    ---------
    clap : Clap
    prompts : sequence of str
        C sentences, or C class names for the template.
    template : str or None
        Its "{}" is replaced by each prompt. None: prompts are sentences.

    Shape
    -----
    Features (B, ...) to logits (B, C) and hidden maps (B, C', T', F').

    Raises
    ------
    InputError
        When a prompt is empty, repeated or too long for the text tower, or the template
        has no "{}".
    """

    masks_padding = True
    clap: Clap
    text: torch.Tensor

    def __init__(
        self, clap: Clap, prompts: Sequence[str], template: str | None = TEMPLATE
    ) -> None:
        super().__init__()
        if isinstance(prompts, str):
            raise InputError(f"prompts must be a list, got a string: use [{prompts!r}]")
        self.clap = clap.requires_grad_(False)
        self.eval()
        self.labels = [str(prompt) for prompt in prompts]
        self.template = template
        self.prompts = sentences(self.labels, template)
        self.register_buffer("text", self.embed(self.prompts), persistent=False)

    @property
    def n_classes(self) -> int:
        """Number of prompts C."""
        return len(self.prompts)

    @property
    def embedding_dim(self) -> int:
        """Values of an embedding, D."""
        return self.clap.embedding_dim

    @property
    def sample_rate(self) -> int | None:
        """Sample rate of the audio tower's waveforms, Hz; None for one of features."""
        return getattr(self.clap, "sample_rate", None)

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

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return the embeddings of P sentences, (P, D), each of length 1."""
        return self.clap.text(list(prompts)).float()

    def with_prompts(
        self, prompts: Sequence[str], template: str | None = None
    ) -> "ClapClassifier":
        """Return a classifier with the same towers and other prompts."""
        return ClapClassifier(self.clap, prompts, template)

    def train(self, mode: bool = True) -> Self:
        """Do nothing: stay in eval mode."""
        return super().train(False)

    def audio(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> AudioEmbedding:
        """Return the `AudioEmbedding` of features (B, ...).

        `lengths` (B,) as in `classifiers.padding`.
        """
        masks = masks_padding(self.clap)
        return on_recordings(self.clap.audio, features, lengths, masks)

    def forward(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> ClassifierOutput:
        """Return logits (B, C) and hidden maps of features (B, ...).

        `lengths` (B,) as in `classifiers.padding`.
        """
        output = self.audio(features, lengths)
        similarity = output.embedding.float() @ self.text.T
        return ClassifierOutput(self.clap.scale.detach() * similarity, output.hidden)


def sentences(prompts: Sequence[str], template: str | None = TEMPLATE) -> list[str]:
    """Return prompts as sentences, by the template if there is one.

    With a template, underscores of class names become spaces.

    Raises
    ------
    InputError
        See `ClapClassifier`.

    Example
    -------
    >>> sentences(["dog", "sea_waves"])
    ['this is the sound of dog', 'this is the sound of sea waves']
    """
    if template is not None:
        prompts = [str(prompt).replace("_", " ") for prompt in prompts]
    prompts = [" ".join(str(prompt).split()) for prompt in prompts]
    if not prompts or not all(prompts):
        raise InputError(
            "every prompt must contain words, got "
            f"{some_of(map(repr, prompts)) if prompts else 'no prompts'}"
        )
    repeated = sorted({prompt for prompt in prompts if prompts.count(prompt) > 1})
    if repeated:
        raise InputError(f"prompts must be different, got repeated {some_of(repeated)}")
    if template is None:
        return prompts
    if "{}" not in template:
        raise InputError(f'template must have {{}} for the prompt, got "{template}"')
    return [template.replace("{}", prompt) for prompt in prompts]
