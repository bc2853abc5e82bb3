"""Class names are read as they were written, whatever they are."""

import json

import pytest
from hypothesis import strategies as st
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.classifiers.checkpoint import load_classifier, save_classifier
from speechbrain_lmac.classifiers.labels import LabelEncoder
from speechbrain_lmac.data.dataset import ClipDataset

NASTY = [
    "a => b",
    "'",
    '" => "',
    "\n",
    " a ",
    "",
    "=" * 16,
    "\\ => ",
    "雨",
    "{data_root}",
]
NASTY += ["$x$", "{", "a|b", "\ud800", "\x1b", "\u2028", "__unk__", "starting_index"]


def test_speechbrain_reads_any_names_that_we_write(tmp_path, for_any):
    def check(names):
        encoder, again = LabelEncoder(), CategoricalEncoder()
        encoder.update_from_iterable(names)
        encoder.save(tmp_path / "labels.txt")
        again.load(tmp_path / "labels.txt")
        assert again.ind2lab == dict(enumerate(names))
        assert all(type(name) is str for name in again.lab2ind)

    texts = st.text(st.characters()) | st.sampled_from(NASTY)
    for_any(check, st.lists(texts, min_size=1, unique=True))


def test_a_classifier_keeps_its_names(tmp_path):
    model = CompactClassifier(n_classes=len(NASTY))
    save_classifier(model, NASTY, tmp_path)
    assert load_classifier(model, str(tmp_path)) == NASTY


@pytest.mark.parametrize("root", ["data/{x}", "{data_root}", "a {"])
def test_braces_in_names_are_nothing_to_replace(tmp_path, root):
    def prepare(data_folder, manifest_folder, categories):
        raise AssertionError

    clips = {
        f"{name} {number}": {"wav": f"{{data_root}}/{name}.wav", "category": name}
        for number, name in enumerate(NASTY)
    }
    (tmp_path / "test.json").write_text(json.dumps(clips))
    dataset = ClipDataset(prepare, root, NASTY, len(NASTY))
    found = dataset.load(tmp_path, "test", NASTY).data
    for name, clip in zip(NASTY, found.values(), strict=True):
        assert clip == {"wav": f"{root}/{name}.wav", "category": name}
