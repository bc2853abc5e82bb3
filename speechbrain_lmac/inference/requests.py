"""Explanation requests, for a class or a prompt, and their scores."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.dsp.audio_streams import MonoFile
from speechbrain_lmac.inference.explain_batch import BoundExplainer
from speechbrain_lmac.inference.results import FileScores, PromptScores, WindowScores
from speechbrain_lmac.interpreters import (
    ClassConditionedInterpreter,
    L2IInterpreter,
    PresenceInterpreter,
    TextAttentionInterpreter,
    TextFiLMInterpreter,
    TrainedInterpreter,
)
from speechbrain_lmac.metrics.checks.encoding import (
    SOUND_NAMES,
    EncodingCheck,
    encoding,
)
from speechbrain_lmac.types import Classifier, Interpreter
from speechbrain_lmac.utils.errors import InputError, some_of

# Interpreters whose masks depend on a prompt, and those that depend on the target class
# (L2I's by the weights of each component for each class).
TEXT_CONDITIONED = (TextFiLMInterpreter, TextAttentionInterpreter, PresenceInterpreter)
CONDITIONED = (ClassConditionedInterpreter, L2IInterpreter, *TEXT_CONDITIONED)
# The columns of confidences, and the logits that they are computed from.
CONFIDENCES = {
    "confidence": "whole",
    "heard_confidence_in": "heard explanation",
    "heard_confidence_out": "heard rest",
    "confidence_in": "in",
    "confidence_out": "out",
}


@dataclass(frozen=True)
class WindowOutcomes:
    """Outputs of the model for W windows of a file, with C classes."""

    spans: list[tuple[float, float]]  # W pairs of start and end, s
    predicted: list[str]  # W class names
    explained: list[str]  # W class names, those of the masks
    mask_mean: list[float]  # W numbers, 0 to 1
    logits: dict[str, torch.Tensor]  # names, see `CONFIDENCES`, to (W, C), float64
    on_sounds: torch.Tensor | None = None  # (W, S), the result of `ClassRequest.check`


def request_class(
    explainer: BoundExplainer,
    labels: Sequence[str],
    device: str | torch.device = "cpu",
    target: str | None = None,
    window_seconds: float | None = None,
    check: EncodingCheck | None = None,
) -> "ClassRequest":
    """Return a request to explain a class, given by name, or the predicted class.

    Arguments
    ---------
    explainer : Explainer
        With `domain` and `classifier`.
    labels : sequence of str
        C class names in the order of the logits.
    device : str or torch.device
        Device of the explainer.
    target : str, optional
        The class to explain. Default: the predicted one.
    window_seconds : float, optional
        See `explain_file`.
    check : EncodingCheck, optional
        Of the explainer's domain and classifier. Default: no `encoding`.

    Returns
    -------
    request : ClassRequest

    Raises
    ------
    InputError
        For a target that is not among the labels.
    """
    index = None if target is None else class_index(target, labels)
    return ClassRequest(explainer, labels, device, index, window_seconds, check)


def request_prompts(
    explainer: BoundExplainer,
    device: str | torch.device = "cpu",
    window_seconds: float | None = None,
    check: EncodingCheck | None = None,
) -> "list[PromptRequest]":
    """Return one request per prompt of a zero-shot classifier, in order.

    Arguments
    ---------
    explainer : Explainer
        Its `classifier` has the prompts (`ClapClassifier.with_prompts`).
    device : str or torch.device
        Device of the explainer.
    window_seconds : float, optional
        See `explain_file`.
    check : EncodingCheck, optional
        Of the explainer's domain and classifier. Default: no `encoding`.

    Returns
    -------
    requests : list of PromptRequest
    """
    labels = explainer.classifier.labels
    return [
        PromptRequest(explainer, labels, device, index, window_seconds, check)
        for index in range(len(labels))
    ]


@dataclass(frozen=True)
class ClassRequest:
    """Settings of an explanation, applicable to any file; see `explain_file`."""

    explainer: BoundExplainer
    labels: Sequence[str]  # C class names in the order of the logits
    device: str | torch.device  # of the explainer
    target: int | None  # class index; None: class with the highest mean probability
    window_seconds: float | None  # None: no windows
    check: EncodingCheck | None = None  # None: no `encoding`

    def scores(self, source: MonoFile, outcomes: WindowOutcomes) -> FileScores:
        """Return the scores of a file.

        Arguments
        ---------
        source : MonoFile
        outcomes : WindowOutcomes

        Returns
        -------
        scores : FileScores
        """
        return FileScores(**self._fields(source, outcomes))

    def _fields(self, source: MonoFile, outcomes: WindowOutcomes) -> dict[str, Any]:
        """Return the fields of `FileScores`."""
        probabilities = {
            name: logits.softmax(1) for name, logits in outcomes.logits.items()
        }
        best = int(probabilities["whole"].mean(0).argmax())
        index = best if self.target is None else self.target
        of_class = {
            column: probabilities[name][:, index].tolist()
            for column, name in CONFIDENCES.items()
        }
        encodings = _encodings(outcomes)
        windows = [
            WindowScores(
                start,
                end,
                predicted,
                explained,
                encoding=encoded,
                **dict(zip(CONFIDENCES, confidences, strict=True)),
            )
            for (start, end), predicted, explained, confidences, encoded in zip(
                outcomes.spans,
                outcomes.predicted,
                outcomes.explained,
                zip(*of_class.values(), strict=True),
                encodings,
                strict=True,
            )
        ]
        known = [value for value in encodings if value is not None]
        return {
            "path": str(source.path),
            "sample_rate": source.sample_rate,
            "n_samples": source.n_samples,
            "model_rate": self.explainer.domain.sample_rate,
            "channel": source.channel,
            "silent": source.silent,
            "predicted": self.labels[best],
            "explained": self.labels[index],
            **{column: fmean(values) for column, values in of_class.items()},
            "mask_mean": fmean(outcomes.mask_mean),
            "encoding": fmean(known) if known else None,
            "on_sounds": _on_sounds(outcomes, self.labels[index]),
            "windows": tuple(windows),
        }


def _encodings(outcomes: WindowOutcomes) -> list[float | None]:
    """Return the encoding of each window, None where it has none."""
    if outcomes.on_sounds is None:
        return [None] * len(outcomes.spans)
    values = encoding(outcomes.on_sounds).tolist()
    return [None if math.isnan(value) else value for value in values]


def _on_sounds(outcomes: WindowOutcomes, explained: str) -> dict[str, float] | None:
    """Return `FileScores.on_sounds` for a class."""
    if outcomes.on_sounds is None:
        return None
    own = torch.tensor([label == explained for label in outcomes.explained])
    means = outcomes.on_sounds[own].nanmean(0).tolist()
    named = zip(SOUND_NAMES, means, strict=True)
    return {name: value for name, value in named if not math.isnan(value)}


class PromptRequest(ClassRequest):
    """Settings of an explanation for a prompt of a zero-shot classifier."""

    target: int

    @property
    def prompt(self) -> str:
        """The text prompt."""
        return self.labels[self.target]

    def scores(self, source: MonoFile, outcomes: WindowOutcomes) -> PromptScores:
        """Return the scores of a file; arguments as `ClassRequest.scores`."""
        scale = self.explainer.classifier.clap.scale.double().item()
        similarities = {
            name: logits[:, self.target].mean().item() / scale
            for name, logits in outcomes.logits.items()
        }
        return PromptScores(
            **self._fields(source, outcomes),
            **{
                column.replace("confidence", "similarity"): similarities[name]
                for column, name in CONFIDENCES.items()
            },
        )


def class_index(name: str, labels: Sequence[str]) -> int:
    """Return the index of a class by its name.

    Raises
    ------
    InputError
        For a name that is not among the labels; the message lists them and close
        matches.

    Example
    -------
    >>> class_index("dog", ["cat", "dog"])
    1
    """
    if name in labels:
        return labels.index(name)
    close = difflib.get_close_matches(name, labels)
    meant = f"; did you mean {' or '.join(close)}?" if close else "."
    raise InputError(
        f"unknown class {name!r}{meant} The classes are {', '.join(labels)}"
    )


def check_target(names: Sequence[str], interpreter: Interpreter) -> None:
    """Raise InputError if the mask of an interpreter does not depend on the target."""
    if not takes_target(interpreter):
        raise InputError(
            f"target {some_of(sorted(set(names)))}: this interpreter explains only "
            "the predicted class; use one trained for any class, such as that of "
            "hparams/esc10_lmac_conditional.yaml"
        )


def takes_target(interpreter: Interpreter) -> bool:
    """Return whether the mask of an interpreter depends on the target class."""
    return isinstance(_unwrapped(interpreter), CONDITIONED)


def check_prompts(
    classifier: Classifier, interpreter: Interpreter, target: str | None = None
) -> None:
    """Raise InputError if prompts cannot be used.

    Arguments
    ---------
    classifier : Classifier
    interpreter : Interpreter
    target : str, optional
        Target class; mutually exclusive with prompts.

    Raises
    ------
    InputError
        If a target is set, or the classifier or interpreter has no text input.
    """
    if target is not None:
        raise InputError("target and prompts are mutually exclusive: set only one")
    if not isinstance(classifier, ClapClassifier):
        raise InputError(
            "prompts: this classifier takes no text; use a model with a CLAP, e.g. "
            "esc10-lmac-zs or hparams/esc10_lmac_zs_stft.yaml, or give a target class"
        )
    if not isinstance(_unwrapped(interpreter), TEXT_CONDITIONED):
        raise InputError(
            "prompts: the mask of this interpreter does not depend on the prompt; use "
            "one trained with train_lmac_zs.py"
        )


def _unwrapped(interpreter: Interpreter) -> Interpreter:
    """Return the interpreter inside a `TrainedInterpreter`."""
    if isinstance(interpreter, TrainedInterpreter):
        return interpreter.interpreter
    return interpreter
