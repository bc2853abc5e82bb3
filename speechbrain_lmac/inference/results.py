"""Results of explanations: of a batch, of a file, for a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from speechbrain_lmac.metrics.checks.encoding import NOISE_NAMES
from speechbrain_lmac.utils.escaping import readable


@dataclass(frozen=True)
class BatchExplanation:
    """Explanations of B waveforms of N samples, for C classes.

    The maps have the T frames and F bins of the STFT.
    """

    labels: list[str]  # B class names, the explained ones
    predicted: list[str]  # B class names, the predicted ones
    confidence: torch.Tensor  # (B,) of the explained class for the input, 0 to 1
    heard_confidence_in: torch.Tensor  # (B,) for the waveforms `explanation`
    heard_confidence_out: torch.Tensor  # (B,) for the waveforms `rest`
    confidence_in: torch.Tensor  # (B,) masked representation, as in the papers
    confidence_out: torch.Tensor  # (B,) for the masked-out representation
    explanation: torch.Tensor  # (B, N) the masked-in part, at the input's level
    rest: torch.Tensor  # (B, N) the masked-out part
    mask: torch.Tensor  # (B, T, F), in 0..1
    mask_mean: torch.Tensor  # (B,), in 0..1, without padding
    magnitude: torch.Tensor  # (B, T, F) of the model input, scaled to a peak of 1
    masked_magnitude: torch.Tensor  # (B, T, F) of the explanation
    logits: torch.Tensor  # (B, C) of the input
    logits_in: torch.Tensor  # (B, C) of the masked representation
    logits_out: torch.Tensor  # (B, C) of the masked-out representation
    # (B,) mean probability of the explained class for fixed sounds under the mask, 0 to
    # 1 (`metrics.checks.encoding`); NaN: no sound counts. None: not computed.
    encoding: torch.Tensor | None = None


def join_batches(
    parts: Sequence[BatchExplanation],
    order: torch.Tensor,
    n_samples: int,
    n_frames: int,
) -> BatchExplanation:
    """Concatenate explanations of batches of different lengths.

    Arguments
    ---------
    parts : sequence of BatchExplanation
    order : torch.Tensor
        Shape (B,): index in the concatenated parts of each item of the result.
    n_samples, n_frames : int
        N and T of the result; shorter parts are padded with zeros.

    Returns
    -------
    joined : BatchExplanation
    """
    sizes = {
        **dict.fromkeys(("explanation", "rest"), n_samples),
        **dict.fromkeys(("mask", "magnitude", "masked_magnitude"), n_frames),
    }
    joined: dict[str, Any] = {}
    for name in vars(parts[0]):
        values = [getattr(part, name) for part in parts]
        if torch.is_tensor(values[0]):
            size = sizes.get(name)
            if size is not None:
                values = [_padded(value, size) for value in values]
            joined[name] = torch.cat(values)[order]
        elif values[0] is None:
            joined[name] = None
        else:
            flat = [value for part in values for value in part]
            joined[name] = [flat[index] for index in order.tolist()]
    return BatchExplanation(**joined)


def _padded(values: torch.Tensor, size: int) -> torch.Tensor:
    """Return values (B, N) or (B, N, F), padded with zeros to `size` of N."""
    later_dims = (0, 0) * (values.ndim - 2)
    return F.pad(values, (*later_dims, 0, size - values.shape[1]))


# Fields of an explanation that are waveforms, and those that are maps.
SOUNDS = ("explanation", "rest")
MAPS = ("magnitude", "mask", "masked_magnitude")


@dataclass(frozen=True)
class WindowScores:
    """Scores of one window of a file, for the explained class of the file."""

    start: float  # s
    end: float  # s
    predicted: str  # class
    explained: str  # class of its mask: the predicted one, or the target
    confidence: float  # of the file's class, 0 to 1
    heard_confidence_in: float
    heard_confidence_out: float
    confidence_in: float
    confidence_out: float
    encoding: float | None  # of the class `explained`, see `FileScores`


# A mask draws its class if a noise under it has this probability of the class: more
# than all other classes together.
DRAWS = 0.5


@dataclass(frozen=True)
class FileScores:
    """Scores of one file and of the parts of its explanation.

    The explained class is the target if set, otherwise the class with the highest mean
    probability over all windows. Confidences are means of its probability over windows.
    """

    path: str
    sample_rate: int  # of the file and of the written audio, Hz
    n_samples: int  # of the file
    model_rate: int  # sample rate of the model, Hz
    channel: str  # the one used: "mean of 2", "2 of 2 (the mean cancels)", "1 of 1"
    silent: bool  # digital silence only
    predicted: str  # class
    explained: str  # class: the predicted one, or the target
    confidence: float  # of the explained class for the input, 0 to 1
    heard_confidence_in: float  # for the audio of the explanation, as written
    heard_confidence_out: float  # for the audio of the rest
    confidence_in: float  # for the masked representation, as in the papers
    confidence_out: float  # for the masked-out representation
    mask_mean: float  # 0 to 1
    # Mean probability of the class of a mask for fixed sounds under it, 0 to 1: mean
    # over the windows. None: not computed, or no sound counts (digital silence).
    encoding: float | None
    # Sound to the probability of `explained` under its masks, 0 to 1: mean over the
    # windows explained for it. Without sounds that do not count; None: not computed.
    on_sounds: dict[str, float] | None
    windows: tuple[WindowScores, ...]  # in order; one if the file was not cut

    @property
    def windows_explained(self) -> int:
        """Number of windows whose mask is that of the explained class."""
        return sum(window.explained == self.explained for window in self.windows)

    def row(self) -> dict[str, float | str | None]:
        """Return the row of `explanations.csv`."""
        return {
            **self._of_file(),
            "predicted": self.predicted,
            "explained": self.explained,
            "confidence": self.confidence,
            "heard_confidence_in": self.heard_confidence_in,
            "heard_confidence_out": self.heard_confidence_out,
            "confidence_explanation": self.confidence_in,
            "confidence_rest": self.confidence_out,
            **self._of_mask(),
        }

    def title(self) -> str:
        """Return the title of its picture."""
        subject = f"{self.explained}, confidence"
        if len(self.windows) > 1:
            subject = (
                f"{self.explained} in {self.windows_explained} of {len(self.windows)} "
                "windows, mean confidence"
            )
        return (
            f"{self._name}: {subject} {self.confidence:.2f}, explanation alone "
            f"{self.heard_confidence_in:.2f}, rest {self.heard_confidence_out:.2f}"
        )

    def warning(self) -> str | None:
        """Return a sentence if a noise under the mask has the explained class."""
        noises = {n: p for n, p in (self.on_sounds or {}).items() if n in NOISE_NAMES}
        noise = max(noises, key=lambda name: noises[name], default="")
        if not noise or noises[noise] <= DRAWS:
            return None
        masks = "this mask makes" if len(self.windows) == 1 else "its masks make"
        return (
            f"on {noise} {masks} the classifier say {readable(self.explained)} "
            f"({noises[noise]:.2f}): read it with care"
        )

    @property
    def _name(self) -> str:
        return readable(Path(self.path).name)

    def _of_file(self) -> dict[str, float | str | None]:
        return {
            "file": self.path,
            "seconds": self.n_samples / self.sample_rate,
            "sample_rate": self.sample_rate,
        }

    def _of_mask(self) -> dict[str, float | str | None]:
        checked = {} if self.on_sounds is None else {"encoding": self.encoding}
        return {
            "mask_mean": self.mask_mean,
            **checked,
            "windows": len(self.windows),
            "windows_explained": self.windows_explained,
            "channel": self.channel,
            "silent": self.silent,
        }


@dataclass(frozen=True)
class PromptScores(FileScores):
    """Scores of a zero-shot model for one file and one prompt, `explained`.

    Confidences are softmax probabilities over the prompts; similarities are cosines of
    the CLAP's embeddings, which do not depend on the other prompts.
    """

    similarity: float  # cosine of the input and the prompt, -1 to 1
    heard_similarity_in: float  # of the audio of the explanation, as written
    heard_similarity_out: float  # of the audio of the rest
    similarity_in: float  # of the masked representation
    similarity_out: float  # of the masked-out representation

    def row(self) -> dict[str, float | str | None]:
        """Return the row of `explanations.csv`."""
        return {
            **self._of_file(),
            "prompt": self.explained,
            "similarity": self.similarity,
            "heard_similarity_in": self.heard_similarity_in,
            "heard_similarity_out": self.heard_similarity_out,
            "similarity_explanation": self.similarity_in,
            "similarity_rest": self.similarity_out,
            **self._of_mask(),
        }

    def title(self) -> str:
        """Return the title of its picture."""
        return (
            f"{self._name}: {self.explained}, similarity "
            f"{self.similarity:.2f}, explanation alone "
            f"{self.heard_similarity_in:.2f}, rest {self.heard_similarity_out:.2f}"
        )


@dataclass(frozen=True)
class SoundsAndMaps:
    """Audio and maps of the explanation of a file."""

    input: torch.Tensor  # (N,) the used channel, at the file's rate
    explanation: torch.Tensor  # (N,) the masked-in part
    rest: torch.Tensor  # (N,) the masked-out part
    magnitude: torch.Tensor  # (T, F) of the input, at the model's rate
    mask: torch.Tensor  # (T, F), in 0..1, on the bins of magnitude
    masked_magnitude: torch.Tensor  # (T, F) of the explanation


@dataclass(frozen=True)
class FileExplanation(SoundsAndMaps, FileScores):
    """Explanation of one file: `FileScores` with `SoundsAndMaps`."""


@dataclass(frozen=True)
class PromptExplanation(SoundsAndMaps, PromptScores):
    """Explanation of one file for a prompt: `PromptScores` with `SoundsAndMaps`."""


Explained = FileExplanation | PromptExplanation
