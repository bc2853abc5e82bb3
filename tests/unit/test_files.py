"""A file is whole or not there."""

import pandas as pd
import pytest

from speechbrain_lmac.files import write_atomically, write_csv, write_text


def test_missing_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "text.txt"
    write_text("grüße\n", str(path))
    assert path.read_bytes() == "grüße\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["text.txt"]


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "text.txt"
    write_text("a longer text", path)
    write_text("short", path)
    assert path.read_text() == "short"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_nothing(tmp_path, error):
    def interrupted(part):
        part.write_text("half")
        raise error("stop")

    with pytest.raises(error):
        write_atomically(tmp_path / "new.txt", interrupted)
    assert list(tmp_path.iterdir()) == []
    write_text("whole", tmp_path / "old.txt")
    with pytest.raises(error):
        write_atomically(tmp_path / "old.txt", interrupted)
    assert [p.name for p in tmp_path.iterdir()] == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "whole"


def test_nobody_sees_half_a_file(tmp_path):
    seen = []

    def write(part):
        part.write_text("half")
        seen.append((tmp_path / "out.csv").exists())
        # Writers choose the format by the ending, and readers look for the ending.
        seen.append(part.suffix)
        seen.append(part.name.startswith("."))
        part.write_text("whole")

    write_atomically(tmp_path / "out.csv", write)
    assert seen == [False, ".csv", True]
    assert (tmp_path / "out.csv").read_text() == "whole"


def test_a_writer_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "out.csv", lambda part: None)


def test_missing_scores_are_written_as_nan(tmp_path):
    frame = pd.DataFrame({"clip": ["a, b", "ü"], "AI": [1.5, float("nan")]})
    write_csv(frame, tmp_path / "scores.csv")
    text = (tmp_path / "scores.csv").read_text(encoding="utf-8")
    assert text == 'clip,AI\n"a, b",1.5\nü,nan\n'
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "scores.csv"), frame)
