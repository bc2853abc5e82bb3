"""A zero-shot classifier: sounds and sentences in one space; the classes are prompts.

A `Clap` is any pair of towers with

- ``audio(features) -> AudioEmbedding``: what the domain's `features` gives, (B, ...),
- ``text(sentences) -> (P, D)``: P sentences, each of length 1,
- ``scale``: what similarities are multiplied by to be logits,
- ``embedding_dim`` (D), ``cam_layer`` and ``cam_stride`` as a `Classifier` has them.
"""

from dataclasses import dataclass

import torch

from speechbrain_lmac.classifiers.padding import masks_padding, on_recordings
from speechbrain_lmac.types import ClassifierOutput
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.tokenizer import TEMPLATE


@dataclass(frozen=True)
class AudioEmbedding:
    """What an audio tower makes of sounds."""

    embedding: torch.Tensor  # (B, D), float32, each of length 1
    hidden: tuple  # maps (B, C', T', F'), the shallowest first


class ClapClassifier(torch.nn.Module):
    """A CLAP and a list of prompts: logits are scaled similarities to the prompts.

    logits = scale * a @ t.T, with a (B, D) the sounds and t (C, D) the prompts, all of
    length 1. It is frozen: in eval mode whatever is called on it, without gradients of
    its own, but gradients flow through it to its input. The prompts are embedded once.

    Arguments
    ---------
    clap : Clap
        See the top of this file.
    prompts : list
        C sentences, or names of classes for the template.
    template : str or None
        Each prompt stands in place of its "{}". None: prompts are sentences.

    Raises
    ------
    InputError
        When a prompt is empty or stands there twice, when the template has no place
        for it, or when the text tower refuses it (too long).
    """

    masks_padding = True

    def __init__(self, clap, prompts, template: str | None = TEMPLATE):
        super().__init__()
        if isinstance(prompts, str):
            raise InputError(f"prompts must be a list of texts: [{prompts!r}] for one")
        self.clap = clap.requires_grad_(False)
        self.eval()
        self.labels = [str(prompt) for prompt in prompts]
        self.template = template
        self.prompts = sentences(self.labels, template)
        self.register_buffer("text", self.embed(self.prompts), persistent=False)

    @property
    def n_classes(self):
        """Number of prompts C."""
        return len(self.prompts)

    @property
    def embedding_dim(self):
        """Values of an embedding, D."""
        return self.clap.embedding_dim

    @property
    def sample_rate(self) -> int | None:
        """Of the waveforms that the audio tower hears, Hz; None: it hears features."""
        return getattr(self.clap, "sample_rate", None)

    @property
    def cam_layer(self):
        """The module whose output class activation maps look at."""
        return self.clap.cam_layer

    @property
    def cam_stride(self) -> tuple:
        """Frames and bands that a step of that map stands for."""
        return self.clap.cam_stride

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> torch.Tensor:
        """P sentences to their embeddings (P, D), each of length 1."""
        return self.clap.text(list(prompts)).float()

    def asked(self, prompts, template=None) -> "ClapClassifier":
        """The same towers with other prompts; the weights are shared."""
        return ClapClassifier(self.clap, prompts, template)

    def train(self, mode: bool = True) -> "ClapClassifier":
        """Stay in eval mode."""
        return super().train(False)

    def audio(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> AudioEmbedding:
        """Features to an `AudioEmbedding`; `lengths` (B,) as in `padding`."""
        masks = masks_padding(self.clap)
        return on_recordings(self.clap.audio, features, lengths, masks)

    def forward(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> ClassifierOutput:
        """Features to logits (B, C) and hidden maps; `lengths` (B,) as in `padding`."""
        heard = self.audio(features, lengths)
        similarity = heard.embedding.float() @ self.text.T
        return ClassifierOutput(self.clap.scale.detach() * similarity, heard.hidden)


def sentences(prompts: list[str], template: str | None = TEMPLATE) -> list[str]:
    """Names of classes, or sentences, to the sentences that are embedded.

    Names of classes are read with spaces in place of their underscores.

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
            f"every prompt needs words, got {some_of(prompts) if prompts else 'none'}"
        )
    twice = sorted({prompt for prompt in prompts if prompts.count(prompt) > 1})
    if twice:
        raise InputError(f"each prompt may stand there once: {some_of(twice)}")
    if template is None:
        return prompts
    if "{}" not in template:
        raise InputError(f'the template "{template}" has no {{}} for the prompt')
    return [template.replace("{}", prompt) for prompt in prompts]
