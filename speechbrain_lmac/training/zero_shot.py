"""The training loop of LMAC-ZS's interpreter."""

from functools import cached_property

import speechbrain as sb
from torch.nn.parallel import DistributedDataParallel

from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.explainers import ZeroShotExplainer
from speechbrain_lmac.losses.audio_text_pairs import gather_pairs
from speechbrain_lmac.training.brain import ExplainerBrain
from speechbrain_lmac.training.prompts import ClassPrompts, PromptMemory
from speechbrain_lmac.utils.distributed import average_gradients


class ZeroShotBrain(ExplainerBrain):
    """Train an interpreter for any prompt against a frozen zero-shot classifier.

    Every prompt of a batch is asked of every clip of it. Recorded are the terms of the
    objective under their own names, and the mean of the masks of the clips' own prompts
    and of the others, `mm_own` and `mm_other`; in the validation also the means of
    `hparams.metrics`, which explain the prompt that the classifier predicts.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        classifier = self.hparams.classifier
        # The key is optional.
        self.prompts = getattr(self.hparams, "prompts", None) or ClassPrompts(
            classifier
        )
        self.memory = PromptMemory(classifier)

    @cached_property
    def explainer(self):
        """The interpreter in training as an explainer of the classifier's prompts."""
        return ZeroShotExplainer(
            self.modules.domain, self.hparams.classifier, self.modules.interpreter
        )

    def compute_forward(self, batch, stage):
        """Clips to all their pairs, and to what of the predicted prompt is scored."""
        batch = self.noisy(batch, stage)
        domain, classifier = self.modules.domain, self.hparams.classifier
        interpreter = self.modules.interpreter
        if isinstance(interpreter, DistributedDataParallel):
            # It waits for the others in every call; processes differ in their prompts,
            # and so in how many pieces they go through.
            interpreter = interpreter.module
        pairs = gather_pairs(
            domain,
            classifier,
            interpreter,
            batch.wav,
            self.memory.ask(self.prompts.of(batch)),
            batch.lens,
            self.hparams.pairs_at_once,
        )
        return pairs, self.scored(batch, stage)

    def optimizers_step(self):
        """A step with the mean of all processes' gradients; see `compute_forward`."""
        average_gradients(self.modules.interpreter.parameters())
        super().optimizers_step()

    def scored(self, batch, stage):
        """Evidence of the predicted prompts; none in training."""
        if stage == sb.Stage.TRAIN:
            return None
        explanation = self.explainer.explain(batch.wav, lens=batch.lens)
        return gather_evidence(
            self.modules.domain, self.hparams.classifier, explanation
        )

    def compute_objectives(self, predictions, batch, stage):
        """The weighted terms of the objective."""
        pairs, evidence = predictions
        terms = self.hparams.objective(pairs)
        loss = self.hparams.objective.total(terms)
        for name, values in terms.items():
            self.record(name, values)
        self.record("loss", loss)
        self.record("mm_own", pairs.own_size)
        self.record("mm_other", pairs.other_size)
        if evidence is not None:
            self.judge(evidence, stage)
        return loss.mean()
