"""Conditions of an evaluation: clean clips and mixtures.

A condition is an object with ``open(dataset, manifest_folder, split, labels)``, which
prepares missing files and returns `ConditionClips`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speechbrain_lmac.data.contaminants import PROTOCOLS, Contaminant, Nothing
from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.data.events import event_times
from speechbrain_lmac.data.mixture_manifest import (
    check_files,
    prepare_mixtures,
    read_clips,
    sounds_of,
)
from speechbrain_lmac.data.mixtures import Entry, MixtureClips
from speechbrain_lmac.data.sources import FolderStems
from speechbrain_lmac.utils.hashing import json_hash

UNKNOWN_CLASS = -1


@dataclass(frozen=True)
class GroundTruth:
    """The known facts about clips: functions of a list of B ids, None where unknown.

    Arguments
    ---------
    stems : callable, optional
        Returns foreground and background, waveforms (B, N) whose sum is the clip.
    classes : callable, optional
        Returns the class indices of foreground and background, (B,) each, int64,
        `UNKNOWN_CLASS` for a background that belongs to no class.
    events : callable, optional
        Returns start and end of the event of the clip's class, seconds, (B,) each,
        float64.
    """

    stems: Callable[[list[str]], tuple[torch.Tensor, torch.Tensor]] | None = None
    classes: Callable[[list[str]], tuple[torch.Tensor, torch.Tensor]] | None = None
    events: Callable[[list[str]], tuple[torch.Tensor, torch.Tensor]] | None = None

    def of(
        self, ids: list[str], device: str | torch.device = "cpu"
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Return the values of each known fact about clips.

        Arguments
        ---------
        ids : list of str
            B ids.
        device : str
            Device of the values.

        Returns
        -------
        known : dict
            Name of a field to its two tensors, (B, N) or (B,).
        """
        functions = {
            "stems": self.stems,
            "classes": self.classes,
            "events": self.events,
        }
        known = {}
        for name, function in functions.items():
            if function is not None:
                first, second = function(ids)
                known[name] = (first.to(device), second.to(device))
        return known


