"""Data types and protocols of the stages: domain, classifier, interpreter, explainer.

Shapes: B batch, N samples, T frames, F bins, C classes. Batch comes first and
stays, also when it is 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

if TYPE_CHECKING:
    from speechbrain_lmac.domains.masked_audio import MaskedAudio


@dataclass(frozen=True)
class Encoded:
    """A batch of waveforms in the representation that a mask multiplies."""

    rep: torch.Tensor  # (B, T, F), not negative
    phasor: torch.Tensor | None  # (B, T, F) complex, of modulus 1 (0 where |X| is 0)
    length: int  # samples N of the waveforms, which decode gives back
    # (B,) int64: frames of each clip that hold recording; padding comes after them.
    # None: nothing is padded.
    frames: torch.Tensor | None = None
    # The same of a map on the bins, see `MaskDomain.on_bins`.
    bin_frames: torch.Tensor | None = None
    wav: torch.Tensor | None = None  # (B, N), what was encoded; None once rep changed
    sound: torch.Tensor | None = None  # (B, N), the decoded waveform, once computed
    # (B,) share of the samples that is recording, above 0, at most 1. None: all.
    lens: torch.Tensor | None = None

    def with_rep(self, rep: torch.Tensor) -> "Encoded":
        """Return the same phase and lengths with another representation (B, T, F)."""
        return replace(self, rep=rep, wav=None, sound=None)


@dataclass(frozen=True)
class ClassifierOutput:
    """Logits and hidden maps of a batch."""

    logits: torch.Tensor  # (B, C), float32
    hidden: tuple[torch.Tensor, ...]  # maps (B, C', T', F'), the shallowest first


@dataclass(frozen=True)
class Explanation:
    """A mask for each clip, and the class that it explains."""

    mask: torch.Tensor  # (B, T, F), in 0..1, the shape of encoded.rep
    target: torch.Tensor  # (B,), the class that is explained
    encoded: Encoded
    logits: torch.Tensor  # (B, C), of the whole input


@dataclass(frozen=True)
class Evidence:
    """Inputs of objectives and metrics.

    `logits` of the whole input, `logits_in` of the masked-in part, `logits_out` of
    the masked-out part.
    """

    mask: torch.Tensor  # (B, T, F), in 0..1
    target: torch.Tensor  # (B,)
    logits: torch.Tensor  # (B, C)
    logits_in: torch.Tensor  # (B, C)
    logits_out: torch.Tensor  # (B, C)
    frames: torch.Tensor | None = None  # (B,) int64, see `Encoded`
    # (B,), 0 to 1: how far the target is present in the clip. Only in training.
    support: torch.Tensor | None = None
    masked_audio: "MaskedAudio | None" = field(default=None, kw_only=True)


# Layers whose maps (B, C', T', F') class activation maps may use, the shallowest first,
# as (module, `cam_stride` of its map): the optional `cam_blocks` of a classifier.
CamBlocks = Sequence[tuple[torch.nn.Module, tuple[float, float]]]


class MaskDomain(Protocol):
    """The representation that a mask multiplies. An all-ones mask changes nothing."""

    @property
    def listenable(self) -> bool:
        """Whether `decode` returns waveforms; otherwise it raises."""

    @property
    def features_from_waveform(self) -> bool:
        """Whether `features` are computed from the decoded waveform."""

    @property
    def sample_rate(self) -> int:
        """Sample rate of the waveforms, Hz."""

    @property
    def hop_length(self) -> int:
        """Samples from one frame of `magnitude` and `on_bins` to the next."""

    @property
    def n_mels(self) -> int:
        """Frequency bands of the classifier's features."""

    @property
    def from_bands(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Interpolation of a map over those bands, (..., n_mels), to (..., F).

        Only class activation maps and decoders on bands use it.
        """

    def encode(self, wav: torch.Tensor, lens: torch.Tensor | None = None) -> Encoded:
        """Encode waveforms (B, N).

        `lens` (B,) is the share of each clip's samples that is recording, above 0 and
        at most 1; the rest, at the end, is padding. None: nothing is padded.
        """

    def apply_mask(self, encoded: Encoded, mask: torch.Tensor) -> Encoded:
        """Multiply ``encoded.rep`` by a mask of its shape (B, T, F)."""

    def features(self, encoded: Encoded) -> torch.Tensor:
        """Return the classifier's input: (B, T, n_mels), or waveforms (B, N)."""

    def feature_lengths(self, encoded: Encoded) -> torch.Tensor | None:
        """Return how many steps of the features hold recording, (B,) int64.

        As many as the clip has alone: frames, or samples of waveforms. Of padded clips
        only. None: the features have no padding.
        """

    def decode(self, encoded: Encoded) -> torch.Tensor:
        """Return waveforms (B, N): `encoded.sound`, if it is set."""

    def magnitude(self, encoded: Encoded) -> torch.Tensor:
        """Return the magnitude spectrogram of the representation, (B, T', F')."""

    def on_bins(self, masked_audio: "MaskedAudio") -> torch.Tensor:
        """Return the mask as a map over time and bins of a spectrogram, (B, T', F')."""


class Classifier(Protocol):
    """A frozen classifier. Features in, logits and hidden maps out.

    One whose `masks_padding` is True takes lengths (B,) as a second argument where
    clips are padded, and gives each clip the logits that it has alone. Without the
    attribute the clips of each length are classified separately
    (`speechbrain_lmac.classifiers.padding`).
    """

    @property
    def cam_layer(self) -> torch.nn.Module:
        """The module whose output (B, C', T', F') class activation maps use."""

    @property
    def cam_stride(self) -> tuple[float, float]:
        """Frames and bands of the features per step of that output.

        Step (i, j) stands for the frames from i * ``cam_stride[0]`` on and the bands
        from j * ``cam_stride[1]`` on, as many as the stride says (whole or not).
        """

    def __call__(self, features: torch.Tensor) -> ClassifierOutput:
        """Classify features (B, T, n_mels), or waveforms (B, N)."""


class Interpreter(Protocol):
    """Hidden maps to a mask in 0..1 in the shape of `encoded.rep`."""

    def __call__(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded: Encoded,
        condition: torch.Tensor,
    ) -> torch.Tensor:
        """Return masks (B, T, F).

        Arguments
        ---------
        hidden : tuple
            Maps (B, C', T', F') of `ClassifierOutput`.
        encoded : Encoded
            The clips.
        condition : torch.Tensor
            Classes (B,), or embeddings of prompts (B, D), that are explained.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), 0 to 1.
        """


class Explainer(Protocol):
    """Any method that explains. It never trains."""

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Explain a class of each clip.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N).
        target : torch.Tensor or None
            Classes (B,), int64. None: the predicted ones.
        lens : torch.Tensor or None
            Shares (B,) of recording, see `MaskDomain.encode`.

        Returns
        -------
        explanation : Explanation
            Its mask has the shape of the representation, (B, T, F).
        """


@runtime_checkable
class MixtureExplainer(Protocol):
    """An explainer that needs the stems of each clip: of mixtures only."""

    def explain_mixture(
        self,
        wav: torch.Tensor,
        foreground: torch.Tensor,
        background: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Explain a class of each mixture.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N).
        foreground, background : torch.Tensor
            Stems (B, N), whose sum is the mixture up to its level.
        target : torch.Tensor or None
            Classes (B,), int64. None: the predicted ones.
        lens : torch.Tensor or None
            Shares (B,) of recording, see `MaskDomain.encode`.

        Returns
        -------
        explanation : Explanation
        """


class Metric(Protocol):
    """One score per clip; the reduction belongs to the caller."""

    @property
    def name(self) -> str:
        """Column of results and tables."""

    @property
    def higher_is_better(self) -> bool | None:
        """None: neither direction is better."""

    def __call__(self, evidence: Evidence) -> torch.Tensor:
        """Return scores (B,)."""
