"""Any model from waveforms to logits, with hidden maps of the layers that are named."""

import difflib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.checkpoint import save_classifier
from speechbrain_lmac.classifiers.layouts import Places, evenly, tensor_of
from speechbrain_lmac.types import ClassifierOutput
from speechbrain_lmac.utils.errors import InputError, check_counts, some_of


def logits_as_returned(output):
    """The model returns the logits."""
    return output


def logits_first(output: tuple[torch.Tensor, None]) -> torch.Tensor:
    """The model returns a tuple, the logits first."""
    return output[0]


def logits_field(output) -> torch.Tensor:
    """The model returns an object whose `logits` they are, as transformers' do."""
    return output.logits


@dataclass(frozen=True)
class MapGrid:
    """What a decoder must know of a hidden map before it sees one."""

    channels: int  # C
    n_bands: int  # F', the same for inputs of any length
    steps: Places | None  # in samples; None: evenly over the waveform
    bands: Places  # as a share of the frequency axis


class WaveformClassifier(torch.nn.Module):
    """A model of the user's: waveforms in, logits out, hidden maps by name.

    Layers are heard by hooks that live as long as one forward pass: outside of it the
    model is as it was made, can be copied, pickled and moved, and nothing is kept.

    Arguments
    ---------
    model : torch.nn.Module
        What `front_end` makes of waveforms (B, N) to what `read_logits` reads.
    n_classes : int
        Number of classes C.
    sample_rate : int
        Of what the model hears, in Hz.
    hidden_layers : list
        Names of layers as `model.named_modules()` has them, the shallowest first.
    layout : object or list
        From `speechbrain_lmac.classifiers.layouts`: of all these layers, or one for
        each.
    front_end : torch.nn.Module or None
        Waveforms to the model's input, without gradients stopped. In float32 whatever
        autocast says. None: the waveforms themselves.
    read_logits : callable
        The model's output to logits (B, C).
    min_samples : int
        Shorter waveforms are followed by silence.

    Shape
    -----
    Waveforms (B, N) to logits (B, C) and a hidden map (B, C', T', F') for each layer.

    Raises
    ------
    InputError
        When there is no such layer; it names those there are.

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
        hidden_layers: list | tuple,
        layout,
        front_end=None,
        read_logits=logits_as_returned,
        min_samples: int = 1,
    ):
        super().__init__()
        check_counts(
            n_classes=n_classes, sample_rate=sample_rate, min_samples=min_samples
        )
        one_for_each = isinstance(layout, (list, tuple))
        layouts = list(layout) if one_for_each else [layout] * len(hidden_layers)
        n_layers = len(set(hidden_layers))
        if not n_layers or not n_layers == len(hidden_layers) == len(layouts):
            raise InputError(
                "name at least one hidden layer, each once, and one layout for all or "
                f"for each: got the layers {list(hidden_layers)} and {len(layouts)} "
                "layouts"
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
        """Refuse: class activation maps need a layer over time and mel bands.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "class activation maps lie on the time and mel bands that a classifier "
            "hears; this one hears waveforms and names no such layer (cam_layer, "
            "cam_stride). Leave GradCAM, GradCAM++ and Guided GradCAM out, for "
            "example by --baselines='{methods: {GradCAM: null, GradCAM++: null, "
            "Guided GradCAM: null}}'"
        )

    cam_stride = cam_layer

    def forward(self, wav: torch.Tensor) -> ClassifierOutput:
        if wav.dim() != 2:
            raise ValueError(
                "this classifier hears waveforms (batch, samples), got the shape "
                f"{tuple(wav.shape)}: it needs a domain whose features are waveforms, "
                "parts/domain/stft_waveform.yaml"
            )
        wav = F.pad(wav, (0, max(0, self.min_samples - wav.shape[1])))
        with torch.autocast(wav.device.type, enabled=False):
            heard = self.front_end(wav.float())
        calls = {name: [] for name in self.hidden_layers}
        with ExitStack() as hooks:
            for name, outputs in calls.items():
                layer = self.model.get_submodule(name)
                hooks.callback(layer.register_forward_hook(kept_in(outputs)).remove)
            logits = self.read_logits(self.model(heard))
        if not torch.is_tensor(logits) or logits.shape != (len(wav), self.n_classes):
            is_ = tuple(logits.shape) if torch.is_tensor(logits) else type(logits)
            raise InputError(
                f"the model should return logits of the shape (batch, classes) = "
                f"({len(wav)}, {self.n_classes}), but it returned {is_}: set n_classes "
                "to its classes and read_logits to where the logits are"
            )
        hidden = tuple(
            self.map_of(name, outputs, layout)
            for (name, outputs), layout in zip(calls.items(), self.layouts, strict=True)
        )
        return ClassifierOutput(logits.float(), hidden)

    def map_of(self, name: str, outputs: list[torch.Tensor], layout) -> torch.Tensor:
        """The hidden map of a layer from what it returned in this pass."""
        if len(outputs) != 1:
            raise InputError(
                f"the layer '{name}' was called {len(outputs)} times in one pass; name "
                "one that is called once"
            )
        try:
            return layout.maps(tensor_of(outputs[0]).float())
        except InputError as error:
            raise InputError(f"the layer '{name}': {error}") from error

    def hidden_grids(self) -> list[MapGrid]:
        """A `MapGrid` of each hidden map, found by hearing a second of silence."""
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


def kept_in(outputs: list):
    """A forward hook that appends what a layer returns."""

    def keep(module, inputs: tuple, output: torch.Tensor) -> None:
        outputs.append(output)

    return keep


def find_layer(model, name: str):
    """The layer of this name.

    Raises
    ------
    InputError
        With the names there are, those like it first.
    """
    names = [known for known, _ in model.named_modules() if known]
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
        others = [known for known in names if known not in close]
        raise InputError(
            f"{type(model).__name__} has no layer '{name}'; its layers are "
            f"{some_of([*close, *others], limit=40)}"
        )
    return model.get_submodule(name)
