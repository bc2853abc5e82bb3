"""Train LMAC-TD: a mask on a learned code of the waveform, in place of the STFT.

    python train_lmac_td.py hparams/esc10_lmac_td.yaml --data_folder /path/to/ESC-50

needs a classifier (train_classifier.py) and a codec (train_codec.py), and writes to
`results/esc10_lmac_td/1234` what train_lmac.py writes; where the YAML trains the codec
along (`pretrained_codec` in place of `frozen_codec`), also `codec/`, which belongs to
that interpreter. `--alpha` tells what the mask sees: 1 the classifier's hidden maps, 0
the waveform. Interrupted, the same command goes on. Scroll to the bottom first.
"""

from pathlib import Path

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.domains.codec import check_one_process, is_trained, save_codec
from speechbrain_lmac.training.brain import ExplainerBrain
from speechbrain_lmac.training.experiment import fit_and_test, start_training
from speechbrain_lmac.training.training_record import write_interpreter
from speechbrain_lmac.utils.command import main

NEEDED = [
    "dataset",
    "domain",
    "codec",
    "classifier",
    "interpreter",
    "objective",
    "training",
]


def train_lmac_td(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(
        argv, training=True, recipe="train_lmac_td"
    )
    require_keys(hparams, NEEDED, source[0])
    codec, interpreter = hparams["codec"], hparams["interpreter"]
    check_one_process(codec)
    manifests = start_training(hparams, run_opts, source)
    dataset = hparams["dataset"]
    labels = dataset.class_order(manifests, hparams["classifier"].labels)
    brain = fit_and_test(
        ExplainerBrain,
        {"interpreter": interpreter, "domain": hparams["domain"]},
        hparams,
        run_opts,
        {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")},
    )

    def save_trained_codec():
        if is_trained(codec):
            save_codec(codec, Path(hparams["output_folder"]) / "codec")

    write_interpreter(brain, hparams, argv, save_also=save_trained_codec)


if __name__ == "__main__":
    main(train_lmac_td)
