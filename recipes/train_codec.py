"""Train the codec that LMAC-TD masks in: waveform to code, and back.

    python train_codec.py hparams/esc10_codec.yaml --data_folder /path/to/ESC-50

writes to `results/esc10_codec/1234`: `codec/` (which train_lmac_td.py reads),
`epochs.csv`, `train_log.txt`, `training.json` (SI-SDR of the reconstruction on the
test fold, time, memory). Interrupted, the same command goes on where it stopped.
Scroll to the bottom first.
"""

from pathlib import Path

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.domains.codec import save_codec
from speechbrain_lmac.training.codec import CodecBrain
from speechbrain_lmac.training.experiment import fit_and_test, start_training
from speechbrain_lmac.training.training_record import write_record
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.distributed import one_process_only


def train_codec(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(
        argv, training=True, recipe="train_codec"
    )
    require_keys(hparams, ["dataset", "domain", "training"], source[0])
    one_process_only("a codec")
    domain = hparams["domain"]
    manifests = start_training(hparams, run_opts, source)
    dataset = hparams["dataset"]
    labels = sorted(dataset.categories)
    brain = fit_and_test(
        CodecBrain,
        {"domain": domain},
        hparams,
        run_opts,
        {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")},
    )
    folder = Path(hparams["output_folder"])
    write_record(
        brain,
        folder,
        domain.codec,
        argv,
        save=lambda: save_codec(domain.codec, folder / "codec"),
    )


if __name__ == "__main__":
    main(train_codec)
