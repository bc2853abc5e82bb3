"""A table read is the table written."""

import csv
import math

import pandas as pd
from hypothesis import strategies as st

from speechbrain_lmac.utils.csv_files import cell_text, csv_cell, read_csv, write_csv


def test_missing_scores_are_written_as_nan(tmp_path):
    frame = pd.DataFrame({"clip": ["a, b", "ü"], "AI": [1.5, float("nan")]})
    write_csv(frame, tmp_path / "scores.csv")
    text = (tmp_path / "scores.csv").read_text(encoding="utf-8")
    assert text == 'clip,AI\n"a, b",1.5\nü,nan\n'
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "scores.csv"), frame)


# All but half characters, carriage returns and NUL, which are escaped.
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))
NASTY = st.sampled_from(
    ["=1+1", "-1", "'-1", "'=a", "+49", "@x", "\t", "\r\na", "-", "'", "''=", "nan"]
    + ["'nan", "NaN", "NA", "null", "", "007", "1e5", "True", "inf", '"', "a,b", "\r\n"]
)


def test_any_text_in_a_table_is_read_as_it_was_written(tmp_path, for_any):
    path = tmp_path / "table.csv"

    def check(texts, name):
        frame = pd.DataFrame({name: texts, "score": [-0.5] * len(texts)})
        write_csv(frame, path)
        back = read_csv(path, [csv_cell(name)])
        assert list(back.columns) == [name, "score"]
        assert back[name].tolist() == texts
        assert (back["score"] == -0.5).all()
        # No cell of text would be calculated.
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    number = cell.strip().replace("-", "", 1).replace("+", "", 1)
                    harmless = cell[:1] not in ("=", "+", "-", "@", "\t", "\r")
                    assert harmless or not math.isnan(float(number)), cell

    names = (ANY_TEXT | NASTY).filter(lambda name: name not in ("", "score"))
    for_any(check, st.lists(ANY_TEXT | NASTY, min_size=1), names, cases=100)


def test_any_cell_is_the_text_again(for_any):
    def check(text):
        assert cell_text(csv_cell(text)) == text

    for_any(check, ANY_TEXT | NASTY)


def test_numbers_are_untouched_and_missing_values_missing(tmp_path):
    frame = pd.DataFrame(
        {
            "x": [-1.5, math.nan, math.inf],
            "n": [-1, 0, 2],
            "yes": [True, False, True],
            "text": ["-2", None, "-2e-3"],
            "mixed": [-1, "=a", math.nan],
        }
    )
    write_csv(frame, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == (
        "x,n,yes,text,mixed\n-1.5,-1,True,-2,-1\nnan,0,False,nan,'=a\n"
        "inf,2,True,-2e-3,nan\n"
    )
    back = read_csv(tmp_path / "a.csv", ["text", "mixed"])
    assert back["text"].tolist()[::2] == ["-2", "-2e-3"] and pd.isna(back["text"][1])
    pd.testing.assert_frame_equal(back[["x", "n", "yes"]], frame[["x", "n", "yes"]])
    assert csv_cell(None) == "nan" and csv_cell(-1.5) == -1.5


def test_what_utf_8_cannot_hold_is_an_escape(tmp_path):
    write_csv(pd.DataFrame({"file": ["na\udce9\0", "a\rb"]}), tmp_path / "a.csv")
    assert read_csv(tmp_path / "a.csv")["file"].tolist() == [
        "na\\udce9\\x00",
        "a\\x0db",
    ]
