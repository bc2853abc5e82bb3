"""What passes between the stages, and what each stage promises.

Shapes: B batch, N samples, T frames, F bins, C classes. Batch comes first and
stays, also when it is 1.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from speechbrain_lmac.domains.masked_audio import MaskedAudio


@dataclass(frozen=True)
class Encoded:
    """A batch of waveforms in the representation that a mask multiplies."""

    rep: torch.Tensor  # (B, T, F), not negative
    phasor: torch.Tensor | None  # (B, T, F) complex, of modulus 1 (0 where |X| is 0)
    length: int  # samples N of the waveforms, which decode gives back
    # (B,) int64: the first frames of each clip, which hold recording; padding comes
    # after them. None: nothing is padded.
    frames: torch.Tensor | None = None
    # The same of a map on the bins, see `MaskDomain.on_bins`.
    bin_frames: torch.Tensor | None = None
    wav: torch.Tensor | None = None  # (B, N), what was encoded; None once rep changed
    sound: torch.Tensor | None = None  # (B, N), `decode` of it, where that was done
    # (B,) share of the samples that is recording, above 0, at most 1. None: all.
    lens: torch.Tensor | None = None

    def with_rep(self, rep: torch.Tensor) -> "Encoded":
        """The same phase and length with another representation."""
        return replace(self, rep=rep, wav=None, sound=None)


@dataclass(frozen=True)
class ClassifierOutput:
    """What a classifier says, and what it thought on the way."""

    logits: torch.Tensor  # (B, C), float32
    hidden: tuple  # maps (B, C', T', F'), the shallowest first


@dataclass(frozen=True)
class Explanation:
    """Which part of each input the explainer holds responsible."""

    mask: torch.Tensor  # (B, T, F), in 0..1, the shape of encoded.rep
    target: torch.Tensor  # (B,), the class that is explained
    encoded: Encoded
    logits: torch.Tensor  # (B, C), of the input as it is


@dataclass(frozen=True)
class Evidence:
    """All that objectives and metrics may look at.

    `logits` of the input, `logits_in` of the masked-in part, `logits_out` of
    the masked-out part.
    """

    mask: torch.Tensor  # (B, T, F), in 0..1
    target: torch.Tensor  # (B,)
    logits: torch.Tensor  # (B, C)
    logits_in: torch.Tensor  # (B, C)
    logits_out: torch.Tensor  # (B, C)
    frames: torch.Tensor | None = None  # (B,) int64, see `Encoded`
    # (B,), 0 to 1: is the target there to be heard? Only in trainings.
    support: torch.Tensor | None = None
    masked_audio: "MaskedAudio | None" = field(default=None, kw_only=True)


class MaskDomain(Protocol):
    """Where the mask lives. An all-ones mask changes nothing.

    `listenable`: `decode` returns waveforms; otherwise it raises.
    `features_from_waveform`: `features` are computed from the decoded waveform.
    `from_bands` reads a map over the classifier's frequency bands, (..., n_mels), at
    the bins of rep, (..., F); class activation maps need `n_mels`. `on_bins` is the
    mask of a `masked_audio.MaskedAudio` as a map over time and the bins of a
    spectrogram.
    """

    listenable: bool
    features_from_waveform: bool

    def encode(self, wav: torch.Tensor, lens: torch.Tensor | None = None) -> Encoded:
        """Waveforms (B, N) to what the mask multiplies.

        `lens` (B,) is the share of each clip's samples that is recording, above 0 and
        at most 1; the rest, at the end, is padding. None: nothing is padded.
        """

    def apply_mask(self, encoded: Encoded, mask: torch.Tensor) -> Encoded:
        """Multiply: `encoded.rep * mask`."""

    def features(self, encoded: Encoded) -> torch.Tensor:
        """The classifier's input: (B, T, n_mels), or waveforms (B, N)."""

    def feature_lengths(self, encoded: Encoded) -> torch.Tensor | None:
        """How many steps of the features hold recording, (B,) int64, of padded clips.

        As many as the clip has alone: frames, or samples of waveforms. None: the
        features have no padding.
        """

    def decode(self, encoded: Encoded) -> torch.Tensor:
        """Back to waveforms (B, N): what is heard; `encoded.sound` if it is there."""


class Classifier(Protocol):
    """A frozen classifier. Features in, logits and hidden maps out.

    `cam_layer` is the module whose output (B, C', T', F') class activation maps look
    at; step (i, j) of it stands for the frames from i * `cam_stride[0]` on and the
    bands from j * `cam_stride[1]` on, as many as the stride says (whole or not).

    One whose `masks_padding` is True is called with lengths where clips are padded, and
    lets each clip have the logits that it has alone. Without the attribute the clips of
    each length are heard by themselves (`speechbrain_lmac.classifiers.padding`).
    """

    cam_layer: torch.nn.Module
    cam_stride: tuple

    def __call__(self, features: torch.Tensor) -> ClassifierOutput: ...


class Interpreter(Protocol):
    """Hidden maps to a mask in 0..1 in the shape of `encoded.rep`."""

    def __call__(
        self, hidden: tuple, encoded: Encoded, condition=None
    ) -> torch.Tensor: ...


class Explainer(Protocol):
    """Any method that explains. It never trains."""

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Explain class `target` (default: the predicted one) of (B, N).

        `lens` (B,) is passed to `MaskDomain.encode`.
        """


class Metric(Protocol):
    """One score per item; the reduction belongs to the caller."""

    name: str
    higher_is_better: bool | None  # None: no direction

    def __call__(self, evidence: Evidence) -> torch.Tensor: ...
