"""Datasets of clips: manifests, loading and batches."""

import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from speechbrain.dataio.dataset import DynamicItemDataset

from speechbrain_lmac.dsp.audio import (
    AudioReader,
    fix_length,
    relative_length,
    to_model_level,
)
from speechbrain_lmac.utils.errors import (
    InputError,
    check_counts,
    check_numbers,
    some_of,
)

if TYPE_CHECKING:
    from speechbrain_lmac.data_prep.manifest import Manifests

logger = logging.getLogger(__name__)


class Items(Protocol):
    """A sequence of the items of `ClipDataset.load`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class ClipBatch:
    """Clips of equal length."""

    ids: list[str]  # B names
    wav: torch.Tensor  # (B, N)
    label: torch.Tensor | None = None  # (B,) class indices, if known
    # (B,) SpeechBrain's relative lengths: the share of the samples before the padding
    # at the end. None: nothing is padded.
    lens: torch.Tensor | None = None

    def with_wav(self, wav: torch.Tensor, changed: Sequence[bool]) -> "ClipBatch":
        """Return the batch with new waveforms; a changed clip has no padding.

        Added noise, an added clip or a shift in time fills the whole length.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N).
        changed : sequence of bool
            B flags of the changed clips.

        Returns
        -------
        batch : ClipBatch

        Example
        -------
        >>> batch = ClipBatch(["a", "b"], torch.zeros(2, 3), lens=torch.full((2,), 0.5))
        >>> batch.with_wav(torch.ones(2, 3), [False, True]).lens
        tensor([0.5000, 1.0000])
        """
        lens = self.lens
        if lens is not None:
            lens = lens.masked_fill(torch.tensor(changed, device=lens.device), 1.0)
        return replace(self, wav=wav, lens=lens)


class ClipDataset:
    """A prepared dataset of labelled clips, for the YAML of an experiment.

    Arguments
    ---------
    prepare : callable
        ``prepare(data_folder, manifest_folder, categories)`` writes `train.json`,
        `valid.json` and `test.json` in `manifest_folder`.
    data_folder : str or Path
        The dataset's folder.
    categories : list of str
        All class names.
    n_classes : int
        Number of class names, for references in the YAML.
    sample_rate : int
        Rate of the waveforms, Hz.
    clip_seconds : float
        Length of every clip: shorter ones are padded with silence at the end, longer
        ones are cut.
    cache_folder : str or Path, optional
        Cache of audio converted to `sample_rate` mono, for later epochs and runs. None:
        no cache.
    terms : dict, optional
        Terms of published models trained on it: `name`; `license`, the licence such a
        model must have, as named on the Hugging Face hub; `credit`, one line.
    """

    def __init__(
        self,
        prepare: Callable[..., "Manifests"],
        data_folder: str | Path,
        categories: Sequence[str],
        n_classes: int,
        sample_rate: int = 16000,
        clip_seconds: float = 5.0,
        cache_folder: str | Path | None = None,
        terms: dict[str, str] | None = None,
    ) -> None:
        self.terms = terms
        self.prepare = prepare
        self.data_folder = data_folder
        self.categories = list(categories)
        self.n_classes = n_classes
        found = len(set(self.categories))
        if found != n_classes:
            raise InputError(
                f"the dataset has {found} different categories, but n_classes: "
                f"{n_classes}"
            )
        check_counts(sample_rate=sample_rate)
        check_numbers(1 / sample_rate, clip_seconds=clip_seconds)
        self.sample_rate = sample_rate
        self.n_samples = round(clip_seconds * sample_rate)
        self.reader = AudioReader(sample_rate, cache_folder)

    def prepare_manifests(self, manifest_folder: Path | str) -> "Manifests":
        """Check the dataset and write its manifests, if it changed."""
        return self.prepare(self.data_folder, manifest_folder, self.categories)

    def class_order(
        self, manifest_folder: Path | str, stored: list[str] | None
    ) -> list[str]:
        """Return the class names in the order of a classifier's logits.

        Arguments
        ---------
        manifest_folder : str or Path
            The folder of `prepare_manifests`.
        stored : list of str or None
            The classifier's own class names. None: the order of first appearance in the
            training manifest, as in SpeechBrain's ESC-50 recipe and its published
            checkpoints. The accuracy of an evaluation shows whether that is correct;
            explanations of the predicted class do not depend on it.

        Returns
        -------
        labels : list of str
        """
        if stored is not None:
            return stored
        logger.warning("class names: in the order of the training manifest")
        clips = read_manifest(Path(manifest_folder) / "train.json").values()
        return list(dict.fromkeys(clip["category"] for clip in clips))

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise InputError if a category of the dataset is not in the labels."""
        unknown = sorted(set(self.categories) - set(labels))
        if unknown:
            raise InputError(
                f"the classifier does not have the classes {unknown} of the dataset in "
                f"{self.data_folder}; its classes are {labels}"
            )

    def load(
        self, manifest_folder: Path | str, split: str, labels: Sequence[str]
    ) -> DynamicItemDataset:
        """Load the clips of one split.

        Arguments
        ---------
        manifest_folder : str or Path
            The folder of `prepare_manifests`.
        split : str
            "train", "valid" or "test".
        labels : sequence of str
            Class names in the order of the classifier's logits.

        Returns
        -------
        dataset : DynamicItemDataset
            Items with `id`, `signal` (N,), `lens` (relative length) and `label`.
            Collate with `collate_clips`.

        Raises
        ------
        InputError
            A category of the dataset is not in the labels.
        """
        self.check_labels(labels)
        dataset = self.signals(manifest_folder, split)
        for name, clip in dataset.data.items():
            if clip.get("category") not in labels:
                raise InputError(
                    f"{split}.json in {manifest_folder}: the category of {name!r} is "
                    f"{clip.get('category')!r}, expected one of {some_of(labels)}"
                )
        dataset.add_dynamic_item(labels.index, takes="category", provides="label")
        dataset.set_output_keys(["id", "signal", "lens", "label"])
        return dataset

    def signals(self, manifest_folder: Path | str, split: str) -> DynamicItemDataset:
        """Load the clips of one split without labels: `id`, `signal` (N,), `lens`."""
        path = Path(manifest_folder) / f"{split}.json"
        clips = read_manifest(path)
        # Not SpeechBrain's replacements, which also replace braces in names.
        for clip in clips.values():
            clip["wav"] = in_root(clip["wav"], self.data_folder)
        dataset = DynamicItemDataset(clips)
        load = functools.partial(load_clip, self.reader, self.n_samples)
        dataset.add_dynamic_item(load, takes="wav", provides=["signal", "lens"])
        dataset.set_output_keys(["id", "signal", "lens"])
        return dataset


