"""From the manifests of a dataset to batches of clips."""

import functools
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from speechbrain.dataio.dataset import DynamicItemDataset

from speechbrain_lmac.dsp.audio import (
    AudioReader,
    fix_length,
    recorded_share,
    to_model_level,
)
from speechbrain_lmac.utils.errors import (
    InputError,
    check_counts,
    check_numbers,
    some_of,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipBatch:
    """Clips of equal length."""

    ids: list  # B names
    wav: torch.Tensor  # (B, N)
    label: torch.Tensor | None = None  # (B,) class indices, if known
    # (B,) share of the samples that is recording, the rest being silence behind it:
    # SpeechBrain's relative lengths. None: nothing is padded.
    lens: torch.Tensor | None = None

    def with_wav(self, wav: torch.Tensor, changed: list[bool]) -> "ClipBatch":
        """The batch with other waveforms, in which a changed clip has no padding.

        Noise, another clip or a shift in time reaches over the whole length.

        Arguments
        ---------
        wav : torch.Tensor
            Of all clips, (B, N).
        changed : sequence of bool
            Which of the B are not as they were.

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
    """A prepared dataset of labelled clips, as an experiment's YAML describes it.

    Arguments
    ---------
    prepare : callable
        ``prepare(data_folder, manifest_folder, categories)`` writes `train.json`,
        `valid.json` and `test.json` in `manifest_folder`.
    data_folder : str
        The dataset.
    categories : list
        The class names there are.
    n_classes : int
        How many these are, for other parts of the YAML to refer to.
    sample_rate : int
        Hz, of what the model hears.
    clip_seconds : float
        Every clip is given this length: shorter ones get silence at their end, of
        longer ones the beginning is kept.
    cache_folder : str or None
        Where audio that was converted to `sample_rate` mono is kept, so that later
        epochs and runs need not decode it again. None: nothing is kept.
    terms : dict, optional
        For who passes on what was trained on it: `name`; `license`, that a model of it
        has to bear, as the Hugging Face hub calls it; `credit`, one line.
    """

    def __init__(
        self,
        prepare,
        data_folder,
        categories: list | tuple,
        n_classes: int,
        sample_rate: int = 16000,
        clip_seconds: float = 5.0,
        cache_folder: str | None = None,
        terms: dict[str, str] | None = None,
    ):
        self.terms = terms
        self.prepare = prepare
        self.data_folder = data_folder
        self.categories = list(categories)
        self.n_classes = n_classes
        named = len(set(self.categories))
        if named != n_classes:
            raise InputError(
                f"the dataset part names {named} categories, but n_classes: {n_classes}"
            )
        check_counts(sample_rate=sample_rate)
        check_numbers(1 / sample_rate, clip_seconds=clip_seconds)
        self.sample_rate = sample_rate
        self.n_samples = round(clip_seconds * sample_rate)
        self.reader = AudioReader(sample_rate, cache_folder)

    def prepare_manifests(self, manifest_folder: Path | str):
        """Check the dataset and write its manifests (only when it changed)."""
        return self.prepare(self.data_folder, manifest_folder, self.categories)

    def class_order(self, manifest_folder: Path | str, stored: list[str]) -> list[str]:
        """Class names in the order of a classifier's logits.

        Arguments
        ---------
        manifest_folder : str or Path
            What `prepare_manifests` was given.
        stored : list or None
            The names that the classifier brings. Without them: the order of first
            appearance in the training manifest, which is how SpeechBrain's ESC-50
            recipe numbers the classes of the checkpoints it publishes. The accuracy
            that every evaluation reports tells whether that is right; explanations
            of the predicted class do not depend on it.
        """
        if stored is not None:
            return stored
        logger.warning("class names: in the order of the training manifest")
        clips = read_manifest(Path(manifest_folder) / "train.json").values()
        return list(dict.fromkeys(clip["category"] for clip in clips))

    def check_labels(self, labels: list[str] | tuple[str, ...]) -> None:
        """Raise InputError when a category of the dataset is none of the labels."""
        unknown = sorted(set(self.categories) - set(labels))
        if unknown:
            raise InputError(
                f"the classifier does not know the classes {unknown} of the dataset in "
                f"{self.data_folder}; its classes are {labels}"
            )

    def load(self, manifest_folder: Path, split: str, labels: list[str]):
        """The clips of one split.

        Arguments
        ---------
        manifest_folder : str or Path
            What `prepare_manifests` was given.
        split : str
            "train", "valid" or "test".
        labels : list
            Class names in the order of the classifier's logits.

        Returns
        -------
        dataset : DynamicItemDataset
            With `id`, `signal` (N,), `lens` (the share of it that is recording) and
            `label`. Collate with `collate_clips`.

        Raises
        ------
        InputError
            When a category of the dataset is none of the labels.
        """
        self.check_labels(labels)
        dataset = self.signals(manifest_folder, split)
        for name, clip in dataset.data.items():
            if clip.get("category") not in labels:
                raise InputError(
                    f"{split}.json in {manifest_folder}: the category of {name!r} is "
                    f"{clip.get('category')!r}, which is none of {some_of(labels)}"
                )
        dataset.add_dynamic_item(labels.index, takes="category", provides="label")
        dataset.set_output_keys(["id", "signal", "lens", "label"])
        return dataset

    def signals(self, manifest_folder: Path, split: str):
        """The clips of one split without labels: `id`, `signal`, `lens`."""
        path = Path(manifest_folder) / f"{split}.json"
        clips = read_manifest(path)
        # Not SpeechBrain's replacements, which read names with braces, too.
        for clip in clips.values():
            clip["wav"] = in_root(clip["wav"], self.data_folder)
        dataset = DynamicItemDataset(clips)
        load = functools.partial(load_clip, self.reader, self.n_samples)
        dataset.add_dynamic_item(load, takes="wav", provides=["signal", "lens"])
        dataset.set_output_keys(["id", "signal", "lens"])
        return dataset


def in_root(wav: str, root: str) -> str:
    """The path that a manifest gives as `{data_root}/FILE`.

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
    """Yield a clip (n_samples,) at the model's level, then its relative length.

    A function of the module, so that worker processes can unpickle it.

    Arguments
    ---------
    reader : AudioReader
    n_samples : int
    path : str
        Of the audio file.
    """
    wav = reader(path)
    yield to_model_level(fix_length(wav, n_samples))
    yield recorded_share(len(wav), n_samples)


def read_manifest(path: Path) -> dict:
    """The clips of a manifest: name to fields, among them `wav`, a path.

    Raises
    ------
    InputError
        When the file is missing, broken, or is something else.
    """
    try:
        clips = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the manifest {path} ({error}); remove its folder, and it is "
            "made again"
        ) from error
    if not isinstance(clips, dict):
        raise InputError(f"{path} is no manifest: it must map names to clips")
    for name, clip in clips.items():
        fields = {str(key) for key in clip} if isinstance(clip, dict) else None
        if fields is None or "id" in fields:
            raise InputError(
                f"{path}: what stands at {name!r} is no clip, a mapping without 'id'"
            )
        if not isinstance(clip.get("wav"), str) or not clip["wav"].strip("\0"):
            raise InputError(
                f"{path}: the clip {name!r} has no 'wav', the path of a file, but "
                f"{clip.get('wav')!r}"
            )
    return clips


