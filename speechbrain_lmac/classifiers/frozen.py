"""Frozen classifiers."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from speechbrain_lmac.classifiers.checkpoint import StoredModel, load_classifier
from speechbrain_lmac.classifiers.padding import masks_padding, on_recordings
from speechbrain_lmac.classifiers.waveform import MapGrid
from speechbrain_lmac.types import CamBlocks, ClassifierOutput
from speechbrain_lmac.utils.errors import InputError, some_of


class ClassifierModel(Protocol):
    """A module that maps features to `ClassifierOutput`."""

    @property
    def n_classes(self) -> int:
        """Number of classes C."""

    @property
    def cam_layer(self) -> torch.nn.Module:
        """See `Classifier`."""

    @property
    def cam_stride(self) -> tuple[float, float]:
        """See `Classifier`."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As `torch.nn.Module`."""

    def __call__(self, *features: Any) -> ClassifierOutput:
        """Return logits (B, C) of features (B, T, F) or waveforms (B, N)."""


class StoredClassifier(ClassifierModel, StoredModel, Protocol):
    """A classifier whose weights are stored in files."""


class Frozen(torch.nn.Module):
    """The classifier under explanation: in eval mode, without gradients.

    Calls of `train` are ignored (`Brain` calls ``modules.train()`` in every epoch), so
    neither parameters nor batch-norm statistics change. Gradients flow through it to
    its input.

    Arguments
    ---------
    model : torch.nn.Module
        Maps features to `ClassifierOutput`; with weights and `n_classes`.
    labels : sequence of str or None
        C class names in the order of the logits, if known.

    Raises
    ------
    InputError
        When the number of different labels is not C.
    """

    masks_padding = True  # `forward` takes lengths, see `classifiers.padding`
    model: ClassifierModel

    def __init__(
        self, model: ClassifierModel, labels: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.labels = labels if labels is None else [str(label) for label in labels]
        if self.labels is not None and len(set(self.labels)) != model.n_classes:
            raise InputError(
                f"labels must name each of the model's {model.n_classes} classes once, "
                f"in the order of the logits, got {len(set(self.labels))} names: "
                f"{some_of(self.labels)}"
            )
        self.model = model.requires_grad_(False)
        self.eval()

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return self.model.n_classes

    @property
    def sample_rate(self) -> int | None:
        """Sample rate of the input waveforms, Hz; None for a model of features."""
        return getattr(self.model, "sample_rate", None)

    def hidden_grids(self) -> list[MapGrid]:
        """Return a `MapGrid` of each hidden map; see `WaveformClassifier`.

        Raises
        ------
        InputError
            When the model has no `hidden_grids`.
        """
        grids = getattr(self.model, "hidden_grids", None)
        if grids is None:
            raise InputError(
                f"AlignedInterpreter needs a classifier with hidden_grids, got "
                f"{type(self.model).__name__}: use ConvInterpreter"
            )
        return grids()

    @property
    def cam_layer(self) -> torch.nn.Module:
        """The layer of class activation maps."""
        return self.model.cam_layer

    @property
    def cam_stride(self) -> tuple[float, float]:
        """Frames and bands per step of that layer's map."""
        return self.model.cam_stride

    @property
    def cam_blocks(self) -> CamBlocks | None:
        """Its blocks for class activation maps; None if the model names none."""
        return getattr(self.model, "cam_blocks", None)

    def train(self, mode: bool = True) -> Self:
        """Do nothing: stay in eval mode."""
        return super().train(False)

    def forward(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> ClassifierOutput:
        """Return logits (B, C) and hidden maps of features or waveforms (B, N).

        `lengths` (B,), int64: frames or samples of each clip without its padding. The
        logits are those of each clip alone, up to rounding: by masks in the model, or
        by a forward pass for each length.
        """
        model = self.model
        return on_recordings(model, features, lengths, masks_padding(model))


class FrozenClassifier(Frozen):
    """A frozen classifier with weights from a folder, a hub id or a file.

    Arguments
    ---------
    model : torch.nn.Module
        Maps features to `ClassifierOutput`; with `n_classes` and `CHECKPOINTS`.
    source : str or Path
        A folder written by train_classifier.py, a hub id ("user/name"), or, for a model
        with one checkpoint, the file of its state dict.
    labels : sequence of str or None
        C class names in the order of the logits. None: those of the source's
        `label_encoder.txt`, if it has one. `read_labels` reads them from a file.

    Raises
    ------
    InputError
        When a file is missing, cannot be fetched, or does not fit the model.
    """

    def __init__(
        self,
        model: StoredClassifier,
        source: Path | str,
        labels: Sequence[str] | None = None,
    ) -> None:
        stored = load_classifier(model, source)
        super().__init__(model, stored if labels is None else labels)


def trainable_copy(classifier: Frozen) -> Any:
    """Return a copy of a frozen classifier's model whose weights can be trained.

    Arguments
    ---------
    classifier : Frozen

    Returns
    -------
    model : torch.nn.Module
        A `ClassifierModel` with the weights of the classifier.

    Raises
    ------
    InputError
        For a classifier that is not `Frozen`, such as that of a CLAP.
    """
    if not isinstance(classifier, Frozen):
        raise InputError(
            f"a judge needs a FrozenClassifier, got {type(classifier).__name__}"
        )
    return copy.deepcopy(classifier.model).requires_grad_(True)
