"""Train L-MAC: a decoder that makes a mask from a frozen classifier's hidden maps.

    python train_lmac.py hparams/esc10_lmac.yaml --data_folder /path/to/ESC-50

It needs the trained classifier of the YAML's `classifier_source`, and writes to
`results/esc10_lmac/1234`: `interpreter.ckpt`, `epochs.csv`, `train_log.txt`,
`training.json`. The same command resumes a run. Scroll to the bottom first.
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
    """Masks of the cells that the classifier's decisions rest on."""

    def compute_forward(self, batch, stage):
        """Return the evidence: logits of the masked-in and masked-out parts."""
        return self.explain(self.noisy(batch, stage), stage)[0]

    def explain(self, batch, stage):
        """Return the evidence of noisy clips, and their encoded representation."""
        sampled, domain = self.sampled(batch, stage), self.modules.domain
        encoded = domain.encode(batch.wav, batch.lens)
        with torch.no_grad():
            output = classify(domain, self.hparams.classifier, encoded)
        target = output.logits.argmax(1) if sampled.target is None else sampled.target
        mask = self.modules.interpreter(output.hidden, encoded, target)
        explanation = Explanation(mask, target, encoded, output.logits)
        # Logits of the masked-in part, rep * mask, and of the rest, rep * (1 - mask).
        return self.evidence_of(explanation, stage, sampled.support), encoded

    def compute_objectives(self, evidence, batch, stage):
        """Return the weighted sum of the objective's terms (`losses.lmac`)."""
        terms = self.hparams.objective(evidence)  # mask_in, mask_out, mask_l1, ...
        loss = self.hparams.objective.total(terms)
        self.record_all({**terms, "loss": loss})
        self.record_metrics(evidence, stage)
        return loss.mean()


class FinetunedLMAC(LMAC):
    """L-MAC guided by the clean clip (`losses.lmac_finetuning`)."""

    def compute_forward(self, batch, stage):
        """Return the evidence, with the noisy and clean representations."""
        noisy, clean = self.noisy_and_clean(batch, stage)
        evidence, encoded = self.explain(noisy, stage)
        with torch.no_grad():
            clean = self.modules.domain.encode(clean).rep
        return GuidedEvidence(**vars(evidence), rep=encoded.rep, rep_clean=clean)


def train_lmac(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_lmac")
    require_keys(hparams, InterpreterBrain.NEEDED, source[0])
    write_interpreter(train(LMAC, hparams, run_opts, source), hparams, argv)


if __name__ == "__main__":
    main(train_lmac)
