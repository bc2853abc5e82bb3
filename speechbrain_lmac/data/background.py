"""Background clips for attribution methods, drawn from the training split."""

import logging
from pathlib import Path

import torch

from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.seeding import generator

logger = logging.getLogger(__name__)


class TrainingClips:
    """A class-balanced sample of training clips.

    It is loaded at the first call and cached. The draw depends on the seed and on the
    set of clips, not on their order.

    Arguments
    ---------
    dataset : ClipDataset
    manifest_folder : str or Path
        The recipe's folder with `train.json`; it may be missing until the first call.
    n_clips : int
        Number of clips, at least 1. If the split has fewer, all are used, with a
        warning.
    seed : int
    """

    def __init__(
        self,
        dataset: ClipDataset,
        manifest_folder: Path | str,
        n_clips: int,
        seed: int,
    ) -> None:
        check_counts(n_clips=n_clips)
        self.dataset = dataset
        self.manifest_folder = Path(manifest_folder)
        self.n_clips = n_clips
        self.seed = seed
        self._wav: torch.Tensor | None = None

    def __call__(self) -> torch.Tensor:
        """Return the waveforms, (n_clips, N)."""
        if self._wav is None:
            self._wav = self._load()
        return self._wav

    def _load(self) -> torch.Tensor:
        manifest = self.manifest_folder / "train.json"
        if not manifest.is_file():
            raise InputError(
                f"missing file: {manifest}. manifest_folder must be the folder of a "
                "prepared dataset, OUTPUT_FOLDER/manifest in the recipes"
            )
        clips = self.dataset.load(
            self.manifest_folder, "train", self.dataset.categories
        )
        classes = {item: clips.data[item]["category"] for item in clips.data_ids}
        chosen = balanced_draw(classes, self.n_clips, self.seed)
        if len(chosen) < self.n_clips:
            logger.warning(
                "background: expected %d clips, using the %d of %s",
                self.n_clips,
                len(chosen),
                manifest,
            )
        indices = {item: index for index, item in enumerate(clips.data_ids)}
        return torch.stack([clips[indices[item]]["signal"] for item in chosen])


def balanced_draw(classes: dict[str, str], n: int, seed: int) -> list[str]:
    """Draw clip names at random, cycling through the classes.

    Arguments
    ---------
    classes : dict
        Clip name to class.
    n : int
        Maximum number of names.
    seed : int

    Returns
    -------
    names : list
        The counts of two classes differ by at most 1, unless one has too few clips.

    Example
    -------
    >>> names = balanced_draw({"a": "dog", "b": "dog", "c": "dog", "d": "cat"}, 3, 1)
    >>> len(names), "d" in names
    (3, True)
    """
    draw = generator("background", seed)
    remaining: dict[str, list[str]] = {}
    for name in _shuffled(sorted(classes), draw):
        remaining.setdefault(classes[name], []).append(name)
    class_order = _shuffled(sorted(remaining), draw)
    rounds = max(map(len, remaining.values()), default=0)
    order = [
        remaining[category][turn]
        for turn in range(rounds)
        for category in class_order
        if turn < len(remaining[category])
    ]
    return order[:n]


def _shuffled(items: list[str], draw: torch.Generator) -> list[str]:
    return [items[index] for index in torch.randperm(len(items), generator=draw)]
