"""Train a judge: a copy of a classifier that knows masked clips (EVAL-X).

    python train_judge.py hparams/esc10_judge.yaml --data_folder /path/to/ESC-50

It needs the classifier of the YAML's `classifier_source`, and writes to
`results/esc10_judge/1234`: `judge.ckpt` (which `metrics.checks.judge` reads),
`epochs.csv`, `train_log.txt`, `training.json`: how often the judge and the classifier
itself keep the clip's class on masked test clips. With the masks of an explainer
(hparams/esc10_encoding_judge.yaml) it is the q' of the encode-meter. The same command
resumes a run. Scroll to the bottom first.
"""

from pathlib import Path

import speechbrain as sb
import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.metrics.checks.judge import JUDGE_FILE, save_judge
from speechbrain_lmac.training.experiment import train
from speechbrain_lmac.training.judges.brain import JudgeBrain, divergence
from speechbrain_lmac.training.training_record import write_record
from speechbrain_lmac.utils.command import main

NEEDED = ["dataset", "domain", "classifier", "judge", "masks"]


class EvalX(JudgeBrain):
    """A judge of masked clips, trained to match the classifier on the whole clips."""

    def compute_forward(self, batch, stage):
        """Return logits (B, C) of the classifier and the judge, and masked clips."""
        clips, domain = self.noisy(batch, stage), self.modules.domain
        encoded = domain.encode(clips.wav, clips.lens)
        with torch.no_grad():
            logits = classify(domain, self.hparams.classifier, encoded).logits
        mask = self.hparams.masks(encoded, self.keys(batch, stage))
        masked = domain.apply_mask(encoded, mask)
        return logits, classify(domain, self.modules.judge, masked).logits, masked

    def compute_objectives(self, predictions, batch, stage):
        """Return the divergence of the judge from the classifier."""
        logits, judged, masked = predictions
        loss = divergence(logits, judged)
        self.record("loss", loss)
        self.record_agreement(logits, judge=judged)
        if stage != sb.Stage.TRAIN:
            itself = classify(self.modules.domain, self.hparams.classifier, masked)
            self.record_agreement(logits, classifier=itself.logits)
        return loss.mean()


def train_judge(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_judge")
    require_keys(hparams, NEEDED, source[0])
    brain = train(EvalX, hparams, run_opts, source)
    folder, judge = Path(hparams["output_folder"]), hparams["judge"]

    def save():
        domain = hparams["domain"]
        save_judge(judge, folder / JUDGE_FILE, brain.classifier_hash, domain)

    write_record(brain, folder, judge, argv, save)


if __name__ == "__main__":
    main(train_judge)
