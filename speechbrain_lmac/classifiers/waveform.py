"""Wrapper of any waveform classifier: logits and hidden maps of named layers."""

import difflib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.checkpoint import save_classifier
from speechbrain_lmac.classifiers.layouts import Layout, Places, evenly, first_tensor
from speechbrain_lmac.types import ClassifierOutput
from speechbrain_lmac.utils.errors import InputError, check_counts, some_of


def logits_as_returned(output: torch.Tensor) -> torch.Tensor:
    """Return the model's output (B, C), unchanged."""
    return output


def logits_first(output: Sequence[Any]) -> torch.Tensor:
    """Return the first of the model's outputs, (B, C)."""
    return output[0]


def logits_field(output: Any) -> torch.Tensor:
    """Return the field `logits` (B, C) of the output of a transformers model."""
    return output.logits


@dataclass(frozen=True)
class MapGrid:
    """Size and positions of a hidden map, for building a decoder."""

    channels: int  # C
    n_bands: int  # F', the same for inputs of any length
    steps: Places | None  # positions in samples; None: evenly over the waveform
    bands: Places  # positions as a share of the frequency axis


class WaveformClassifier(torch.nn.Module):
    """A user's waveform model, with hidden maps of named layers.

    The outputs of layers are read by hooks that exist only during a forward pass:
    otherwise the model is unchanged and can be copied, pickled and moved.

    Arguments
    ---------
    model : torch.nn.Module
        Maps the output of `front_end` for waveforms (B, N) to the input of
        `read_logits`.
    n_classes : int
        Number of classes C.
    sample_rate : int
        Sample rate of the model's waveforms, in Hz.
    hidden_layers : list
        Names of layers as in `model.named_modules()`, the shallowest first.
    layout : Layout or list of Layout
        From `speechbrain_lmac.classifiers.layouts`: one for all layers, or one for
        each.
    front_end : torch.nn.Module or None
        Maps waveforms (B, N) to the model's input; differentiable. Runs in float32
        also under autocast. None: the waveforms themselves.
    read_logits : callable
        Maps the model's output to logits (B, C).
    min_samples : int
        Shorter waveforms are padded with silence.

    Shape
    -----
    Waveforms (B, N) to logits (B, C) and a hidden map (B, C', T', F') for each layer.

    Raises
    ------
    InputError
        When a layer is unknown; the message lists the model's layers.

    Example
    -------
    >>> from speechbrain_lmac.classifiers.layouts import Axes
    >>> net = torch.nn.Sequential(
    ...     torch.nn.Unflatten(1, (1, -1)),
    ...     torch.nn.Conv1d(1, 4, 400, stride=160),
    ...     torch.nn.AdaptiveAvgPool1d(1),
    ...     torch.nn.Flatten(),
    ...     torch.nn.Linear(4, 3),
    ... )
    >>> model = WaveformClassifier(net, 3, 16000, ["1"], Axes("BCT"), min_samples=400)
    >>> output = model(torch.rand(2, 16000))
    >>> output.logits.shape, output.hidden[0].shape
    (torch.Size([2, 3]), torch.Size([2, 4, 98, 1]))
    """

    CHECKPOINTS = {"model.ckpt": "model"}
    save = save_classifier

    def __init__(
        self,
        model: torch.nn.Module,
        n_classes: int,
        sample_rate: int,
        hidden_layers: Sequence[str],
        layout: Layout | Sequence[Layout],
        front_end: torch.nn.Module | None = None,
        read_logits: Callable[[Any], torch.Tensor] = logits_as_returned,
        min_samples: int = 1,
    ) -> None:
        super().__init__()
        check_counts(
            n_classes=n_classes, sample_rate=sample_rate, min_samples=min_samples
        )
        layouts = (
            list(layout)
            if isinstance(layout, Sequence)
            else [layout] * len(hidden_layers)
        )
        n_layers = len(set(hidden_layers))
        if not n_layers or not n_layers == len(hidden_layers) == len(layouts):
            raise InputError(
                "hidden_layers must name at least one layer, each once, and layout "
                "must be one for all or one for each, got the layers "
                f"{list(hidden_layers)} and {len(layouts)} layouts"
            )
        self.model = model
        self.n_classes = n_classes
        self.sample_rate = sample_rate
        self.hidden_layers = list(hidden_layers)
        self.layouts = layouts
        self.front_end = torch.nn.Identity() if front_end is None else front_end
        self.read_logits = read_logits
        self.min_samples = min_samples
        for name in self.hidden_layers:
            find_layer(model, name)

    @property
    def cam_layer(self) -> NoReturn:
        """Raise: class activation maps need a layer over time and mel bands.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "class activation maps need a layer over time and mel bands (cam_layer, "
            f"cam_stride), got {type(self).__name__}, a classifier of waveforms. Leave "
            "out GradCAM, GradCAM++ and Guided GradCAM, for example by "
            "--baselines='{methods: {GradCAM: null, GradCAM++: null, "
            "Guided GradCAM: null}}'"
        )

    cam_stride = cam_layer

    def forward(self, wav: torch.Tensor) -> ClassifierOutput:
        if wav.dim() != 2:
            raise ValueError(
                "this classifier needs waveforms (batch, samples), got the shape "
                f"{tuple(wav.shape)}: use a domain whose features are waveforms, "
                "parts/domain/stft_waveform.yaml"
            )
        wav = F.pad(wav, (0, max(0, self.min_samples - wav.shape[1])))
        with torch.autocast(wav.device.type, enabled=False):
            features = self.front_end(wav.float())
        calls: dict[str, list[Any]] = {name: [] for name in self.hidden_layers}
        with ExitStack() as hooks:
            for name, outputs in calls.items():
                layer = self.model.get_submodule(name)
                hooks.callback(layer.register_forward_hook(append_to(outputs)).remove)
            logits = self.read_logits(self.model(features))
        if not torch.is_tensor(logits) or logits.shape != (len(wav), self.n_classes):
            got = tuple(logits.shape) if torch.is_tensor(logits) else type(logits)
            raise InputError(
                "logits must have the shape (batch, classes) = "
                f"({len(wav)}, {self.n_classes}), got {got}: set n_classes to the "
                "model's classes, and read_logits to a function that returns its logits"
            )
        hidden = tuple(
            self.hidden_map(name, outputs, layout)
            for (name, outputs), layout in zip(calls.items(), self.layouts, strict=True)
        )
        return ClassifierOutput(logits.float(), hidden)

    def hidden_map(
        self, name: str, outputs: Sequence[Any], layout: Layout
    ) -> torch.Tensor:
        """Return the hidden map of a layer from its outputs in one forward pass.

        Arguments
        ---------
        name : str
            Name of the layer.
        outputs : sequence
            One output per call of the layer, in its layout.
        layout : Layout

        Returns
        -------
        maps : torch.Tensor
            Shape (B, C', T', F'), float32.

        Raises
        ------
        InputError
            When the layer was not called exactly once, or its output does not fit the
            layout.
        """
        if len(outputs) != 1:
            raise InputError(
                f"a hidden layer must be called once per forward pass, got "
                f"{len(outputs)} calls of '{name}'"
            )
        try:
            return layout.maps(first_tensor(outputs[0]).float())
        except InputError as error:
            raise InputError(f"the layer '{name}': {error}") from error

    def hidden_grids(self) -> list[MapGrid]:
        """Return a `MapGrid` of each hidden map, from a second of silence."""
        device = next(self.model.parameters()).device
        training = self.training
        try:
            self.eval()
            with torch.no_grad():
                hidden = self(torch.zeros(1, self.sample_rate, device=device)).hidden
        finally:
            self.train(training)
        return [
            MapGrid(
                channels=maps.shape[1],
                n_bands=maps.shape[3],
                steps=layout.steps,
                bands=layout.bands or evenly(1.0, maps.shape[3]),
            )
            for maps, layout in zip(hidden, self.layouts, strict=True)
        ]


def append_to(
    outputs: list[Any],
) -> Callable[[torch.nn.Module, tuple[Any, ...], Any], None]:
    """Return a forward hook that appends a layer's output to a list."""

    def append(module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        outputs.append(output)

    return append


def find_layer(model: torch.nn.Module, name: str) -> torch.nn.Module:
    """Return the layer of this name.

    Raises
    ------
    InputError
        When the name is unknown; lists the model's layers, similar names first.
    """
    names = [known for known, _ in model.named_modules() if known]
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
        others = [known for known in names if known not in close]
        raise InputError(
            f"unknown layer '{name}' of {type(model).__name__}; its layers are "
            f"{some_of([*close, *others], limit=40)}"
        )
    return model.get_submodule(name)
