"""A trained classifier that nothing can change."""

from pathlib import Path

import torch

from speechbrain_lmac.classifiers.checkpoint import load_classifier
from speechbrain_lmac.classifiers.padding import masks_padding, on_recordings
from speechbrain_lmac.utils.errors import InputError, some_of


class Frozen(torch.nn.Module):
    """The classifier under explanation: in eval mode, without gradients.

    It stays in eval mode whatever is called on it (`Brain` calls
    ``modules.train()`` in every epoch), so neither parameters nor batch-norm
    statistics ever change. Gradients flow through it to its input.

    Arguments
    ---------
    model : torch.nn.Module
        features to `ClassifierOutput`, with its weights and `n_classes`.
    labels : list or None
        C class names in the order of the logits, if known.

    Raises
    ------
    InputError
        When there is not a name for each class.
    """

    masks_padding = True

    def __init__(self, model, labels: list[str] | None = None):
        super().__init__()
        self.labels = labels if labels is None else [str(label) for label in labels]
        if labels is not None and len(set(self.labels)) != model.n_classes:
            raise InputError(
                f"{len(set(self.labels))} classes are named, {some_of(self.labels)}, "
                f"but the model has {model.n_classes}: name each class once, in the "
                "order of the logits"
            )
        self.model = model.requires_grad_(False)
        self.eval()

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return self.model.n_classes

    @property
    def sample_rate(self) -> int | None:
        """Of the waveforms that the model hears, Hz; None when it hears features."""
        return getattr(self.model, "sample_rate", None)

    def hidden_grids(self) -> list:
        """A `MapGrid` of each hidden map; see `WaveformClassifier`.

        Raises
        ------
        InputError
            When the model does not tell where its maps lie.
        """
        grids = getattr(self.model, "hidden_grids", None)
        if grids is None:
            raise InputError(
                f"{type(self.model).__name__} does not tell where its hidden maps lie, "
                "as AlignedInterpreter asks; take ConvInterpreter for it"
            )
        return grids()

    @property
    def cam_layer(self):
        """The module whose output class activation maps look at."""
        return self.model.cam_layer

    @property
    def cam_stride(self) -> tuple[int, int]:
        """Frames and bands that a step of that map stands for."""
        return self.model.cam_stride

    def train(self, mode: bool = True):
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, features: torch.Tensor, lengths=None):
        """Features, or waveforms (B, N), to logits (B, C) and hidden maps.

        `lengths` (B,), int64: how many frames or samples of padded clips hold
        recording. Each clip has the logits that it has alone, to rounding: by masks in
        the model, or, where it has none, by hearing the clips of each length by
        themselves.
        """
        model = self.model
        return on_recordings(model, features, lengths, masks_padding(model))


class FrozenClassifier(Frozen):
    """A frozen classifier with the weights of a folder, a hub id or a file.

    Arguments
    ---------
    model : torch.nn.Module
        features to `ClassifierOutput`, with `n_classes` and `CHECKPOINTS`.
    source : str
        A folder as train_classifier.py writes it, a hub id ("user/name"), or for a
        model of one checkpoint a file of any name: its state dict.
    labels : list or None
        C class names in the order of the logits. None: those of the source's
        `label_encoder.txt`, if there is one. `read_labels` reads them from a file.

    Raises
    ------
    InputError
        When a file cannot be had or does not fit the model.
    """

    def __init__(self, model, source: Path | str, labels: list[str] | None = None):
        stored = load_classifier(model, source)
        super().__init__(model, stored if labels is None else labels)
