"""The training loop of LMAC-TD's codec. Its interpreter trains as L-MAC's does."""

from speechbrain_lmac.losses.lmac_td import reconstruction
from speechbrain_lmac.metrics.separation import si_sdr
from speechbrain_lmac.training.base_brain import RecordingBrain


class CodecBrain(RecordingBrain):
    """Train an encoder and a decoder to give back what they are given.

    Recorded are the loss and `si_sdr` of the reconstruction, in dB (NaN for a silent
    clip, which the mean leaves out).
    """

    def compute_forward(self, batch, stage):
        """Clips as they are heard, and their reconstruction, (B, N) each."""
        wav = self.noisy(batch, stage).wav
        domain = self.modules.domain
        return domain.decode(domain.encode(wav)), wav

    def compute_objectives(self, predictions, batch, stage):
        """Minus the SI-SNR, up to a ceiling."""
        loss = reconstruction(*predictions)
        self.record("si_sdr", si_sdr(*predictions))
        self.record("loss", loss)
        return loss.mean()
