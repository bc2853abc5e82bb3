"""What is asked of audio files, a class or a prompt, and the scores that answer it."""

import difflib
from dataclasses import dataclass
from statistics import fmean

import torch

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.inference.results import FileScores, PromptScores, WindowScores
from speechbrain_lmac.interpreters import (
    ClassConditionedInterpreter,
    L2IInterpreter,
    PresenceInterpreter,
    TextAttentionInterpreter,
    TextFiLMInterpreter,
    TrainedInterpreter,
)
from speechbrain_lmac.utils.errors import InputError, some_of

# Interpreters that are told in words what to look for, and all that answer for a class
# that is asked for (L2I's says what each component says for each class).
TOLD_IN_WORDS = (TextFiLMInterpreter, TextAttentionInterpreter, PresenceInterpreter)
TOLD = (ClassConditionedInterpreter, L2IInterpreter, *TOLD_IN_WORDS)
# The columns of a confidence, and the logits of which it is the probability.
CONFIDENCES = {
    "confidence": "whole",
    "heard_confidence_in": "heard explanation",
    "heard_confidence_out": "heard rest",
    "confidence_in": "in",
    "confidence_out": "out",
}


@dataclass(frozen=True)
class WindowOutcomes:
    """What the model says of W windows of a file, with C classes."""

    spans: list  # W pairs of seconds, beginning and end
    predicted: list  # W classes
    explained: list  # W classes, those of the masks
    mask_mean: list  # W numbers, 0 to 1
    logits: dict  # names, see `CONFIDENCES`, to (W, C), float64


def request_class(
    explainer,
    labels: list[str],
    device: str | torch.device = "cpu",
    target: str | None = None,
    window_seconds: float | None = None,
) -> "ClassRequest":
    """The `ClassRequest` for a class by its name, or for the predicted one.

    Raises
    ------
    InputError
        For a target that is no class.
    """
    index = None if target is None else class_index(target, labels)
    return ClassRequest(explainer, labels, device, index, window_seconds)


def request_prompts(
    explainer, device: str | torch.device = "cpu", window_seconds: float | None = None
) -> "list[PromptRequest]":
    """A `PromptRequest` for each prompt of a zero-shot classifier, in their order.

    Its classifier has the prompts: `ClapClassifier.with_prompts` gives it other ones.
    """
    labels = explainer.classifier.labels
    return [
        PromptRequest(explainer, labels, device, index, window_seconds)
        for index in range(len(labels))
    ]


@dataclass(frozen=True)
class ClassRequest:
    """One explanation that is asked of a file, or of many; see `explain_file`."""

    explainer: object
    labels: list  # class names in the order of the logits
    device: str  # where the explainer is
    target: int | None  # the class; None: the one of the highest mean probability
    window_seconds: float | None  # None: a file is explained as a whole

    def scores(self, source, outcomes: WindowOutcomes) -> FileScores:
        """The answer for a file.

        Arguments
        ---------
        source : MonoFile
        outcomes : WindowOutcomes

        Returns
        -------
        scores : FileScores
        """
        return FileScores(**self._fields(source, outcomes))

    def _fields(self, source, outcomes: WindowOutcomes) -> dict[str, int | str]:
        """The fields of `FileScores`."""
        found = {name: part.softmax(1) for name, part in outcomes.logits.items()}
        best = int(found["whole"].mean(0).argmax())
        index = best if self.target is None else self.target
        of_class = {
            column: found[name][:, index].tolist()
            for column, name in CONFIDENCES.items()
        }
        windows = [
            WindowScores(*span, predicted, explained, *scores)
            for span, predicted, explained, *scores in zip(
                outcomes.spans,
                outcomes.predicted,
                outcomes.explained,
                *of_class.values(),
                strict=True,
            )
        ]
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
            "windows": tuple(windows),
        }


class PromptRequest(ClassRequest):
    """One explanation for a prompt of a zero-shot classifier."""

    @property
    def prompt(self) -> str:
        """What is looked for, in words."""
        return self.labels[self.target]

    def scores(self, source, outcomes: WindowOutcomes) -> PromptScores:
        """As `ClassRequest.scores`; returns PromptScores."""
        scale = self.explainer.classifier.clap.scale.double().item()
        near = {
            name: part[:, self.target].mean().item() / scale
            for name, part in outcomes.logits.items()
        }
        return PromptScores(
            **self._fields(source, outcomes),
            **{
                column.replace("confidence", "similarity"): near[name]
                for column, name in CONFIDENCES.items()
            },
        )


def class_index(name: str, labels: list[str]) -> int:
    """The index of a class that is asked for by its name.

    Raises
    ------
    InputError
        For a name that is none of the labels, with the closest ones and all there are.

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
        f"no class is called {name!r}{meant} The classes are {', '.join(labels)}"
    )


def check_target(names: list[str], interpreter) -> None:
    """Refuse to ask an interpreter for a class that it would not listen to."""
    if not takes_target(interpreter):
        raise InputError(
            f"target {some_of(sorted(set(names)))}: the interpreter is not told which "
            "class to explain, so its mask would be that of the predicted class; take "
            "one that was trained for any class, as by "
            "hparams/esc10_lmac_conditional.yaml"
        )


def takes_target(interpreter) -> bool:
    """Whether an interpreter's mask depends on the class that is asked for."""
    return isinstance(_untrained(interpreter), TOLD)


def check_prompts(classifier, interpreter, target: str | None = None) -> None:
    """Refuse prompts that nothing would read."""
    if target is not None:
        raise InputError(
            "a target names a class, a prompt asks for anything: give one of them"
        )
    if not isinstance(classifier, ClapClassifier):
        raise InputError(
            "prompts: this classifier reads no text; take a model with a CLAP, as "
            "esc10-lmac-zs or hparams/esc10_lmac_zs_stft.yaml, or name a target"
        )
    if not isinstance(_untrained(interpreter), TOLD_IN_WORDS):
        raise InputError(
            "prompts: the interpreter is not told the prompt, so its mask would be the "
            "same for all; take one that train_lmac_zs.py trained"
        )


def _untrained(interpreter):
    """What is in a `TrainedInterpreter`."""
    trained = isinstance(interpreter, TrainedInterpreter)
    return interpreter.interpreter if trained else interpreter
