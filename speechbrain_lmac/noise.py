"""Noise that is added in a training while it runs.

A noise is an object with ``prepare()`` and ``add(wav, keys, part)``. It has three
parts, "train", "valid" and "test", which share nothing: no file of a corpus, no seed of
what is generated. What is drawn is a function of the key of a clip, so that a resumed
training hears the same.
"""

import torch

from speechbrain_lmac.data_prep.noise_prepare import read_part
from speechbrain_lmac.dataio import AudioReader
from speechbrain_lmac.draws import generator
from speechbrain_lmac.generated import GENERATORS
from speechbrain_lmac.mixing import gains_of_snr, mix
from speechbrain_lmac.mixtures import Sounds, draw_pieces


class CorpusNoise:
    """Recordings of a corpus, joined and cut as `draw_pieces` says.

    Arguments
    ---------
    corpus : object
        From `data_prep.noise_prepare`.
    sample_rate : int
        Of the model, Hz.
    snr_db : float
        10 log10 of the clip's energy over the noise's.
    """

    def __init__(self, corpus, sample_rate, snr_db=0.0):
        self.corpus = corpus
        self.sample_rate = sample_rate
        self.gains = gains_of_snr(snr_db)
        self.sounds = None  # the folder is known when it was prepared
        self.files = {}

    def prepare(self):
        """Check the corpus, and write its manifests."""
        return self.corpus.prepare()

    def add(self, wav, keys, part):
        """Clips with noise, at the model's level; see `add_noise`."""
        if part not in self.files:
            self.files[part] = read_part(self.corpus, part)
            reader = AudioReader(self.sample_rate)
            self.sounds = Sounds({"data_root": (self.corpus.root, reader)})
        return add_noise(self, wav, keys, part)

    def noise(self, key, n_samples, part):
        """A noise (N,) of any level."""
        draw = generator("noise", part, *key)
        files = self.files[part]
        pieces = draw_pieces(files, n_samples, self.sample_rate, draw)
        return self.sounds.join(pieces, n_samples)


class GeneratedNoise:
    """Noise without recordings, for each clip one of several kinds.

    Arguments
    ---------
    sample_rate : int
        Of the model, Hz.
    snr_db : float
        10 log10 of the clip's energy over the noise's.
    names : sequence
        Among `generated.GENERATORS`, each with equal chance.
    """

    def __init__(self, sample_rate, snr_db=0.0, names=("coloured", "babble")):
        self.sample_rate = sample_rate
        self.gains = gains_of_snr(snr_db)
        self.names = list(names)

    def prepare(self):
        """Nothing to prepare."""

    def add(self, wav, keys, part):
        """Clips with noise, at the model's level; see `add_noise`."""
        return add_noise(self, wav, keys, part)

    def noise(self, key, n_samples, part):
        """A noise (N,) of any level."""
        key = ("noise", part, *key)
        place = torch.randint(len(self.names), (), generator=generator(*key))
        return GENERATORS[self.names[place]](key, n_samples, self.sample_rate)


def add_noise(source, wav, keys, part):
    """Add noise of a source to each clip.

    Arguments
    ---------
    source : CorpusNoise or GeneratedNoise
    wav : torch.Tensor
        Shape (B, N), on the CPU. A silent clip becomes noise alone.
    keys : list
        B tuples of strings and numbers: (seed, epoch, clip).
    part : str
        "train", "valid" or "test".

    Returns
    -------
    wav : torch.Tensor
        Shape (B, N), float32; the largest absolute sample is 1 to rounding.
    """
    n_samples = wav.shape[1]
    mixed = [
        mix(clip, source.noise(key, n_samples, part), source.gains)[0]
        for clip, key in zip(wav, keys, strict=True)
    ]
    return torch.stack(mixed)
