"""Draws of sources: known answers, for manifests and trainings depend on them."""

import json

import pytest
import torch

from speechbrain_lmac.data.sources import CorpusSounds, GeneratedSounds, PartnerClips
from speechbrain_lmac.dsp.noise import GENERATORS
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

CLASSES = {"a": "dog", "b": "cat", "c": "dog", "d": "cow", "e": "cat"}
# Of the draws before training and manifests shared them.
PIECES = [
    {"wav": "{noise_root}/test2.wav", "start": 0, "length": 250},
    {"wav": "{noise_root}/test0.wav", "start": 0, "length": 50},
    {"wav": "{noise_root}/test1.wav", "start": 39, "length": 100},
]
DRAWN = [
    {"generated": "white", "seed": 6751707659908584759},
    {"generated": "babble", "seed": 1567460148568094835},
    {"generated": "coloured", "seed": 4244090061379285516},
]
SEVERAL = ["b", "d", "e", "b", "d"]
ONE = ["b", "b", "b", "b", "d", "b"]


class Corpus:
    """Three recordings in each of two parts."""

    def __init__(self, folder):
        self.root = self.manifest_folder = folder
        self.prepared = 0

    def prepare(self):
        self.prepared += 1
        for part in ("valid", "test"):
            files = {
                f"{part}{i}.wav": {
                    "wav": f"{{data_root}}/{part}{i}.wav",
                    "n_frames": 100 * i + 50,
                    "sample_rate": 16000,
                    "checksum": str(9 - i),
                }
                for i in range(3 + self.prepared - 1)
            }
            (self.root / f"{part}.json").write_text(json.dumps(files))


def test_pieces_of_a_corpus(tmp_path):
    source = CorpusSounds(Corpus(tmp_path))
    source.prepare()
    draw = generator(7, "noise", "clip")
    pieces = source.pieces(["test"], 400, 16000, draw)
    assert pieces == PIECES
    # Drawn again, and of two parts: all of both, in the order of the checksums.
    assert source.pieces(["test"], 400, 16000, generator(7, "noise", "clip")) == PIECES
    names = [file["wav"] for file in source.files("valid", "test")]
    assert names == [
        f"{{data_root}}/{part}{i}.wav" for part in ("valid", "test") for i in (2, 1, 0)
    ]


def test_a_corpus_that_is_prepared_again_is_read_again(tmp_path):
    source = CorpusSounds(Corpus(tmp_path))
    for expected in (3, 4):
        source.prepare()
        assert len(source.files("test")) == expected


def test_kinds_of_generated_noise():
    source = GeneratedSounds(["white", "coloured", "babble"])
    drawn = [source.drawn((1234, "condition", "noise", "test", c)) for c in "abc"]
    assert drawn == DRAWN
    for number, name in enumerate(("white", "coloured", "babble", "white")):
        found = source.numbered(number, ("noise", "train"), 800, 16000)
        expected = GENERATORS[name](("noise", "train", number), 800, 16000)
        assert torch.equal(found, expected)


def test_partners_of_a_clip():
    source = PartnerClips(CLASSES, "its split")
    assert source.partners("a", "dog") == ["b", "d", "e"]
    any_class = PartnerClips(CLASSES, "its split", lambda other, category: True)
    assert any_class.partners("a", "dog") == ["b", "c", "d", "e"]
    several = source.draw_several("a", "dog", 5, generator(1, "a"))
    assert several == SEVERAL
    assert [source.draw_one("a", "dog", generator(i, "a")) for i in range(6)] == ONE
    with pytest.raises(InputError, match=" a: its split"):
        PartnerClips({"a": "dog", "c": "dog"}, "its split").partners("a", "dog")
