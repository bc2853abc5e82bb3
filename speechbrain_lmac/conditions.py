"""The conditions of an evaluation: clean clips, clips with something added.

A condition is an object with ``open(dataset, manifest_folder, split, labels)``, which
prepares what is missing and gives `ConditionClips`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from speechbrain_lmac.audio import fix_length, read_mono
from speechbrain_lmac.contaminants import Nothing
from speechbrain_lmac.errors import InputError, some_of
from speechbrain_lmac.mixture_manifest import (
    check_files,
    hash_of,
    prepare_mixtures,
    sounds_of,
)
from speechbrain_lmac.mixtures import MixtureClips


@dataclass(frozen=True)
class ConditionClips:
    """The clips of a condition, and what is known of them."""

    clips: torch.utils.data.Dataset  # items for `dataio.collate_clips`
    stems: Callable | None  # ids to (foreground, background), each (B, N), or unknown
    fingerprint: str  # of all that the samples are a function of
    description: str  # one line


class MixtureCondition:
    """Clips to which something is added, as a manifest has frozen it.

    Arguments
    ---------
    contaminants : object
        From `speechbrain_lmac.contaminants`.
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
        protocol="own",
        gains=None,
        snr_db=None,
        per_clip=2,
        seed=1234,
    ):
        self.contaminants = contaminants
        self.options = {
            "protocol": protocol,
            "gains": gains,
            "snr_db": snr_db,
            "per_clip": per_clip,
            "seed": seed,
        }

    def open(self, dataset, manifest_folder, split, labels):
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
            fingerprint=hash_of(record),
            description=record["description"],
        )


class CleanCondition(MixtureCondition):
    """The clips as they are; what in a recording belongs to its class is not known."""

    def __init__(self):
        super().__init__(Nothing(), per_clip=1)

    def open(self, dataset, manifest_folder, split, labels):
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

    def open(self, dataset, manifest_folder, split, labels):
        """The clips of a split; see `MixtureCondition.open`."""
        opened = super().open(dataset, manifest_folder, split, labels)
        stems = FolderStems(self.folder, dataset.sample_rate, dataset.n_samples)
        stems.check(opened.clips.ids)
        return ConditionClips(
            clips=opened.clips,
            stems=stems,
            fingerprint=hash_of([opened.fingerprint, stems.states(opened.clips.ids)]),
            description=f"{opened.description}; stems known",
        )


class FolderStems:
    """Stems of clips from a folder, at the level that the model hears.

    Arguments
    ---------
    folder : str
        With ``foreground/ID.wav`` and ``background/ID.wav``.
    sample_rate : int
        Of the model, Hz.
    n_samples : int
        Length of a clip.
    """

    def __init__(self, folder, sample_rate, n_samples):
        self.folder = Path(str(folder))
        self.sample_rate = sample_rate
        self.n_samples = n_samples

    def __call__(self, ids):
        """Foreground and background of each id, two tensors (B, N)."""
        stems = torch.stack(
            [torch.stack([self.read(path) for path in self.paths(c)]) for c in ids]
        )
        # The clip is divided by its largest absolute sample; so are its parts.
        peak = stems.sum(1).abs().amax(1)[:, None, None]
        stems = stems / torch.where(peak > 0, peak, 1.0)
        return stems[:, 0], stems[:, 1]

    def paths(self, clip):
        """The files of the foreground and of the background."""
        return [self.folder / n / f"{clip}.wav" for n in ("foreground", "background")]

    def read(self, path):
        """One stem (N,) at the file's level."""
        return fix_length(read_mono(path, self.sample_rate), self.n_samples)

    def check(self, ids):
        """Refuse a folder that lacks a stem."""
        missing = [p for clip in ids for p in self.paths(clip) if not p.is_file()]
        if missing:
            raise InputError(
                f"{self.folder} lacks stems ({len(missing)}): {some_of(missing)}"
            )

    def states(self, ids):
        """Size and time of change of every file."""
        stats = [path.stat() for clip in ids for path in self.paths(clip)]
        return [[stat.st_size, stat.st_mtime_ns] for stat in stats]
