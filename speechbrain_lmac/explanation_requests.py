"""What is asked of audio files: a class, or a prompt; and the scores that answer it."""

from dataclasses import dataclass
from statistics import fmean

from speechbrain_lmac.explaining import class_index
from speechbrain_lmac.explanations import FileScores, PromptScores, WindowScores

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


def request_class(explainer, labels, device="cpu", target=None, window_seconds=None):
    """The `ClassRequest` for a class by its name, or for the predicted one.

    Raises
    ------
    InputError
        For a target that is no class.
    """
    index = None if target is None else class_index(target, labels)
    return ClassRequest(explainer, labels, device, index, window_seconds)


def request_prompts(explainer, device="cpu", window_seconds=None):
    """A `PromptRequest` for each prompt of a zero-shot classifier, in their order.

    Its classifier has the prompts: `ClapClassifier.asked` gives it other ones.
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

    def scores(self, source, outcomes):
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

    def _fields(self, source, outcomes):
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
    def prompt(self):
        """What is looked for, in words."""
        return self.labels[self.target]

    def scores(self, source, outcomes):
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