def in_root(wav: str, root: str | Path) -> str:
    """Replace `{data_root}` at the beginning of a manifest's path.

    Example
    -------
    >>> in_root("{data_root}/a {b}.wav", "data/{c}")
    'data/{c}/a {b}.wav'
    """
    name = wav.removeprefix("{data_root}")
    return wav if name == wav else f"{root}{name}"


def load_clip(
    reader: AudioReader, n_samples: int, path: str
) -> Iterator[float | torch.Tensor]:
    """Load a clip and its relative length.

    At module level, so that worker processes can unpickle it.

    Arguments
    ---------
    reader : AudioReader
    n_samples : int
        Length N of the clip.
    path : str
        The audio file.

    Yields
    ------
    signal : torch.Tensor
        Shape (N,), scaled to a peak of 1.
    lens : float
        Relative length, in (0, 1].
    """
    wav = reader(path)
    yield to_model_level(fix_length(wav, n_samples))
    yield relative_length(len(wav), n_samples)


def read_manifest(path: Path | str) -> dict[str, dict[str, Any]]:
    """Read a manifest: name to fields, among them `wav`, a path.

    Raises
    ------
    InputError
        The file is missing, damaged or not a manifest.
    """
    try:
        clips = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the manifest {path} ({error}); delete its folder and retry"
        ) from error
    if not isinstance(clips, dict):
        raise InputError(f"{path} is not a manifest: it must map names to clips")
    for name, clip in clips.items():
        fields = {str(key) for key in clip} if isinstance(clip, dict) else None
        if fields is None or "id" in fields:
            raise InputError(f"{path}: {name!r} must be a clip, a mapping without 'id'")
        if not isinstance(clip.get("wav"), str) or not clip["wav"].strip("\0"):
            raise InputError(
                f"{path}: 'wav' of the clip {name!r} must be the path of a file, got "
                f"{clip.get('wav')!r}"
            )
    return clips


