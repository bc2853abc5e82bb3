"""Classifiers of waveforms with named tags, and a map from classes to tags."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from speechbrain_lmac.classifiers.padding import by_length
from speechbrain_lmac.classifiers.zoo.yamnet import TrainedYAMNet
from speechbrain_lmac.domains.stft import recorded_samples
from speechbrain_lmac.dsp.audio import resample
from speechbrain_lmac.utils.errors import InputError, check_numbers, some_of

# A peak, of a full scale of 1, up to which a waveform is silent: a third of a 16-bit
# step. The listener's level would amplify rounding noise.
SILENT_PEAK = 1e-5


class TagClassifier(Protocol):
    """Any classifier of waveforms: `TrainedYAMNet`, or one in `ClassifierTags`."""

    @property
    def tags(self) -> Sequence[str]:
        """Names of the K scores."""

    def scores(self, wav: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """Return scores (B, K) of waveforms (B, N); higher: a more likely tag.

        `sample_rate`: that of the waveforms, Hz. The scores of a waveform do not depend
        on the others of the batch.
        """


class BatchClassifier(Protocol):
    """An `inference.AudioClassifier`, or an object with the same members."""

    @property
    def labels(self) -> Sequence[str]:
        """C class names."""

    @property
    def sample_rate(self) -> int:
        """Rate of its waveforms, Hz."""

    def classify_batch(self, wavs: torch.Tensor) -> tuple[torch.Tensor, Any, Any, Any]:
        """Return probabilities (B, C) of waveforms (B, N), and three other values."""


class ClassifierTags(torch.nn.Module):
    """An `AudioClassifier` as a `TagClassifier`: its classes are the tags.

    Arguments
    ---------
    classifier : speechbrain_lmac.inference.AudioClassifier
        Or any `BatchClassifier`. Waveforms of another rate are resampled.
    """

    classifier: BatchClassifier

    def __init__(self, classifier: BatchClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    @property
    def tags(self) -> list[str]:
        """The C class names."""
        return list(self.classifier.labels)

    @torch.no_grad()
    def scores(self, wav: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """Return probabilities (B, C) of waveforms (B, N) at `sample_rate`, Hz."""
        wav = resample(wav, sample_rate, self.classifier.sample_rate)
        return self.classifier.classify_batch(wav)[0]


class SecondListener(torch.nn.Module):
    """A classifier with a map from the explained classes to its tags.

    Arguments
    ---------
    classifier : TagClassifier
    tags : dict
        Class name to one or more tags. Classes that are not explained have no effect.
    level : float
        Peak of the waveforms that it gets, above 0 and at most 1.

    Raises
    ------
    InputError
        For an unknown tag, and for a level outside of its range.
    """

    classifier: TagClassifier

    def __init__(
        self,
        classifier: TagClassifier,
        tags: Mapping[str, Sequence[str]],
        level: float = 0.3,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.tags = {str(name): list(mapped) for name, mapped in tags.items()}
        self.level = check_level(level)
        known = set(classifier.tags)
        for name, mapped in self.tags.items():
            for tag in mapped:
                if tag not in known:
                    raise InputError(_unknown_tag(name, tag, classifier.tags))

    def tag_indices(self, labels: Sequence[str]) -> list[list[int]]:
        """Return the indices of the tags of each class.

        Raises
        ------
        InputError
            For classes without a tag, with their names.
        """
        missing = [label for label in labels if not self.tags.get(label)]
        if missing:
            raise InputError(
                f"the second listener has no tag for {some_of(missing)}: add them to "
                "its `tags`, e.g. tags: {dog: [Dog, Bark]}"
            )
        index_of = {tag: index for index, tag in enumerate(self.classifier.tags)}
        return [[index_of[tag] for tag in self.tags[label]] for label in labels]

    @torch.no_grad()
    def class_scores(
        self,
        wav: torch.Tensor,
        sample_rate: int,
        labels: Sequence[str],
        level: float | None = None,
        lens: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the largest score of the tags of each class, for waveforms.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N), of any level.
        sample_rate : int
            Hz.
        labels : sequence of str
            C class names.
        level : float, optional
            Peak of the waveforms. Default: the listener's.
        lens : torch.Tensor, optional
            Shape (B,): share of each waveform before the padding, which is cut off.

        Returns
        -------
        scores : torch.Tensor
            Shape (B, C), float64. NaN for a silent waveform (`SILENT_PEAK`), and for
            one that is not finite.
        """
        level = self.level if level is None else check_level(level)
        tags = self.tag_indices(labels)
        scores = torch.full(
            (len(wav), len(tags)), torch.nan, dtype=torch.float64, device=wav.device
        )
        peak = wav.abs().amax(1)
        # Comparisons with NaN are false.
        audible = (peak > SILENT_PEAK) & (peak < torch.inf)
        n_samples = wav.shape[1]
        lengths = torch.full((len(wav),), n_samples, device=wav.device)
        if lens is not None:
            lengths = recorded_samples(lens, n_samples).clamp(min=1).to(wav.device)
        for own, length in by_length(lengths[audible]):
            clips = audible.nonzero().flatten()[own]
            sound = level * wav[clips, :length] / peak[clips, None]
            of_tags = self.classifier.scores(sound, sample_rate).to(wav.device)
            scores[clips] = largest_tags(of_tags.double(), tags)
        return scores


def yamnet_listener(
    source: Path | str, tags: Mapping[str, Sequence[str]], level: float = 0.3
) -> SecondListener | None:
    """Return YAMNet as a second listener, or None for an empty `source`.

    Arguments
    ---------
    source : str or Path
        A folder or a hub id with YAMNet's files, see `TrainedYAMNet`; "": no listener.
    tags, level
        As in `SecondListener`.

    Returns
    -------
    listener : SecondListener or None

    Raises
    ------
    InputError
        As `TrainedYAMNet` and `SecondListener`.
    """
    if source == "":
        return None
    return SecondListener(TrainedYAMNet(source), tags, level)


def largest_tags(
    tag_scores: torch.Tensor, tags: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Return the largest score among the tags of each class.

    Arguments
    ---------
    tag_scores : torch.Tensor
        Shape (B, K).
    tags : sequence
        C sequences: the tags of each class, indices below K.

    Returns
    -------
    scores : torch.Tensor
        Shape (B, C).

    Example
    -------
    >>> largest_tags(torch.tensor([[0.1, 0.7, 0.4]]), [[0, 2], [1]])
    tensor([[0.4000, 0.7000]])
    """
    return torch.stack([tag_scores[:, list(own)].amax(1) for own in tags], 1)


def check_level(level: float) -> float:
    """Return a peak level; InputError unless it is above 0 and at most 1."""
    check_numbers(0, 1, level=level)
    if level == 0:
        raise InputError("level must be above 0, got 0")
    return level


def _unknown_tag(name: str, tag: str, tags: Sequence[str]) -> str:
    """Return the message on a tag that the classifier does not have."""
    close = difflib.get_close_matches(str(tag), tags, n=3, cutoff=0.5)
    known = f"did you mean {some_of(close)}?" if close else f"it has {some_of(tags)}"
    return f"the second listener has no tag {tag!r} for {name!r}; {known}"