class ClipsById:
    """The clips of each split by their names.

    A split is opened when one of its clips is first asked for: the manifests need not
    be there before.

    Arguments
    ---------
    dataset : ClipDataset
    manifest_folder : str or Path
        Where the recipe has its manifests, OUTPUT_FOLDER/manifest.
    """

    def __init__(self, dataset: ClipDataset, manifest_folder: Path | str):
        self.dataset = dataset
        self.manifest_folder = Path(manifest_folder)
        self._splits = {}

    def categories(self, split: str) -> dict[str, str]:
        """Name to category of the clips of a split, in the order of their names."""
        return self._open(split)[0]

    def wav(self, name: str, split: str) -> torch.Tensor:
        """Samples (N,) of a clip, at the model's level."""
        return self._clip(name, split)["signal"]

    def lens(self, name: str, split: str) -> float:
        """Relative length of a clip, above 0 to 1: 1 where it is not padded."""
        return self._clip(name, split)["lens"]

    def _clip(self, name: str, split: str) -> dict:
        _, clips, places = self._open(split)
        return clips[places[name]]

    def _open(self, split: str) -> tuple:
        if split not in self._splits:
            dataset = self.dataset
            clips = dataset.load(self.manifest_folder, split, dataset.categories)
            self._splits[split] = (
                {name: clips.data[name]["category"] for name in sorted(clips.data)},
                clips,
                {name: place for place, name in enumerate(clips.data_ids)},
            )
        return self._splits[split]


def collate_clips(items: list) -> ClipBatch:
    """Items of `ClipDataset.load` to a `ClipBatch`.

    An item without `lens` is not padded, one without `label` is of no known class.
    """
    labelled = all("label" in item for item in items)
    lens = torch.tensor([item.get("lens", 1.0) for item in items])
    return ClipBatch(
        ids=[item["id"] for item in items],
        wav=torch.stack([item["signal"] for item in items]),
        label=torch.tensor([item["label"] for item in items]) if labelled else None,
        lens=None if (lens == 1).all() else lens,
    )


def with_sound(clips, n: int, at_most: int = 50) -> list:
    """The first clips that are not digital silence.

    Arguments
    ---------
    clips : sequence
        Of items of `ClipDataset.load`.
    n : int
        How many.
    at_most : int
        So many are looked at. Where all of them are silent, these are taken.

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
    places = range(min(at_most, len(clips)))
    heard = (item for item in map(clips.__getitem__, places) if item["signal"].any())
    return list(islice(heard, n)) or [clips[place] for place in places[:n]]


def lens_on(batch: ClipBatch, device: str | torch.device) -> torch.Tensor | None:
    """The lens of a `ClipBatch` on a device, or None."""
    return None if batch.lens is None else batch.lens.to(device)
