"""Sizes of the benchmarks, and the parts that they use."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_lmac.classifiers.cnn14 import CNN14Classifier
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.training.experiment import fold_for_training

PARTS = Path(__file__).resolve().parents[1] / "hparams" / "parts"
RATE = 16000
N_CLASSES = 50


@dataclass(frozen=True)
class Settings:
    """Sizes of a run of the benchmarks.

    Arguments
    ---------
    name : str
    seconds : float
        Of a clip.
    batch_size : int
        Of L-MAC.
    rounds, slow_rounds : int
        Timings of a case, and of one that takes a minute.
    emb_dim : int
        Channels of CNN14's last block.
    width : int
        Of the published decoder.
    mask_net : dict
        Changes to the published mask network.
    lengths : tuple
        Seconds of the clips whose cost is compared.
    n_streamed : int
        Clips of the simulated corpus.
    minutes : tuple
        Of the long files that are explained.
    """

    name: str
    seconds: float = 5.0
    batch_size: int = 16
    rounds: int = 3
    slow_rounds: int = 2
    emb_dim: int = 2048
    width: int = 2048
    td_width: int = 512
    mask_net: tuple = ()
    lengths: tuple = (1, 2, 5, 10, 30, 60, 120, 300, 600)
    batch_sizes: tuple = (1, 2, 4, 8, 16, 32)
    class_counts: tuple = (10, 50, 500, 5000)
    widths: tuple = (0.5, 1, 2, 4)
    zs_batch_sizes: tuple = (4, 8, 16)
    many: int = 32
    n_streamed: int = 100_000
    minutes: tuple = (1, 12, 60)
    steps: int = 50


# Of the compact decoders for CNN14's blocks 3 to 6.
STRIDES = [8, 16, 32, 32]
WIDTHS = [16, 24, 48, 64, 96]
SETTINGS = {
    "full": Settings("full"),
    # For the tests: the same code at minimal cost.
    "tiny": Settings(
        "tiny",
        seconds=0.4,
        batch_size=2,
        rounds=1,
        slow_rounds=1,
        emb_dim=64,
        width=16,
        td_width=16,
        mask_net=(("width", 16), ("intra_layers", 1), ("inter_layers", 1)),
        lengths=(0.4, 0.8),
        batch_sizes=(1, 2),
        class_counts=(10, 20),
        widths=(0.5, 1),
        zs_batch_sizes=(2, 3),
        many=2,
        n_streamed=40,
        minutes=(0.05,),
        steps=2,
    ),
}


def part(name, **arguments):
    """Return the object of a file of hparams/parts."""
    text = f"part: !include:{PARTS / name}.yaml {arguments}\n"
    return load_hyperpyyaml(text)["part"]


def stft():
    """Return the STFT domain."""
    return part("domain/stft", sample_rate=RATE)


def cnn14(settings, n_classes=N_CLASSES):
    """Return a frozen CNN14 with random weights, on which its cost does not depend."""
    torch.manual_seed(0)
    return Frozen(CNN14Classifier(n_classes, emb_dim=settings.emb_dim))


def folded(classifier, domain):
    """Return a copy with folded batch norms, as in trainings."""
    classifier = copy.deepcopy(classifier)
    fold_for_training(classifier, domain)
    return classifier


def clips(settings, n_clips, seconds=None):
    """Return noise, (B, N), of peak 1."""
    n_samples = round((settings.seconds if seconds is None else seconds) * RATE)
    draw = torch.Generator().manual_seed(1)
    wav = torch.randn(n_clips, n_samples, generator=draw)
    return wav / wav.abs().amax(1, keepdim=True)


def hidden_channels(settings):
    """Return the channels of CNN14's blocks 3 to 6."""
    return [256, 512, 1024, settings.emb_dim]


def conv_decoder(settings, scale=1.0):
    """Return the compact decoder for CNN14, at a multiple of its widths."""
    widths = [round(scale * width) for width in WIDTHS]
    return part(
        "interpreter/conv",
        hidden_channels=hidden_channels(settings),
        strides=STRIDES,
        widths=widths,
        head_width=round(scale * 12),
        frequency={"sample_rate": RATE},
    )


def published_decoder(settings):
    """Return the published decoder, its last two layers merged."""
    return part(
        "interpreter/published",
        hidden_channels=hidden_channels(settings),
        width=settings.width,
    )
