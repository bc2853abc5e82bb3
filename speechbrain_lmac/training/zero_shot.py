"""The base Brain of LMAC-ZS: prompts, and the zero-shot accuracy."""

import logging
from functools import cached_property
from typing import Any

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.dataset import ClipBatch, lens_on
from speechbrain_lmac.explainers import ZeroShotExplainer
from speechbrain_lmac.training.brain import InterpreterBrain
from speechbrain_lmac.training.experiment import loader_options
from speechbrain_lmac.training.prompts import ClassPrompts, PromptMemory
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.distributed import average_gradients

logger = logging.getLogger(__name__)


class PromptBrain(InterpreterBrain):
    """A Brain for the training of an interpreter with prompts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        classifier = self.hparams.classifier
        # The key is optional.
        self.prompts = getattr(self.hparams, "prompts", None) or ClassPrompts(
            classifier
        )
        self.memory = PromptMemory(classifier)

    @cached_property
    def explainer(self) -> ZeroShotExplainer:
        """The interpreter in training as an explainer of the classifier's prompts."""
        return ZeroShotExplainer(
            self.modules.domain, self.hparams.classifier, self.modules.interpreter
        )

    @property
    def interpreter(self) -> Any:
        """The interpreter without its DDP wrapper.

        DDP synchronises in every call, and processes with different prompts make
        different numbers of calls.
        """
        interpreter = self.modules.interpreter
        wrapped = isinstance(interpreter, DistributedDataParallel)
        return interpreter.module if wrapped else interpreter

    def optimizers_step(self) -> None:
        """Step with the mean of all processes' gradients; see `interpreter`."""
        average_gradients(self.modules.interpreter.parameters())
        super().optimizers_step()

    def predicted_evidence(self, batch: ClipBatch, stage: sb.Stage) -> Evidence | None:
        """Return the evidence of the predicted prompts; None in training."""
        if stage == sb.Stage.TRAIN:
            return None
        explanation = self.explainer.explain(batch.wav, lens=batch.lens)
        return self.evidence_of(explanation, stage)


def report_zero_shot_accuracy(
    hparams: dict[str, Any], clips: Dataset, device: str
) -> dict[str, float]:
    """Print, log and return the `zero_shot_accuracy` of clips.

    Arguments
    ---------
    hparams : dict
        The experiment: `domain`, `classifier`, and the options of the loader.
    clips : Dataset
        The test split.
    device : str

    Returns
    -------
    scores : dict
        See `zero_shot_accuracy`.
    """
    domain, classifier = hparams["domain"], hparams["classifier"]
    options = loader_options(hparams)
    scores = zero_shot_accuracy(
        domain, classifier, clips, check_device(device), options
    )
    if if_main_process():
        line = accuracy_line(scores, classifier.prompts)
        show(line)
        logger.info(line)
    return scores


@torch.no_grad()
def zero_shot_accuracy(
    domain: Any,
    classifier: Any,
    clips: Dataset,
    device: str | torch.device,
    options: dict[str, Any],
) -> dict[str, float]:
    """Return the accuracy of a zero-shot classifier on clean clips.

    Arguments
    ---------
    domain : MaskDomain
        It is moved to the device.
    classifier : ClapClassifier
        It is moved to the device.
    clips : Dataset
    device : str or torch.device
    options : dict
        Arguments of the DataLoader.

    Returns
    -------
    scores : dict
        `zero_shot_accuracy`, 0 to 1, and `zero_shot_clips`; empty for clips with
        captions in place of classes.
    """
    domain, classifier = domain.to(device), classifier.to(device)
    hits = []
    for batch in DataLoader(clips, **options):
        if batch.label is None:
            return {}
        encoded = domain.encode(batch.wav.to(device), lens_on(batch, device))
        logits = classify(domain, classifier, encoded).logits
        hits.append(logits.argmax(1).cpu() == batch.label)
    right = torch.cat(hits)
    return {
        "zero_shot_accuracy": right.float().mean().item(),
        "zero_shot_clips": len(right),
    }


def accuracy_line(scores: dict[str, float], prompts: list[str]) -> str:
    """Return the printed line of `zero_shot_accuracy`.

    Example
    -------
    >>> accuracy_line({"zero_shot_accuracy": 0.5, "zero_shot_clips": 8}, ["dog", "cat"])
    "zero-shot accuracy: 50.0 % on 8 clips of the test split, with 2 prompts such as \
'dog'"
    """
    if not scores:
        return "zero-shot accuracy: none, the test split has captions but no classes"
    return (
        f"zero-shot accuracy: {100 * scores['zero_shot_accuracy']:.1f} % on "
        f"{scores['zero_shot_clips']} clips of the test split, with {len(prompts)} "
        f"prompts such as {prompts[0]!r}"
    )
