"""Train LMAC-TD: a mask on a learned code of the waveform, in place of the STFT.

    python train_lmac_td.py hparams/esc10_lmac_td.yaml --data_folder /path/to/ESC-50

It needs a classifier (train_classifier.py) and a codec (train_codec.py), and writes to
`results/esc10_lmac_td/1234` the files of train_lmac.py; if the YAML trains the codec,
too (`pretrained_codec` in place of `frozen_codec`), also `codec/`, which belongs to
that interpreter. `--alpha` sets the input of the mask: 1 the classifier's hidden maps,
0 the waveform. The same command resumes an interrupted run. Scroll to the bottom first.
"""

from pathlib import Path

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.domains.codec import check_one_process, is_trainable, save_codec
from speechbrain_lmac.recipes.train_lmac import LMAC
from speechbrain_lmac.training.experiment import train
from speechbrain_lmac.training.training_record import write_interpreter
from speechbrain_lmac.utils.command import main


class LMACTD(LMAC):
    """L-MAC in a `LearnedDomain`: rep is the code of the waveform, (B, T, F).

    The codec's encoder returns it, the mask multiplies it, and the classifier's input
    is the STFT of the decoded waveform. The objective has terms of the decoded
    waveforms (`losses.lmac_td`).
    """

    def save_codec(self):
        """Save the codec, if it was trained along with the interpreter."""
        if is_trainable(self.hparams.codec):
            save_codec(self.hparams.codec, Path(self.hparams.output_folder) / "codec")


def train_lmac_td(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_lmac_td")
    require_keys(hparams, ["codec", *LMACTD.NEEDED], source[0])
    check_one_process(hparams["codec"])
    brain = train(LMACTD, hparams, run_opts, source)
    write_interpreter(brain, hparams, argv, save_also=brain.save_codec)


if __name__ == "__main__":
    main(train_lmac_td)
