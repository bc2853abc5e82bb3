"""Waiting time of a training for its data."""

import tempfile
import time
from pathlib import Path

import soundfile
from torch.utils.data import DataLoader, Dataset

from benchmarks.settings import RATE, clips, cnn14, conv_decoder, part, stft
from benchmarks.training import lmac_step
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.data.dataset import collate_clips
from speechbrain_lmac.dsp.audio import AudioReader, fix_length, to_model_level

FILE_RATE = 44100
N_BATCHES = 6


class Files(Dataset):
    """Audio files, read and resampled each time, as in a first epoch."""

    def __init__(self, paths, sample_rate, n_samples):
        self.paths = paths
        self.n_samples = n_samples
        self.reader = AudioReader(sample_rate)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        wav = fix_length(self.reader(self.paths[index]), self.n_samples)
        return {"id": str(index), "signal": to_model_level(wav)}


def waiting(dataset, batch_size, n_workers, step):
    """Return seconds of waiting for data, and in total, after the first batch."""
    loader = DataLoader(
        dataset, batch_size, num_workers=n_workers, collate_fn=collate_clips
    )
    batches, waited, started = iter(loader), 0.0, None
    while True:
        before = time.perf_counter()
        if next(batches, None) is None:
            return waited, time.perf_counter() - started
        now = time.perf_counter()
        if started is None:  # the workers start
            started = now
        else:
            waited += now - before
        step()


def compact_decoder():
    """Return the decoder of the compact classifier."""
    return part("interpreter/conv", frequency={"sample_rate": RATE})


def measure(settings):
    """Return the share of time that L-MAC trainings wait for data.

    Returns
    -------
    rows : list
        `{"training", "workers", "share", "seconds_per_step"}`.
    """
    domain = stft()
    compact = Frozen(part("classifier/compact", n_classes=10))
    trainings = {
        "compact classifier": (compact, compact_decoder()),
        "CNN14": (cnn14(settings), conv_decoder(settings)),
    }
    n_samples = clips(settings, 1).shape[1]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        n_files = N_BATCHES * settings.batch_size
        paths = [str(Path(folder) / f"{i}.wav") for i in range(n_files)]
        sounds = clips(settings, n_files, settings.seconds * FILE_RATE / 16000)
        for path, sound in zip(paths, sounds, strict=True):
            soundfile.write(path, sound.numpy(), FILE_RATE, "PCM_16")
        dataset = Files(paths, domain.sample_rate, n_samples)
        for name, (classifier, decoder) in trainings.items():
            step = lmac_step(decoder, settings, domain, classifier)
            step()
            for n_workers in (0, 1):
                waited, total = waiting(dataset, settings.batch_size, n_workers, step)
                rows.append(
                    {
                        "training": name,
                        "workers": n_workers,
                        "share": waited / total,
                        "seconds_per_step": total / N_BATCHES,
                    }
                )
    return rows
