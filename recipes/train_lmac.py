"""Train L-MAC: a decoder that makes a mask from a frozen classifier's hidden maps.

    python train_lmac.py hparams/esc10_lmac.yaml --data_folder /path/to/ESC-50

needs the trained classifier that the YAML's `classifier_source` names, and writes to
`results/esc10_lmac/1234`: `interpreter.ckpt`, `epochs.csv`, `train_log.txt`,
`training.json`. Interrupted, the same command goes on. Scroll to the bottom first.
"""

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.losses.lmac_finetuning import GuidedEvidence
from speechbrain_lmac.training.brain import InterpreterBrain
from speechbrain_lmac.training.experiment import train
from speechbrain_lmac.training.training_record import write_interpreter
from speechbrain_lmac.types import Explanation
from speechbrain_lmac.utils.command import main


class LMAC(InterpreterBrain):
    """A mask that keeps what the classifier decides by, and no more."""

    def compute_forward(self, batch, stage):
        """Clips to evidence: what the classifier says of what is kept and removed."""
        return self.explained(self.noisy(batch, stage), stage)[0]

    def explained(self, batch, stage):
        """Evidence of clips as they are heard, and their representation."""
        asked, domain = self.asked(batch, stage), self.modules.domain
        encoded = domain.encode(batch.wav, batch.lens)
        with torch.no_grad():
            output = classify(domain, self.hparams.classifier, encoded)
        target = output.logits.argmax(1) if asked.target is None else asked.target
        mask = self.modules.interpreter(output.hidden, encoded, target)
        explanation = Explanation(mask, target, encoded, output.logits)
        # The classifier hears what is kept, rep * mask, and removed, rep * (1 - mask).
        return self.evidence_of(explanation, stage, asked.support), encoded

    def compute_objectives(self, evidence, batch, stage):
        """The terms of the objective (`losses.lmac`), and their weighted sum."""
        terms = self.hparams.objective(evidence)  # mask_in, mask_out, mask_l1, ...
        loss = self.hparams.objective.total(terms)
        self.record_all({**terms, "loss": loss})
        self.judge(evidence, stage)
        return loss.mean()


class FinetunedLMAC(LMAC):
    """L-MAC guided by the clip that lies under the noise (`losses.lmac_finetuning`)."""

    def compute_forward(self, batch, stage):
        """Clips to evidence, with the clean representation."""
        noisy, clean = self.noisy_and_clean(batch, stage)
        evidence, encoded = self.explained(noisy, stage)
        with torch.no_grad():
            clean = self.modules.domain.encode(clean).rep
        return GuidedEvidence(**vars(evidence), rep=encoded.rep, rep_clean=clean)


def train_lmac(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_lmac")
    require_keys(hparams, InterpreterBrain.NEEDED, source[0])
    write_interpreter(train(LMAC, hparams, run_opts, source), hparams, argv)


if __name__ == "__main__":
    main(train_lmac)