class ClipsById:
    """The clips of each split, by name.

    A split is opened at the first access; the manifests may be missing until then.

    Arguments
    ---------
    dataset : ClipDataset
    manifest_folder : str or Path
        The recipe's manifests, OUTPUT_FOLDER/manifest.
    """

    def __init__(self, dataset: ClipDataset, manifest_folder: Path | str) -> None:
        self.dataset = dataset
        self.manifest_folder = Path(manifest_folder)
        self._splits: dict[
            str, tuple[dict[str, str], DynamicItemDataset, dict[str, int]]
        ] = {}

    def categories(self, split: str) -> dict[str, str]:
        """Map the clips of a split to their categories, in alphabetical order."""
        return self._open(split)[0]

    def wav(self, name: str, split: str) -> torch.Tensor:
        """Return the waveform (N,) of a clip, scaled to a peak of 1."""
        return self._clip(name, split)["signal"]

    def lens(self, name: str, split: str) -> float:
        """Return the relative length of a clip, in (0, 1]; 1: no padding."""
        return self._clip(name, split)["lens"]

    def _clip(self, name: str, split: str) -> dict[str, Any]:
        _, clips, indices = self._open(split)
        return clips[indices[name]]

    def _open(
        self, split: str
    ) -> tuple[dict[str, str], DynamicItemDataset, dict[str, int]]:
        if split not in self._splits:
            dataset = self.dataset
            clips = dataset.load(self.manifest_folder, split, dataset.categories)
            self._splits[split] = (
                {name: clips.data[name]["category"] for name in sorted(clips.data)},
                clips,
                {name: index for index, name in enumerate(clips.data_ids)},
            )
        return self._splits[split]


def collate_clips(items: Sequence[Mapping[str, Any]]) -> ClipBatch:
    """Collate items of `ClipDataset.load`, `signal` (N,), into a `ClipBatch`.

    Without `lens` an item is not padded; without `label` its class is unknown.
    """
    labelled = all("label" in item for item in items)
    lens = torch.tensor([item.get("lens", 1.0) for item in items])
    return ClipBatch(
        ids=[item["id"] for item in items],
        wav=torch.stack([item["signal"] for item in items]),
        label=torch.tensor([item["label"] for item in items]) if labelled else None,
        lens=None if (lens == 1).all() else lens,
    )


def with_sound(clips: Items, n: int, at_most: int = 50) -> list[Mapping[str, Any]]:
    """Return the first clips that are not digital silence.

    Arguments
    ---------
    clips : sequence
        Items of `ClipDataset.load`.
    n : int
        Number of clips.
    at_most : int
        Number of clips searched. If all of them are silent, the first `n` are returned.

    Returns
    -------
    items : list
        At most `n`.

    Example
    -------
    >>> clips = [{"signal": torch.full((2,), x)} for x in (0.0, 0.5, 0.0, 0.25)]
    >>> [float(clip["signal"][0]) for clip in with_sound(clips, 2)]
    [0.5, 0.25]
    >>> len(with_sound(clips, 2, at_most=1))
    1
    """
    indices = range(min(at_most, len(clips)))
    audible = (item for item in map(clips.__getitem__, indices) if item["signal"].any())
    return list(islice(audible, n)) or [clips[index] for index in indices[:n]]


def lens_on(batch: ClipBatch, device: str | torch.device) -> torch.Tensor | None:
    """Return the relative lengths (B,) of a batch on a device, or None."""
    return None if batch.lens is None else batch.lens.to(device)
