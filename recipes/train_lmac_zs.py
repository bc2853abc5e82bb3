"""Train LMAC-ZS: a decoder that makes a mask for any prompt of a zero-shot classifier.

    python train_lmac_zs.py hparams/esc10_lmac_zs_stft.yaml --data_folder ESC50_FOLDER

It needs a CLAP (train_clap.py) and first prints its zero-shot accuracy on the test
split, by the prompts of the classes. Then it trains on all pairs of clips and prompts
of a batch, and writes to `results/esc10_lmac_zs_stft/1234` the files of train_lmac.py;
`training.json` has the zero-shot accuracy. The same command resumes an interrupted run.
explain.py takes any prompt. Scroll to the bottom first.
"""

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.losses.audio_text_pairs import gather_pairs
from speechbrain_lmac.training import experiment
from speechbrain_lmac.training.training_record import write_interpreter
from speechbrain_lmac.training.zero_shot import PromptBrain, report_zero_shot_accuracy
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.errors import check_counts


class LMACZS(PromptBrain):
    """Masks for all pairs of the clips and prompts of a batch.

    Recorded are the terms of the objective under their own names, and the mean of the
    masks of the clips' own prompts and of the others, `mm_own` and `mm_other`; except
    in training also the means of `metrics`, for the predicted prompt.
    """

    def compute_forward(self, batch, stage):
        """Return all pairs of clips and prompts, and the evidence of the predicted
        prompts (None in training)."""
        batch = self.noisy(batch, stage)
        pairs = gather_pairs(
            self.modules.domain,
            self.hparams.classifier,
            self.interpreter,  # hidden maps and the prompt's embedding to a mask
            batch.wav,
            self.memory.embed(self.prompts.of(batch)),
            batch.lens,
            self.hparams.pairs_at_once,
        )
        return pairs, self.predicted_evidence(batch, stage)

    def compute_objectives(self, predictions, batch, stage):
        """Return the weighted sum of the objective's terms (`losses.lmac_zs`)."""
        pairs, evidence = predictions
        terms = self.hparams.objective(pairs)
        loss = self.hparams.objective.total(terms)
        self.record_all({**terms, "loss": loss})
        self.record_all({"mm_own": pairs.own_size, "mm_other": pairs.other_size})
        self.record_metrics(evidence, stage)
        return loss.mean()


def train_lmac_zs(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_lmac_zs")
    require_keys(hparams, ["pairs_at_once", *LMACZS.NEEDED], source[0])
    check_counts(pairs_at_once=hparams["pairs_at_once"])
    manifests = experiment.start_training(hparams, run_opts, source)
    splits = experiment.load_splits(hparams, manifests)
    before = report_zero_shot_accuracy(hparams, splits["test"], run_opts.device)
    brain = experiment.fit_and_test(LMACZS, hparams, run_opts, splits)
    write_interpreter(brain, hparams, argv, before=before)


if __name__ == "__main__":
    main(train_lmac_zs)
