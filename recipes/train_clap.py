"""Train a small CLAP, the zero-shot classifier to be explained by LMAC-ZS.

    python train_clap.py hparams/esc10_clap.yaml --data_folder /path/to/ESC-50

Audio and captions are aligned by a contrastive loss; the captions are made of class
names and attributes. It writes to `results/esc10_clap/1234`: `clap/` (weights and
vocabulary, which `trained_clap` reads), `epochs.csv`, `train_log.txt`, `training.json`
(test scores, for combinations in the training captions and for others, with the chance
levels; time, memory). The same command resumes an interrupted run. Scroll to the bottom
first.
"""

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.losses.clap import silence, symmetric_contrastive, truth
from speechbrain_lmac.training.base_brain import NOISE_PARTS
from speechbrain_lmac.training.clap import (
    CaptionBrain,
    nearly_silent,
    prepare_clap,
    write_clap,
)
from speechbrain_lmac.training.experiment import train
from speechbrain_lmac.utils.command import main

NEEDED = ["dataset", "domain", "clap", "captioned", "silence_weight"]


class ClapBrain(CaptionBrain):
    """Align audio with its captions, and near silence with none."""

    def compute_forward(self, batch, stage):
        """Return scaled similarities (B, B) of audio and captions, the truth, and
        cosines (B, B) of nearly silent clips and the captions."""
        part, keys = NOISE_PARTS[stage], self.keys(batch, stage)
        clips = self.hparams.captioned(batch.wav, keys, part)
        batch = batch.with_wav(clips.wav, clips.mixed)
        sounds = self.embed(batch, stage)
        text = self.embed_captions(clips.captions, stage)
        logits = self.modules.clap.scale * sounds @ text.T
        stated = [caption.facts for caption in clips.captions]
        true = truth(clips.facts, stated).to(logits.device)
        quiet = nearly_silent(clips.wav, keys).to(self.device)
        near_silence = self.embed_audio(quiet, lens_on(batch, self.device))
        return logits, true, near_silence @ text.T

    def compute_objectives(self, predictions, batch, stage):
        """Return the contrastive loss plus the weighted silence term."""
        logits, true, near_silence = predictions
        quiet = silence(near_silence)
        loss = symmetric_contrastive(logits, true) + self.hparams.silence_weight * quiet
        self.record_all({"loss": loss, "silence": quiet})
        self.record_retrieval(batch, stage)
        return loss.mean()


def train_clap(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_clap")
    require_keys(hparams, NEEDED, source[0])
    prepare_clap(hparams)
    write_clap(train(ClapBrain, hparams, run_opts, source), hparams, argv)


if __name__ == "__main__":
    main(train_clap)
