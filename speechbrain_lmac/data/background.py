"""Clips that a method compares with: some of the training fold, drawn once."""

import logging
from pathlib import Path

import torch

from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.seeding import generator

logger = logging.getLogger(__name__)


class TrainingClips:
    """Training clips, as many of each class as of the others.

    They are loaded at the first call and kept. Which ones depends on the seed and on
    the clips that there are, not on their order.

    Arguments
    ---------
    dataset : ClipDataset
    manifest_folder : str or Path
        Where the recipe has put `train.json`; it need not be there before the first
        call.
    n_clips : int
        How many. All there are, with a warning, if these are fewer.
    seed : int
    """

    def __init__(self, dataset, manifest_folder: Path | str, n_clips: float, seed: int):
        check_counts(n_clips=n_clips)
        self.dataset = dataset
        self.manifest_folder = Path(manifest_folder)
        self.n_clips = n_clips
        self.seed = seed
        self._wav = None

    def __call__(self) -> torch.Tensor:
        """Waveforms (n_clips, N)."""
        if self._wav is None:
            self._wav = self._load()
        return self._wav

    def _load(self) -> torch.Tensor:
        manifest = self.manifest_folder / "train.json"
        if not manifest.is_file():
            raise InputError(
                f"there is no {manifest}, which names the background's clips: "
                "manifest_folder must be the folder of a prepared dataset, as the "
                "recipes make it in OUTPUT_FOLDER/manifest"
            )
        clips = self.dataset.load(
            self.manifest_folder, "train", self.dataset.categories
        )
        classes = {item: clips.data[item]["category"] for item in clips.data_ids}
        chosen = balanced_draw(classes, self.n_clips, self.seed)
        if len(chosen) < self.n_clips:
            logger.warning(
                "background: %d clips wanted, %s has %d",
                self.n_clips,
                manifest,
                len(chosen),
            )
        places = {item: place for place, item in enumerate(clips.data_ids)}
        return torch.stack([clips[places[item]]["signal"] for item in chosen])


def balanced_draw(classes: dict[str, str], n: int, seed: int) -> list[str]:
    """Names in a random order, in which the classes take turns.

    Arguments
    ---------
    classes : dict
        Name to class.
    n : int
        How many names at most.
    seed : int

    Returns
    -------
    names : list
        The numbers of names of any two classes differ by 1 at most, as long as there
        are enough.

    Example
    -------
    >>> names = balanced_draw({"a": "dog", "b": "dog", "c": "dog", "d": "cat"}, 3, 1)
    >>> len(names), "d" in names
    (3, True)
    """
    draw = generator("background", seed)
    waiting = {}
    for name in _shuffled(sorted(classes), draw):
        waiting.setdefault(classes[name], []).append(name)
    turns = _shuffled(sorted(waiting), draw)
    rounds = max(map(len, waiting.values()), default=0)
    order = [
        waiting[turn][place]
        for place in range(rounds)
        for turn in turns
        if place < len(waiting[turn])
    ]
    return order[:n]


def _shuffled(items: list[str], draw: torch.Generator) -> list[str]:
    return [items[place] for place in torch.randperm(len(items), generator=draw)]
