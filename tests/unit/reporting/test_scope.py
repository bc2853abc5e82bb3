"""The header's lines on data: the folds of the scored clips, not of the split."""

import json

from speechbrain_lmac.reporting.scope import data_lines


def test_the_folds_are_those_of_the_scored_clips(tmp_path):
    for split, folds in {"train": [1, 2], "valid": [4], "test": [5]}.items():
        clips = {f"clip{fold}": {"wav": "a.wav", "fold": fold} for fold in folds}
        (tmp_path / f"{split}.json").write_text(json.dumps(clips))

    def scope(clips):
        first, line = data_lines("data/esc10", tmp_path, "test", clips)
        assert first == "data: split test of esc10"
        return line.split(", one seed")[0]

    assert scope(["clip5", "clip5"]) == "fold 5"
    assert scope(["clip4"]) == "fold 4"  # the published protocol, whatever the split
    assert scope(["clip5", "clip4"]) == "folds 4, 5"


def test_a_dataset_without_folds_has_none(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.json").write_text('{"a": {"wav": "a.wav"}}')
    (_, line) = data_lines("data", tmp_path, "test", ["a"])
    assert "fold" not in line and "one seed" in line
