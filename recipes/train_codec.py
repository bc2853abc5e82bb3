"""Train the codec of LMAC-TD: waveform to code, and back.

    python train_codec.py hparams/esc10_codec.yaml --data_folder /path/to/ESC-50

It writes to `results/esc10_codec/1234`: `codec/` (which train_lmac_td.py reads),
`epochs.csv`, `train_log.txt`, `training.json` (SI-SDR of the reconstruction on the test
fold, time, memory). The same command resumes an interrupted run. Scroll to the bottom
first.
"""

from pathlib import Path

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.domains.codec import save_codec
from speechbrain_lmac.losses.lmac_td import reconstruction
from speechbrain_lmac.metrics.separation import si_sdr
from speechbrain_lmac.training.base_brain import RecordingBrain
from speechbrain_lmac.training.experiment import train
from speechbrain_lmac.training.training_record import write_record
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.distributed import one_process_only


class CodecBrain(RecordingBrain):
    """An encoder and a decoder, trained to reconstruct waveforms."""

    def compute_forward(self, batch, stage):
        """Return the reconstructions of noisy clips, and the clips, (B, N) each."""
        wav, domain = self.noisy(batch, stage).wav, self.modules.domain
        return domain.decode(domain.encode(wav)), wav

    def compute_objectives(self, predictions, batch, stage):
        """Return the negative SI-SNR, up to a ceiling; record the SI-SDR in dB, too
        (NaN for a silent clip, left out of the mean)."""
        loss = reconstruction(*predictions)
        self.record("si_sdr", si_sdr(*predictions))
        self.record("loss", loss)
        return loss.mean()


def train_codec(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_codec")
    require_keys(hparams, ["dataset", "domain"], source[0])
    one_process_only("a codec")
    brain = train(CodecBrain, hparams, run_opts, source)
    codec, folder = hparams["domain"].codec, Path(hparams["output_folder"])

    def save():
        save_codec(codec, folder / "codec")

    write_record(brain, folder, codec, argv, save)


if __name__ == "__main__":
    main(train_codec)
