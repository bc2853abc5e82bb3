"""Datasets of recordings with captions instead of classes."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_lmac.data.class_captions import choose
from speechbrain_lmac.data.dataset import ClipBatch, ClipDataset
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

if TYPE_CHECKING:
    from speechbrain.dataio.dataset import DynamicItemDataset

    from speechbrain_lmac.data_prep.manifest import Manifests


class CaptionDataset(ClipDataset):
    """A prepared dataset of recordings with captions; see `ClipDataset`.

    It has no classes, so batches have no labels.

    Arguments
    ---------
    prepare : callable
        From `data_prep.captions_prepare`: ``prepare(data_folder, manifest_folder)``.
    data_folder, sample_rate, clip_seconds, cache_folder, terms
        See `ClipDataset`.
    """

    def __init__(
        self,
        prepare: Callable[[str | Path, str | Path], "Manifests"],
        data_folder: str | Path,
        sample_rate: int,
        clip_seconds: float = 10.0,
        cache_folder: str | Path | None = None,
        terms: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            prepare, data_folder, [], 0, sample_rate, clip_seconds, cache_folder, terms
        )

    def prepare_manifests(self, manifest_folder: str | Path) -> "Manifests":
        """Check the dataset and write its manifests (only when it changed)."""
        return self.prepare(self.data_folder, manifest_folder)

    def class_order(
        self, manifest_folder: str | Path, stored: list[str] | None
    ) -> list[str]:
        """Return `stored`, the classifier's class names; the dataset has none."""
        if stored is None:
            raise InputError(
                f"{self.data_folder} has captions but no classes, and the classifier "
                "has no class names either: use a dataset with classes, or a "
                "classifier with class names"
            )
        return stored

    def load(
        self, manifest_folder: str | Path, split: str, labels: Sequence[str]
    ) -> "DynamicItemDataset":
        """Load the recordings of one split without labels.

        Arguments
        ---------
        manifest_folder, split, labels
            As in `ClipDataset.load`; `labels` is unused.

        Returns
        -------
        dataset : DynamicItemDataset
            With `id`, `signal` (N,) and `lens`.
        """
        return self.signals(manifest_folder, split)


class WrittenPrompts:
    """A caption of each clip as its prompt; see `prompts`.

    The draw depends on the clip and on its batch: it differs between the epochs of a
    training and is the same in every validation.

    Arguments
    ---------
    manifest_folder : str or Path
        The recipe's manifests, OUTPUT_FOLDER/manifest; read at the first batch.
    """

    def __init__(self, manifest_folder: str | Path) -> None:
        self.manifest_folder = Path(manifest_folder)
        self._captions: dict[str, list[str]] | None = None

    def of(self, batch: ClipBatch) -> list[str]:
        """Return a caption for each clip of a batch, B sentences."""
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