def explained_source(
    target: torch.Tensor,
    stems: Sequence[torch.Tensor],
    classes: Sequence[torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the stem of the explained class, and the other stem.

    Arguments
    ---------
    target : torch.Tensor
        The explained classes, shape (B,), int64.
    stems : (torch.Tensor, torch.Tensor)
        Foreground and background, shape (B, N) each.
    classes : (torch.Tensor, torch.Tensor), optional
        Their classes, shape (B,) each, see `GroundTruth`. Default: the explained source
        is the foreground.

    Returns
    -------
    own, other : torch.Tensor
        Shape (B, N).
    known : torch.Tensor
        Shape (B,), bool: false where the explained class is that of neither source, or
        of both.

    Example
    -------
    >>> stems = torch.tensor([[1.0], [1.0], [1.0]]), torch.tensor([[2.0], [2.0], [2.0]])
    >>> classes = torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])
    >>> own, other, known = explained_source(torch.tensor([0, 1, 2]), stems, classes)
    >>> own.flatten(), known
    (tensor([1., 2., 1.]), tensor([ True,  True, False]))
    """
    foreground, background = stems
    if classes is None:
        return foreground, background, torch.ones_like(target, dtype=torch.bool)
    first, second = classes
    swapped = ((target == second) & (target != first))[:, None]
    own = torch.where(swapped, background, foreground)
    other = torch.where(swapped, foreground, background)
    return own, other, (target == first) ^ (target == second)


@dataclass(frozen=True)
class ConditionClips:
    """The clips of a condition, with the ground truth about them."""

    clips: MixtureClips  # items for `dataset.collate_clips`
    truth: GroundTruth
    fingerprint: str  # a hash of all inputs of the samples
    description: str  # one line
    bases: Mapping[str, str] | None = None  # id of a mixture to that of its clip

    def bases_of(self, ids: Iterable[str]) -> list[str]:
        """Return the clip of each id: itself, unless it is a mixture of another.

        Example
        -------
        >>> opened = ConditionClips(
        ...     None, GroundTruth(), "", "", {"dog+0": "dog", "dog+1": "dog"}
        ... )
        >>> opened.bases_of(["dog+0", "dog+1", "rain"])
        ['dog', 'dog', 'rain']
        """
        bases = self.bases or {}
        return [bases.get(name, name) for name in ids]


def source_classes(
    entries: Mapping[str, Entry],
    categories: Mapping[str, str],
    labels: Sequence[str],
) -> Callable[[list[str]], tuple[torch.Tensor, torch.Tensor]] | None:
    """Return a function from ids to the classes of their sources, see `GroundTruth`.

    Arguments
    ---------
    entries : dict
        Id to entry (`speechbrain_lmac.data.mixtures`).
    categories : dict
        Name of a file to its class name, of the dataset's clips.
    labels : list
        Class names in the order of the classifier's logits.

    Returns
    -------
    classes : callable or None
        None unless a background is a clip of the dataset.

    Example
    -------
    >>> entry = {"category": "dog", "background": {"pieces": [{"wav": "rain.wav"}]}}
    >>> classes = source_classes({"a": entry}, {"rain.wav": "rain"}, ["dog", "rain"])
    >>> classes(["a"])
    (tensor([0]), tensor([1]))
    """
    indices = {}
    for name, entry in entries.items():
        pieces = (entry["background"] or {}).get("pieces", ())
        found = {categories.get(piece["wav"]) for piece in pieces}
        known = len(found) == 1 and found <= set(labels)
        background = labels.index(found.pop()) if known else UNKNOWN_CLASS
        indices[name] = (labels.index(entry["category"]), background)
    if all(background == UNKNOWN_CLASS for _, background in indices.values()):
        return None

    def classes(ids: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        foreground, background = torch.tensor([indices[name] for name in ids]).T
        return foreground, background

    return classes


class MixtureCondition:
    """Mixtures of clips and contaminants, frozen in a manifest.

    Arguments
    ---------
    contaminants : Contaminant
        From `speechbrain_lmac.data.contaminants`.
    protocol : str
        "own" or "published", see `contaminants.PROTOCOLS`.
    gains : (float, float), optional
        Gains of clip and contaminant, both at unit energy. None: the published ones.
    snr_db : float, optional
        SNR in dB, instead of gains.
    per_clip : int
        Number of mixtures per clip.
    seed : int
        Seed of all random draws.
    """

    def __init__(
        self,
        contaminants: Contaminant,
        protocol: str = "own",
        gains: Sequence[float] | None = None,
        snr_db: float | None = None,
        per_clip: int = 2,
        seed: int = 1234,
    ) -> None:
        self.contaminants = contaminants
        self.options: dict[str, Any] = {
            "protocol": protocol,
            "gains": gains,
            "snr_db": snr_db,
            "per_clip": per_clip,
            "seed": seed,
        }

    def open(
        self,
        dataset: ClipDataset,
        manifest_folder: Path | str,
        split: str,
        labels: Sequence[str],
    ) -> ConditionClips:
        """Freeze the mixtures if they are not yet frozen, and check their files.

        Arguments
        ---------
        dataset : ClipDataset
            After its `prepare_manifests`.
        manifest_folder : str or Path
            The folder of its manifests.
        split : str
            "train", "valid" or "test".
        labels : list
            Class names in the order of the classifier's logits.

        Returns
        -------
        condition : ConditionClips
            Its mixtures have a peak of 1; their stems sum to them.

        Raises
        ------
        InputError
            As `prepare_mixtures`; or a file is missing or changed; or a class is not in
            `labels`.
        """
        dataset.check_labels(labels)
        path, record = prepare_mixtures(
            dataset, manifest_folder, split, self.contaminants, **self.options
        )
        sounds = sounds_of(dataset, self.contaminants)
        check_files(path, record, sounds)
        protocol = PROTOCOLS[record["protocol"]]
        categories = {
            clip["wav"]: clip["category"]
            for part in {protocol.base_split(split), protocol.other_split(split)}
            for clip in read_clips(manifest_folder, part).values()
        }
        clips = MixtureClips(
            record["clips"], sounds, record["n_samples"], record["sample_rate"], labels
        )
        return ConditionClips(
            clips=clips,
            truth=GroundTruth(
                stems=clips.stems,
                classes=source_classes(record["clips"], categories, labels),
                events=event_times(record["clips"]),
            ),
            fingerprint=json_hash(record),
            description=record["description"],
            bases={name: entry["base"] for name, entry in record["clips"].items()},
        )


class CleanCondition(MixtureCondition):
    """The unchanged clips, without stems."""

    def __init__(self) -> None:
        super().__init__(Nothing(), per_clip=1)

    def open(
        self,
        dataset: ClipDataset,
        manifest_folder: Path | str,
        split: str,
        labels: Sequence[str],
    ) -> ConditionClips:
        """Open the clips of a split without stems.

        Arguments
        ---------
        dataset, manifest_folder, split, labels
            As in `MixtureCondition.open`.

        Returns
        -------
        condition : ConditionClips
        """
        opened = super().open(dataset, manifest_folder, split, labels)
        return ConditionClips(
            clips=opened.clips,
            truth=GroundTruth(),
            fingerprint=opened.fingerprint,
            description=opened.description,
            bases=opened.bases,
        )


class StemCondition(MixtureCondition):
    """The unchanged clips, with stems in a folder (generated sounds).

    Arguments
    ---------
    folder : str or Path
        Contains ``foreground/ID.wav`` and ``background/ID.wav``, whose sum is the clip.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(Nothing(), per_clip=1)
        self.folder = folder

    def open(
        self,
        dataset: ClipDataset,
        manifest_folder: Path | str,
        split: str,
        labels: Sequence[str],
    ) -> ConditionClips:
        """Open the clips of a split with the stems of the folder.

        Arguments
        ---------
        dataset, manifest_folder, split, labels
            As in `MixtureCondition.open`.

        Returns
        -------
        condition : ConditionClips

        Raises
        ------
        InputError
            As `MixtureCondition.open`, or stems are missing.
        """
        opened = super().open(dataset, manifest_folder, split, labels)
        stems = FolderStems(self.folder, dataset.sample_rate, dataset.n_samples)
        stems.check(opened.clips.ids)
        return ConditionClips(
            clips=opened.clips,
            truth=GroundTruth(stems=stems),
            fingerprint=json_hash([opened.fingerprint, stems.states(opened.clips.ids)]),
            description=f"{opened.description}; stems known",
            bases=opened.bases,
        )
