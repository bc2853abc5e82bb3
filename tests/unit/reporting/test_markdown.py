"""Pages in Markdown: paragraphs, and the tables beside them."""

import pandas as pd

from speechbrain_lmac.reporting.markdown import MarkdownPage, placed, table_lines


def test_an_empty_line_stands_between_paragraphs_and_none_is_empty():
    page = MarkdownPage("A", ["one", "two"])
    page.add("text", "", [], table_lines(["x"], [[1]]))
    assert page.text() == "# A\n\n- one\n- two\n\ntext\n\n| x |\n| --- |\n| 1 |\n"
    assert MarkdownPage("A").text() == "# A\n"


def test_the_tables_lie_beside_the_page(tmp_path):
    page = MarkdownPage("A")
    for value in (1, 2):
        scores = pd.DataFrame({"AI": [value]})
        page.add_rows("scores", placed(scores, block=f"b{value}"))
    page.write(tmp_path / "new" / "summary.md")
    files = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert files == {"summary.md": "# A\n", "scores.csv": "block,AI\nb1,1\nb2,2\n"}


def test_pages_become_one():
    first, second = MarkdownPage("A"), MarkdownPage("B")
    first.add_rows("scores", 1)
    second.add_rows("scores", 2)
    second.add_rows("other", 3)
    first.append(second)
    assert first.text() == "# A\n\n# B\n"
    assert dict(first.tables) == {"scores": [1, 2], "other": [3]}
