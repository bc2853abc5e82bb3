"""The conditions of an evaluation: clean clips, clips with something added.

A condition is an object with ``open(dataset, manifest_folder, split, labels)``, which
prepares what is missing and gives `ConditionClips`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from speechbrain_lmac.data.contaminants import Nothing
from speechbrain_lmac.data.mixture_manifest import (
    check_files,
    prepare_mixtures,
    sounds_of,
)
from speechbrain_lmac.data.mixtures import MixtureClips
from speechbrain_lmac.data.sources import FolderStems
from speechbrain_lmac.utils.hashing import json_hash


@dataclass(frozen=True)
class ConditionClips:
    """The clips of a condition, and what is known of them."""

    clips: torch.utils.data.Dataset  # items for `dataset.collate_clips`
    stems: Callable | None  # ids to (foreground, background), each (B, N), or unknown
    fingerprint: str  # of all that the samples are a function of
    description: str  # one line


class MixtureCondition:
    """Clips to which something is added, as a manifest has frozen it.

    Arguments
    ---------
    contaminants : object
        From `speechbrain_lmac.data.contaminants`.
    protocol : str
        "own" or "published", see there.
    gains : sequence, optional
        Of clip and contaminant, both at unit energy. Without: the published ones.
    snr_db : float, optional
        Instead of gains.
    per_clip : int
        Mixtures of each clip.
    seed : int
        Of all draws.
    """

    def __init__(
        self,
        contaminants,
        protocol: str = "own",
        gains: list[int] | None = None,
        snr_db: float | str | None = None,
        per_clip: int = 2,
        seed: int = 1234,
    ):
        self.contaminants = contaminants
        self.options = {
            "protocol": protocol,
            "gains": gains,
            "snr_db": snr_db,
            "per_clip": per_clip,
            "seed": seed,
        }

    def open(
        self,
        dataset,
        manifest_folder: Path | str,
        split: str,
        labels: list[str] | tuple[str, ...],
    ) -> ConditionClips:
        """Freeze the mixtures where that was not done, and check their files.

        Arguments
        ---------
        dataset : ClipDataset
            Its `prepare_manifests` was called.
        manifest_folder : str or Path
            What it was given.
        split : str
            "train", "valid" or "test".
        labels : list
            Class names in the order of the classifier's logits.

        Returns
        -------
        condition : ConditionClips
            With stems at the level that the model hears.

        Raises
        ------
        InputError
            See `prepare_mixtures`; a file that is gone or has changed since; a class
            that the classifier does not know.
        """
        dataset.check_labels(labels)
        path, record = prepare_mixtures(
            dataset, manifest_folder, split, self.contaminants, **self.options
        )
        sounds = sounds_of(dataset, self.contaminants)
        check_files(path, record, sounds)
        clips = MixtureClips(
            record["clips"], sounds, record["n_samples"], record["sample_rate"], labels
        )
        return ConditionClips(
            clips=clips,
            stems=clips.stems,
            fingerprint=json_hash(record),
            description=record["description"],
        )


class CleanCondition(MixtureCondition):
    """The clips as they are; what in a recording belongs to its class is not known."""

    def __init__(self):
        super().__init__(Nothing(), per_clip=1)

    def open(
        self,
        dataset,
        manifest_folder: Path | str,
        split: str,
        labels: list[str] | tuple[str, ...],
    ) -> ConditionClips:
        """The clips of a split; see `MixtureCondition.open`. There are no stems."""
        opened = super().open(dataset, manifest_folder, split, labels)
        return ConditionClips(
            clips=opened.clips,
            stems=None,
            fingerprint=opened.fingerprint,
            description=opened.description,
        )


class StemCondition(MixtureCondition):
    """The clips as they are, whose two stems lie in a folder (generated sounds).

    Arguments
    ---------
    folder : str
        With ``foreground/ID.wav`` and ``background/ID.wav``, whose sum is the clip.
    """

    def __init__(self, folder):
        super().__init__(Nothing(), per_clip=1)
        self.folder = folder

    def open(
        self, dataset, manifest_folder: Path, split: str, labels: list[str]
    ) -> ConditionClips:
        """The clips of a split; see `MixtureCondition.open`."""
        opened = super().open(dataset, manifest_folder, split, labels)
        stems = FolderStems(self.folder, dataset.sample_rate, dataset.n_samples)
        stems.check(opened.clips.ids)
        return ConditionClips(
            clips=opened.clips,
            stems=stems,
            fingerprint=json_hash([opened.fingerprint, stems.states(opened.clips.ids)]),
            description=f"{opened.description}; stems known",
        )
