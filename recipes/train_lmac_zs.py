"""Train LMAC-ZS: a decoder that makes a mask for any prompt of a zero-shot classifier.

    python train_lmac_zs.py hparams/esc10_lmac_zs_stft.yaml --data_folder ESC50_FOLDER

needs a CLAP (train_clap.py) and tells first how many clips of the test split it gets
right by the prompts of their classes. Then it trains on every pair of a clip and a
prompt of its batch, and writes to `results/esc10_lmac_zs_stft/1234` what train_lmac.py
writes; `training.json` has the zero-shot accuracy. Interrupted, the same command goes
on where it stopped. explain.py takes any prompt. Scroll to the bottom first.
"""

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.losses.audio_text_pairs import gather_pairs
from speechbrain_lmac.training import experiment
from speechbrain_lmac.training.training_record import write_interpreter
from speechbrain_lmac.training.zero_shot import PromptBrain, tell_zero_shot_accuracy
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.errors import check_counts


class LMACZS(PromptBrain):
    """Masks for prompts: every prompt of a batch is asked of every clip of it.

    Recorded are the terms of the objective under their own names, and the mean of the
    masks of the clips' own prompts and of the others, `mm_own` and `mm_other`; but in
    training also the means of `metrics`, of the prompt that the classifier predicts.
    """

    def compute_forward(self, batch, stage):
        """Clips to all their pairs with prompts, and to what of the predicted prompt is
        scored."""
        batch = self.noisy(batch, stage)
        pairs = gather_pairs(
            self.modules.domain,
            self.hparams.classifier,
            self.interpreter,  # hidden maps and the prompt's embedding to a mask
            batch.wav,
            self.memory.ask(self.prompts.of(batch)),
            batch.lens,
            self.hparams.pairs_at_once,
        )
        return pairs, self.scored(batch, stage)

    def compute_objectives(self, predictions, batch, stage):
        """The terms of the objective (`losses.lmac_zs`), and their weighted sum."""
        pairs, evidence = predictions
        terms = self.hparams.objective(pairs)
        loss = self.hparams.objective.total(terms)
        self.record_all({**terms, "loss": loss})
        self.record_all({"mm_own": pairs.own_size, "mm_other": pairs.other_size})
        self.judge(evidence, stage)
        return loss.mean()


def train_lmac_zs(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_lmac_zs")
    require_keys(hparams, ["pairs_at_once", *LMACZS.NEEDED], source[0])
    check_counts(pairs_at_once=hparams["pairs_at_once"])
    manifests = experiment.start_training(hparams, run_opts, source)
    splits = experiment.load_splits(hparams, manifests)
    before = tell_zero_shot_accuracy(hparams, splits["test"], run_opts.device)
    brain = experiment.fit_and_test(LMACZS, hparams, run_opts, splits)
    write_interpreter(brain, hparams, argv, before=before)


if __name__ == "__main__":
    main(train_lmac_zs)
