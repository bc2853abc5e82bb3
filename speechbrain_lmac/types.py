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
    length: int  # number of samples N of the waveforms, restored by `decode`
    # (B,) int64: frames of each clip before its padding. None: nothing is padded.
    frames: torch.Tensor | None = None
    # As `frames`, for the map that `MaskDomain.on_bins` returns.
    bin_frames: torch.Tensor | None = None
    wav: torch.Tensor | None = None  # (B, N), the input; None after a change of rep
    sound: torch.Tensor | None = None  # (B, N), cache of the decoded waveform
    # (B,) relative lengths without padding, in (0, 1]. None: nothing is padded.
    lens: torch.Tensor | None = None

    def with_rep(self, rep: torch.Tensor) -> "Encoded":
        """Return a copy with a new representation (B, T, F) and no cached waveforms."""
        return replace(self, rep=rep, wav=None, sound=None)


@dataclass(frozen=True)
class ClassifierOutput:
    """Logits and hidden maps of a batch."""

    logits: torch.Tensor  # (B, C), float32
    hidden: tuple[torch.Tensor, ...]  # maps (B, C', T', F'), the shallowest first


@dataclass(frozen=True)
class Explanation:
    """A mask for each clip, and the class that it explains."""

    mask: torch.Tensor  # (B, T, F), as encoded.rep, in 0..1
    target: torch.Tensor  # (B,), the class that is explained
    encoded: Encoded
    logits: torch.Tensor  # (B, C), of the whole input


@dataclass(frozen=True)
class Evidence:
    """Mask and logits, the inputs of objectives and metrics.

    `logits` of the whole input, `logits_in` of the masked-in part, `logits_out` of
    the masked-out part.
    """

    mask: torch.Tensor  # (B, T, F), in 0..1
    target: torch.Tensor  # (B,)
    logits: torch.Tensor  # (B, C)
    logits_in: torch.Tensor  # (B, C)
    logits_out: torch.Tensor  # (B, C)
    frames: torch.Tensor | None = None  # (B,) int64, see `Encoded`
    # (B,), 0 to 1: degree to which the target is present in the clip. Training only.
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
        """Hop of the frames of `magnitude` and `on_bins`, in samples."""

    @property
    def rep_step(self) -> int:
        """Step of the frames of the representation, samples: t lies at t * step."""

    @property
    def n_mels(self) -> int:
        """Number of frequency bands of the classifier's features."""

    @property
    def from_bands(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Function that interpolates maps from bands (..., n_mels) to bins (..., F).

        Used by class activation maps and by decoders that work on bands.
        """

    def encode(self, wav: torch.Tensor, lens: torch.Tensor | None = None) -> Encoded:
        """Encode waveforms (B, N).

        `lens` (B,) are the relative lengths of the clips, in (0, 1]; the samples after
        them are padding. None: nothing is padded.
        """

    def apply_mask(self, encoded: Encoded, mask: torch.Tensor) -> Encoded:
        """Multiply ``encoded.rep`` by a mask of its shape (B, T, F)."""

    def features(self, encoded: Encoded) -> torch.Tensor:
        """Return the classifier's input: (B, T, n_mels), or waveforms (B, N)."""

    def feature_lengths(self, encoded: Encoded) -> torch.Tensor | None:
        """Return the lengths of the features without padding, (B,) int64.

        In frames, or in samples where the features are waveforms; equal to the length
        of the clip on its own. None: nothing is padded.
        """

    def decode(self, encoded: Encoded) -> torch.Tensor:
        """Return waveforms (B, N); `encoded.sound` if already computed."""

    def magnitude(self, encoded: Encoded) -> torch.Tensor:
        """Return the magnitude spectrogram of the representation, (B, T', F')."""

    def on_bins(self, masked_audio: "MaskedAudio") -> torch.Tensor:
        """Return the mask as a map over time and bins of a spectrogram, (B, T', F')."""


class Classifier(Protocol):
    """A frozen classifier. Features in, logits and hidden maps out.

    If it has an attribute `masks_padding` that is True, it is called with lengths (B,)
    as a second argument for padded clips, and must return for each clip the logits of
    the clip without padding. Otherwise clips of different lengths are classified
    separately (`speechbrain_lmac.classifiers.padding`).
    """

    @property
    def cam_layer(self) -> torch.nn.Module:
        """Module whose output (B, C', T', F') is used for class activation maps."""

    @property
    def cam_stride(self) -> tuple[float, float]:
        """Strides of the output of `cam_layer`, in frames and bands of the features.

        Cell (i, j) covers frames i * ``cam_stride[0]`` to (i + 1) * ``cam_stride[0]``,
        and bands likewise. Strides need not be integers.
        """

    def __call__(self, features: torch.Tensor) -> ClassifierOutput:
        """Classify features (B, T, n_mels), or waveforms (B, N)."""


class Interpreter(Protocol):
    """Decoder from hidden maps to a mask in 0..1 of the shape of `encoded.rep`."""

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
            The encoded clips.
        condition : torch.Tensor
            Target classes (B,), or embeddings (B, D) of target prompts.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), 0 to 1.
        """


class Explainer(Protocol):
    """An explanation method, trained or not; `explain` updates no weights."""

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Explain one class per clip.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N).
        target : torch.Tensor or None
            Classes (B,), int64. None: the predicted ones.
        lens : torch.Tensor or None
            Relative lengths (B,), see `MaskDomain.encode`.

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
        classes: tuple[torch.Tensor, torch.Tensor] | None = None,
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
            Relative lengths (B,), see `MaskDomain.encode`.
        classes : (torch.Tensor, torch.Tensor) or None
            Classes of foreground and background, (B,) each, int64, -1 where unknown.

        Returns
        -------
        explanation : Explanation
        """


class Metric(Protocol):
    """One score per clip; the reduction belongs to the caller."""

    @property
    def name(self) -> str:
        """Name of its column in results and tables."""

    @property
    def higher_is_better(self) -> bool | None:
        """Whether higher scores are better; None if neither direction is."""

    def __call__(self, evidence: Evidence) -> torch.Tensor:
        """Return scores (B,)."""
