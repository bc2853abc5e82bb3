"""Background clips for attribution methods, drawn from the training split."""

import logging
from pathlib import Path

import torch

from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.seeding import generator

logger = logging.getLogger(__name__)


class TrainingClips:
    """Training clips, equally many of each class.

    They are loaded at the first call and cached. The draw depends on the seed and on
    the existing clips, not on their order.

    Arguments
    ---------
    dataset : ClipDataset
    manifest_folder : str or Path
        The recipe's folder with `train.json`; it may be missing until the first call.
    n_clips : int
        Number of clips, from 1. All clips, with a warning, if there are fewer.
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
                "background: expected %d clips, %s has %d",
                self.n_clips,
                manifest,
                len(chosen),
            )
        places = {item: place for place, item in enumerate(clips.data_ids)}
        return torch.stack([clips[places[item]]["signal"] for item in chosen])


def balanced_draw(classes: dict[str, str], n: int, seed: int) -> list[str]:
    """Draw names in a random order with alternating classes.

    Arguments
    ---------
    classes : dict
        Name to class.
    n : int
        Largest number of names.
    seed : int

    Returns
    -------
    names : list
        The counts of any two classes differ by 1 at most, as long as there are enough.

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
    turns = _shuffled(sorted(remaining), draw)
    rounds = max(map(len, remaining.values()), default=0)
    order = [
        remaining[turn][place]
        for place in range(rounds)
        for turn in turns
        if place < len(remaining[turn])
    ]
    return order[:n]


def _shuffled(items: list[str], draw: torch.Generator) -> list[str]:
    return [items[place] for place in torch.randperm(len(items), generator=draw)]
