"""What is given back of an explanation: of a batch, of a file, for a prompt."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class BatchExplanation:
    """Waveforms, explained. B of them, of N samples; C classes.

    The maps lie on the STFT: T frames, F bins.
    """

    labels: list  # B classes, those that are explained
    predicted: list  # B classes, those that the model decided for
    confidence: torch.Tensor  # (B,) of the explained class for the input, 0 to 1
    confidence_in: torch.Tensor  # (B,) for the explanation
    confidence_out: torch.Tensor  # (B,) for the rest
    explanation: torch.Tensor  # (B, N) what the mask keeps, at the input's level
    rest: torch.Tensor  # (B, N) what it leaves
    mask: torch.Tensor  # (B, T, F), in 0..1
    mask_mean: torch.Tensor  # (B,), in 0..1, of the recording without its padding
    magnitude: torch.Tensor  # (B, T, F) of the input as the model heard it
    masked_magnitude: torch.Tensor  # (B, T, F) of the explanation
    logits: torch.Tensor  # (B, C) of the input
    logits_in: torch.Tensor  # (B, C) of the explanation
    logits_out: torch.Tensor  # (B, C) of the rest


def join_batches(parts, order, n_samples, n_frames):
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


def _padded(values, size):
    """Values (B, N) or (B, N, F), followed by zeros up to `size` of N."""
    behind = (0, 0) * (values.ndim - 2)
    return F.pad(values, (*behind, 0, size - values.shape[1]))


@dataclass(frozen=True)
class WindowScores:
    """What the model says of a part of a file that is explained in windows."""

    start: float  # s
    end: float  # s
    predicted: str  # class
    explained: str  # class: the predicted one, or the one that was asked for
    confidence: float  # of the explained class, 0 to 1
    confidence_in: float
    confidence_out: float


@dataclass(frozen=True)
class FileExplanation:
    """One file, explained.

    A long file is explained in windows, each for the class that is predicted in it: the
    confidences are means over them, `predicted` is the class of the highest mean.
    """

    path: str
    sample_rate: int  # of the file and of the waveforms below, Hz
    input: torch.Tensor  # (N,) the file as the model heard it
    explanation: torch.Tensor  # (N,) what the mask keeps
    rest: torch.Tensor  # (N,) what it leaves
    model_rate: int  # of what the model heard, Hz
    magnitude: torch.Tensor  # (T, F) of the input, at the model's rate
    mask: torch.Tensor  # (T, F), in 0..1, on the bins of magnitude
    masked_magnitude: torch.Tensor  # (T, F) of the explanation
    predicted: str  # class
    explained: str  # class: the predicted one, or the one that was asked for
    confidence: float  # of the explained class for the input, 0 to 1
    confidence_in: float  # for the explanation
    confidence_out: float  # for the rest
    mask_mean: float  # 0 to 1
    windows: tuple  # of WindowScores, in time; one where the file was heard as a whole

    def row(self):
        """The line of `explanations.csv`."""
        return {
            "file": self.path,
            "seconds": len(self.input) / self.sample_rate,
            "sample_rate": self.sample_rate,
            "predicted": self.predicted,
            "explained": self.explained,
            "confidence": self.confidence,
            "confidence_explanation": self.confidence_in,
            "confidence_rest": self.confidence_out,
            "mask_mean": self.mask_mean,
            "silent": not bool(self.input.any()),
        }

    def title(self):
        """What stands over its picture."""
        what = f"{self.explained},"
        if len(self.windows) > 1:
            what = f"{len(self.windows)} windows, most like {self.explained}; mean"
        return (
            f"{Path(self.path).name}: {what} confidence "
            f"{self.confidence:.2f}, explanation alone "
            f"{self.confidence_in:.2f}, rest {self.confidence_out:.2f}"
        )


@dataclass(frozen=True)
class PromptExplanation(FileExplanation):
    """One file, explained for a prompt, which is `explained`.

    The confidences are among the prompts that were asked for; what tells of one of
    them alone is how near it is to the sound, by the CLAP.
    """

    similarity: float  # cosine of the input and the prompt, -1 to 1
    similarity_in: float  # of the explanation
    similarity_out: float  # of the rest

    def row(self):
        """The line of `explanations.csv`."""
        row = super().row()
        return {
            "file": row["file"],
            "seconds": row["seconds"],
            "sample_rate": row["sample_rate"],
            "prompt": self.explained,
            "similarity": self.similarity,
            "similarity_explanation": self.similarity_in,
            "similarity_rest": self.similarity_out,
            "mask_mean": row["mask_mean"],
            "silent": row["silent"],
        }

    def title(self):
        """What stands over its picture."""
        return (
            f"{Path(self.path).name}: {self.explained}, similarity "
            f"{self.similarity:.2f}, explanation alone "
            f"{self.similarity_in:.2f}, rest {self.similarity_out:.2f}"
        )
