"""What LMAC-ZS's training needs beside the method: prompts, and its first accuracy."""

import logging
from functools import cached_property

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.explainers import ZeroShotExplainer
from speechbrain_lmac.training.brain import InterpreterBrain
from speechbrain_lmac.training.experiment import loader_options
from speechbrain_lmac.training.prompts import ClassPrompts, PromptMemory
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.distributed import average_gradients

logger = logging.getLogger(__name__)


class PromptBrain(InterpreterBrain):
    """What the training of an interpreter that is told prompts needs."""

    def __init__(self, *args, **kwargs):
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
    def interpreter(self):
        """The interpreter, which DDP must not wrap: it waits for the others in every
        call, and processes differ in their prompts, and so in how many pieces they go
        through."""
        interpreter = self.modules.interpreter
        wrapped = isinstance(interpreter, DistributedDataParallel)
        return interpreter.module if wrapped else interpreter

    def optimizers_step(self) -> None:
        """A step with the mean of all processes' gradients; see `interpreter`."""
        average_gradients(self.modules.interpreter.parameters())
        super().optimizers_step()

    def scored(self, batch, stage):
        """Evidence of the predicted prompts; none in training."""
        if stage == sb.Stage.TRAIN:
            return None
        explanation = self.explainer.explain(batch.wav, lens=batch.lens)
        return self.evidence_of(explanation, stage)


def tell_zero_shot_accuracy(
    hparams: dict[str, int | str], clips, device: str
) -> dict[str, float]:
    """Print and log `zero_shot_accuracy` of the test clips, which it returns."""
    domain, classifier = hparams["domain"], hparams["classifier"]
    options = loader_options(hparams)
    told = zero_shot_accuracy(domain, classifier, clips, check_device(device), options)
    if if_main_process():
        line = accuracy_line(told, classifier.prompts)
        show(line)
        logger.info(line)
    return told


@torch.no_grad()
def zero_shot_accuracy(
    domain, classifier, clips, device: torch.device, options: dict
) -> dict[str, float]:
    """What the classifier gets right of clips as they are, before anything is trained.

    Arguments
    ---------
    domain : MaskDomain
    classifier : ClapClassifier
    clips : Dataset
    device : str or torch.device
        To which domain and classifier are moved.
    options : dict
        Of the DataLoader.

    Returns
    -------
    told : dict
        `zero_shot_accuracy`, 0 to 1, and `zero_shot_clips`; empty where captions
        stand in place of classes.
    """
    domain, classifier = domain.to(device), classifier.to(device)
    right = []
    for batch in DataLoader(clips, **options):
        if batch.label is None:
            return {}
        encoded = domain.encode(batch.wav.to(device), lens_on(batch, device))
        logits = classify(domain, classifier, encoded).logits
        right.append(logits.argmax(1).cpu() == batch.label)
    right = torch.cat(right)
    return {
        "zero_shot_accuracy": right.float().mean().item(),
        "zero_shot_clips": len(right),
    }


def accuracy_line(told: dict[str, float], prompts: list[str]) -> str:
    """What of it is printed.

    Example
    -------
    >>> accuracy_line({"zero_shot_accuracy": 0.5, "zero_shot_clips": 8}, ["dog", "cat"])
    "zero-shot: 50.0 % of 8 clips of the test split are right, by 2 prompts such as \
'dog'"
    """
    if not told:
        return "zero-shot: the test split has captions and no classes, so no accuracy"
    return (
        f"zero-shot: {100 * told['zero_shot_accuracy']:.1f} % of "
        f"{told['zero_shot_clips']} clips of the test split are right, by "
        f"{len(prompts)} prompts such as {prompts[0]!r}"
    )
