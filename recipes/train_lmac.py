"""Train L-MAC: a decoder that makes a mask from a frozen classifier's hidden maps.

    python train_lmac.py hparams/esc10_lmac.yaml --data_folder /path/to/ESC-50

needs the trained classifier that the YAML's `classifier_source` names, and writes to
`results/esc10_lmac/1234`: `interpreter.ckpt` (which explain.py and evaluate.py read),
`epochs.csv`, `train_log.txt`, `training.json` (test metrics, time, memory).
Interrupted, the same command goes on where it stopped. Scroll to the bottom first.

The finetuning stage and the ablations are other YAMLs of the same command:

    python train_lmac.py hparams/esc10_lmac_finetune.yaml --data_folder /path/to/ESC-50

starts from the interpreter that `pretrained_interpreter` names (a file, a folder or a
hub id).
"""

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.interpreters.trained import load_interpreter
from speechbrain_lmac.training.brain import ExplainerBrain
from speechbrain_lmac.training.experiment import fit_and_test, start_training
from speechbrain_lmac.training.training_record import write_interpreter
from speechbrain_lmac.utils.command import main


def train_lmac(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(
        argv, training=True, recipe="train_lmac"
    )
    require_keys(
        hparams,
        ["dataset", "domain", "classifier", "interpreter", "objective", "training"],
        source[0],
    )
    start = hparams.get("pretrained_interpreter")
    if start is not None:
        load_interpreter(
            hparams["interpreter"],
            start,
            "pretrained_interpreter",
            hparams["classifier"],
        )
    manifests = start_training(hparams, run_opts, source)
    dataset = hparams["dataset"]
    labels = dataset.class_order(manifests, hparams["classifier"].labels)
    brain = fit_and_test(
        hparams.get("brain", ExplainerBrain),
        {"interpreter": hparams["interpreter"], "domain": hparams["domain"]},
        hparams,
        run_opts,
        {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")},
    )
    write_interpreter(brain, hparams, argv)


if __name__ == "__main__":
    main(train_lmac)
