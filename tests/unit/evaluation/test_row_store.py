"""Finished rows: whose they are, and which files they are read from."""

import pandas as pd
import pytest

from speechbrain_lmac.evaluation.row_store import RowStore, finished_table
from speechbrain_lmac.utils.csv_files import write_csv
from speechbrain_lmac.utils.errors import InputError


def rows(clip, fingerprint="0"):
    return pd.DataFrame({"id": [clip], "method": ["m"], "fingerprint": [fingerprint]})


def test_only_the_files_of_processes_are_read_beside_the_own(tmp_path):
    write_csv(rows("own"), tmp_path / "clean STFT.csv")
    write_csv(rows("of process 1"), tmp_path / "clean STFT.1.csv")
    write_csv(rows("of another block"), tmp_path / "clean STFT.small.csv")
    store = RowStore(tmp_path / "clean STFT.csv", {"m": "0"})
    assert store.has("m", ["own", "of process 1"])
    assert not store.has("m", ["of another block"])
    store.gather()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["clean STFT.csv", "clean STFT.small.csv"]


def test_rows_have_the_order_of_the_keys():
    store = RowStore()
    store.add(pd.concat([rows("a"), rows("b")]))
    assert store.rows([("m", "b"), ("m", "a")])["id"].tolist() == ["b", "a"]
    assert ("m", "a") in store and ("m", "c") not in store


def test_a_finished_table_is_not_computed_again(tmp_path):
    path = tmp_path / "rows" / "sanity.csv"
    made = []

    def make():
        made.append(path)
        return pd.DataFrame({"id": ["a"], "step": [1]})

    first, again = finished_table(path, make), finished_table(path, make)
    pd.testing.assert_frame_equal(first, again)
    assert made == [path]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"a,b\n1,2\n",
        b"method,fingerprint\nm,0\n",
        b"id,method,correct,fingerprint\na,m,True,0\nb,m,perhaps,0\n",
    ],
    ids=["empty", "binary", "another table", "no clips", "a damaged value"],
)
def test_a_file_without_a_table_of_rows_is_named(tmp_path, content):
    for name in ("clean STFT.csv", "clean STFT.0.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name} .*remove it"):
            RowStore(tmp_path / "clean STFT.csv", {"m": "0"})
        path.unlink()


def test_a_finished_table_that_is_damaged_is_named(tmp_path):
    (tmp_path / "sanity.csv").touch()
    with pytest.raises(InputError, match="sanity.csv .*remove it"):
        finished_table(tmp_path / "sanity.csv", lambda: None)
