"""Files are written atomically."""

import pytest

from speechbrain_lmac.utils.files import write_atomically, write_text, write_together


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


def test_several_texts_are_written_together(tmp_path):
    folder = tmp_path / "a" / "b"
    write_together(folder, {"one.txt": "1", "all.txt": "old"})
    write_together(folder, {"one.txt": "2", "all.txt": "new"})
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert texts == {"one.txt": "2", "all.txt": "new"}


def test_several_texts_are_written_all_or_none(tmp_path):
    with pytest.raises(TypeError):
        write_together(tmp_path / "a" / "b", {"one.txt": "1", "all.txt": None})
    assert list(tmp_path.iterdir()) == []
    write_together(tmp_path, {"one.txt": "1", "all.txt": "old"})
    with pytest.raises(TypeError):
        write_together(tmp_path, {"one.txt": "2", "all.txt": None})
    assert (tmp_path / "one.txt").read_text() == "1"
    assert (tmp_path / "all.txt").read_text() == "old"
    # The last file marks the set as complete.
    (tmp_path / "one.txt").unlink()
    (tmp_path / "one.txt").mkdir()
    with pytest.raises(OSError):
        write_together(tmp_path, {"one.txt": "2", "all.txt": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["one.txt"]
