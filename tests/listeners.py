"""Second listeners without trained weights."""

from pathlib import Path

import torch
from ruamel.yaml import YAML

from speechbrain_lmac.classifiers.zoo.yamnet import YAMNet

PART = Path(__file__).resolve().parents[1] / "hparams/parts/listener/yamnet.yaml"


def random_yamnet(tags, width=0.25):
    """A YAMNet whose scores depend on its input: 0.5 plus or minus some tenths."""
    draw = torch.Generator().manual_seed(0)
    model = YAMNet(tags, width).eval().requires_grad_(False)
    for name, weights in model.named_parameters():
        scale = 0.05 if name.endswith("bias") else (2 / weights[0].numel()) ** 0.5
        weights.copy_(scale * torch.randn(weights.shape, generator=draw))
    return model


def yamnet_part():
    """The tags of each class in the YAML part of YAMNet."""
    return YAML(typ="safe").load(_without_tags(PART.read_text(encoding="utf-8")))


def _without_tags(text):
    """The mapping at the key `tags` of a part."""
    return text.partition("\ntags:\n")[2]
