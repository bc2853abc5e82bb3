"""Recordings with captions that people wrote, instead of classes."""

import json
from pathlib import Path

from speechbrain_lmac.data.class_captions import choose
from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator


class CaptionDataset(ClipDataset):
    """A prepared dataset of recordings with captions; see `ClipDataset`.

    It has no classes: batches have no labels.

    Arguments
    ---------
    prepare : callable
        Of `data_prep.captions_prepare`: ``prepare(data_folder, manifest_folder)``.
    data_folder, sample_rate, clip_seconds, cache_folder, terms
        See `ClipDataset`.
    """

    def __init__(
        self,
        prepare,
        data_folder,
        sample_rate: int,
        clip_seconds: float = 10.0,
        cache_folder: str | None = None,
        terms=None,
    ):
        super().__init__(
            prepare, data_folder, [], 0, sample_rate, clip_seconds, cache_folder, terms
        )

    def prepare_manifests(self, manifest_folder: Path):
        """Check the dataset and write its manifests (only when it changed)."""
        return self.prepare(self.data_folder, manifest_folder)

    def class_order(self, manifest_folder: Path, stored: list[str] | None) -> list[str]:
        """The classes of a classifier that brings its own; the dataset has none."""
        if stored is None:
            raise InputError(
                f"{self.data_folder} has captions but no classes, and the classifier "
                "does not name its own"
            )
        return stored

    def load(self, manifest_folder: Path, split: str, labels: list[str]):
        """The recordings of one split, `id`, `signal` and `lens`; see `ClipDataset`."""
        return self.signals(manifest_folder, split)


class WrittenPrompts:
    """Each clip is asked about one of its own captions; see `prompts`.

    Which one is a function of the clip and of the batch that it is in: another in the
    next epoch of a training, always the same in a validation.

    Arguments
    ---------
    manifest_folder : str or Path
        Where the recipe has its manifests, OUTPUT_FOLDER/manifest; they are read when
        the first batch is asked for.
    """

    def __init__(self, manifest_folder: Path):
        self.manifest_folder = Path(manifest_folder)
        self._captions = None

    def of(self, batch) -> list[str]:
        """A caption of each clip of a `ClipBatch`, B sentences."""
        if self._captions is None:
            self._captions = {}
            for split in ("train", "valid", "test"):
                path = self.manifest_folder / f"{split}.json"
                clips = json.loads(path.read_text(encoding="utf-8"))
                self._captions |= {n: c["captions"] for n, c in clips.items()}
        return [
            choose(self._captions[clip], generator("written", clip, *batch.ids))
            for clip in batch.ids
        ]
