"""Results of an explanation: of a batch, of a file, for a prompt."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from speechbrain_lmac.utils.escaping import readable


@dataclass(frozen=True)
class BatchExplanation:
    """Waveforms, explained. B of them, of N samples; C classes.

    The maps lie on the STFT: T frames, F bins.
    """

    labels: list  # B classes, those that are explained
    predicted: list  # B classes, those that the model decided for
    confidence: torch.Tensor  # (B,) of the explained class for the input, 0 to 1
    heard_confidence_in: torch.Tensor  # (B,) for the waveforms `explanation`
    heard_confidence_out: torch.Tensor  # (B,) for the waveforms `rest`
    confidence_in: torch.Tensor  # (B,) for the masked representation (papers)
    confidence_out: torch.Tensor  # (B,) for what the mask leaves
    explanation: torch.Tensor  # (B, N) what the mask keeps, at the input's level
    rest: torch.Tensor  # (B, N) what it leaves
    mask: torch.Tensor  # (B, T, F), in 0..1
    mask_mean: torch.Tensor  # (B,), in 0..1, of the recording without its padding
    magnitude: torch.Tensor  # (B, T, F) of the input as the model heard it
    masked_magnitude: torch.Tensor  # (B, T, F) of the explanation
    logits: torch.Tensor  # (B, C) of the input
    logits_in: torch.Tensor  # (B, C) of the masked representation
    logits_out: torch.Tensor  # (B, C) of what the mask leaves


def join_batches(
    parts: list[BatchExplanation], order: torch.Tensor, n_samples: int, n_frames: int
) -> BatchExplanation:
    """Put explanations of batches of different lengths together.

    Arguments
    ---------
    parts : list
        Of BatchExplanation.
    order : torch.Tensor
        Where each item of the result stands in the parts, one after the other, (B,).
    n_samples, n_frames : int
        N and T of the result: what is shorter is followed by zeros.

    Returns
    -------
    joined : BatchExplanation
    """
    sizes = {
        **dict.fromkeys(("explanation", "rest"), n_samples),
        **dict.fromkeys(("mask", "magnitude", "masked_magnitude"), n_frames),
    }
    joined = {}
    for name in vars(parts[0]):
        values = [getattr(part, name) for part in parts]
        if torch.is_tensor(values[0]):
            size = sizes.get(name)
            if size is not None:
                values = [_padded(value, size) for value in values]
            joined[name] = torch.cat(values)[order]
        else:
            flat = [value for part in values for value in part]
            joined[name] = [flat[place] for place in order.tolist()]
    return BatchExplanation(**joined)


def _padded(values: torch.Tensor, size: int) -> torch.Tensor:
    """Values (B, N) or (B, N, F), followed by zeros up to `size` of N."""
    behind = (0, 0) * (values.ndim - 2)
    return F.pad(values, (*behind, 0, size - values.shape[1]))


SOUNDS = ("explanation", "rest")
MAPS = ("magnitude", "mask", "masked_magnitude")


@dataclass(frozen=True)
class WindowScores:
    """What the model says of a part of a file that is explained in windows.

    The confidences are those of the class that the file is explained for.
    """

    start: float  # s
    end: float  # s
    predicted: str  # class
    explained: str  # class of its mask: the predicted one, or the one asked for
    confidence: float  # of the file's class, 0 to 1
    heard_confidence_in: float
    heard_confidence_out: float
    confidence_in: float
    confidence_out: float


@dataclass(frozen=True)
class FileScores:
    """What the model says of one file, and of the parts of its explanation.

    The class is that of the highest mean probability over all windows, or the one that
    was asked for; each confidence is the mean over all windows of its probability.
    """

    path: str
    sample_rate: int  # of the file and of the sounds that are written, Hz
    n_samples: int  # of the file
    model_rate: int  # of what the model hears, Hz
    channel: str  # which was taken: "mean of 2", "2 of 2 (the mean cancels)", "1 of 1"
    silent: bool  # whether all of the file is digital silence
    predicted: str  # class
    explained: str  # class: the predicted one, or the one that was asked for
    confidence: float  # of the explained class for the input, 0 to 1
    heard_confidence_in: float  # for the sound of the explanation, as it is written
    heard_confidence_out: float  # for the sound of the rest
    confidence_in: float  # for the masked representation (papers)
    confidence_out: float  # for what the mask leaves
    mask_mean: float  # 0 to 1
    windows: tuple  # of WindowScores, in time; one where the file was heard as a whole

    @property
    def windows_explained(self) -> int:
        """How many windows have the mask of the explained class."""
        return sum(window.explained == self.explained for window in self.windows)

    def row(self) -> dict[str, float | str]:
        """The line of `explanations.csv`."""
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
        """What stands over its picture."""
        what = f"{self.explained}, confidence"
        if len(self.windows) > 1:
            what = (
                f"{self.explained} in {self.windows_explained} of {len(self.windows)} "
                "windows, mean confidence"
            )
        return (
            f"{self._name}: {what} {self.confidence:.2f}, explanation alone "
            f"{self.heard_confidence_in:.2f}, rest {self.heard_confidence_out:.2f}"
        )

    @property
    def _name(self) -> str:
        return readable(Path(self.path).name)

    def _of_file(self) -> dict[str, float | str]:
        return {
            "file": self.path,
            "seconds": self.n_samples / self.sample_rate,
            "sample_rate": self.sample_rate,
        }

    def _of_mask(self) -> dict[str, float | str]:
        return {
            "mask_mean": self.mask_mean,
            "windows": len(self.windows),
            "windows_explained": self.windows_explained,
            "channel": self.channel,
            "silent": self.silent,
        }


@dataclass(frozen=True)
class PromptScores(FileScores):
    """What a zero-shot model says of one file and a prompt, which is `explained`.

    The confidences are among the prompts that were asked for; what tells of one of
    them alone is how near it is to the sound, by the CLAP.
    """

    similarity: float  # cosine of the input and the prompt, -1 to 1
    heard_similarity_in: float  # of the sound of the explanation, as it is written
    heard_similarity_out: float  # of the sound of the rest
    similarity_in: float  # of the masked representation
    similarity_out: float  # of what the mask leaves

    def row(self) -> dict[str, float | str]:
        """The line of `explanations.csv`."""
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
        """What stands over its picture."""
        return (
            f"{self._name}: {self.explained}, similarity "
            f"{self.similarity:.2f}, explanation alone "
            f"{self.heard_similarity_in:.2f}, rest {self.heard_similarity_out:.2f}"
        )


@dataclass(frozen=True)
class SoundsAndMaps:
    """What is to be heard and seen of a file's explanation."""

    input: torch.Tensor  # (N,) the file as the model heard it, at the file's rate
    explanation: torch.Tensor  # (N,) what the mask keeps
    rest: torch.Tensor  # (N,) what it leaves
    magnitude: torch.Tensor  # (T, F) of the input, at the model's rate
    mask: torch.Tensor  # (T, F), in 0..1, on the bins of magnitude
    masked_magnitude: torch.Tensor  # (T, F) of the explanation


@dataclass(frozen=True)
class FileExplanation(SoundsAndMaps, FileScores):
    """One file, explained: `FileScores` with `SoundsAndMaps`."""


@dataclass(frozen=True)
class PromptExplanation(SoundsAndMaps, PromptScores):
    """One file, explained for a prompt: `PromptScores` with `SoundsAndMaps`."""
