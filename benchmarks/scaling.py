"""Cost against length, batch, number of classes, and width of the decoder."""

import tempfile
from functools import partial
from pathlib import Path

import soundfile
import torch

from benchmarks.explanation import explain_and_decode
from benchmarks.settings import RATE, clips, cnn14, conv_decoder, stft
from benchmarks.timing import race
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.inference import AudioExplainer


def lengths(settings):
    """Time files of several lengths with the shipped model; windows from 7.5 s on."""
    model = AudioExplainer.from_hparams("esc10-lmac", run_opts={"device": "cpu"})
    with tempfile.TemporaryDirectory() as folder:
        cases = {}
        for length in settings.lengths:
            path = Path(folder) / f"{length}.wav"
            wav = clips(settings, 1, length)[0]
            soundfile.write(path, wav.numpy(), RATE, "PCM_16")
            cases[str(length)] = partial(model.explain_file, str(path))
        return race(cases, settings.rounds)


def batches(settings):
    """Time batches of several sizes with CNN14 and the compact decoder."""
    domain, classifier = stft(), cnn14(settings)
    lmac = AmortizedExplainer(domain, classifier, conv_decoder(settings).eval())
    return race(
        {
            str(size): partial(explain_and_decode, lmac, clips(settings, size))
            for size in settings.batch_sizes
        },
        settings.rounds,
    )


def classes(settings):
    """Time a clip with classifiers of several numbers of classes."""
    domain = stft()
    decoder = conv_decoder(settings).eval()
    wav = clips(settings, 1)
    return race(
        {
            str(count): partial(
                explain_and_decode,
                AmortizedExplainer(domain, cnn14(settings, count), decoder),
                wav,
            )
            for count in settings.class_counts
        },
        settings.rounds,
    )


def widths(settings):
    """Time the decoder alone, forward and backward, at multiples of its width."""
    domain, classifier = stft(), cnn14(settings)
    wav = clips(settings, settings.batch_size)
    with torch.no_grad():
        encoded = domain.encode(wav)
        hidden = classifier(domain.features(encoded)).hidden
    decoders = {scale: conv_decoder(settings, scale) for scale in settings.widths}

    def learn(decoder):
        decoder(hidden, encoded).mean().backward()

    timings = race(
        {str(scale): partial(learn, decoder) for scale, decoder in decoders.items()},
        settings.rounds,
    )
    parameters = {
        str(scale): sum(p.numel() for p in decoder.parameters())
        for scale, decoder in decoders.items()
    }
    return timings, parameters


def measure(settings):
    """Return timings of all four.

    Returns
    -------
    result : dict
        "threads": their number; "lengths" (s), "batches", "classes", "widths":
        `timings`; "parameters" of the widths.
    """
    timings, parameters = widths(settings)
    return {
        "threads": torch.get_num_threads(),
        "lengths": lengths(settings),
        "batches": batches(settings),
        "classes": classes(settings),
        "widths": timings,
        "parameters": parameters,
    }
