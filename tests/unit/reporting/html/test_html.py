"""The parts of the report: pictures, tables from files, and what is missing."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from speechbrain_lmac.reporting.html.images import (
    LARGEST,
    mask_png,
    shrunk,
    spectrogram_png,
)
from speechbrain_lmac.reporting.html.page import (
    ReportPage,
    add_clips,
    read_evaluation,
    write_page,
)
from speechbrain_lmac.utils.errors import InputError


def pixels(png):
    image = Image.open(io.BytesIO(png))
    return np.asarray(image.convert("RGBA"))


def test_a_spectrogram_has_low_frequencies_below_and_decibels():
    magnitude = np.full((3, 4), 1e-9)
    magnitude[0, 0] = 1.0  # first frame, lowest bin
    magnitude[2, 3] = 0.01  # last frame, highest bin: -40 dB
    image = pixels(spectrogram_png(magnitude))
    assert image.shape == (4, 3, 4)
    assert image[3, 0, 0] == 255
    assert image[0, 2, 0] in (127, 128)  # half of 80 dB
    assert image[1, 1, 0] == 0
    assert (image[..., 0] == image[..., 1]).all() and (image[..., 3] == 255).all()


def test_silence_is_black():
    assert not pixels(spectrogram_png(np.zeros((5, 5))))[..., :3].any()


def test_a_mask_is_as_opaque_as_it_is():
    mask = np.array([[0.0, 0.5], [1.0, 0.25]])  # frames by bins
    image = pixels(mask_png(mask))
    assert image[..., 3].tolist() == [[128, 64], [0, 255]]
    assert len(np.unique(image[..., :3].reshape(-1, 3), axis=0)) == 1


def test_long_sounds_have_pictures_of_bounded_size():
    values = np.zeros((5000, 513))
    values[4999, 512] = 1
    small = shrunk(values)
    assert small.shape[0] <= LARGEST[0] and small.shape[1] <= LARGEST[1]
    assert small[-1, -1] == 1 and small.sum() == 1  # no peak is lost


def evaluation(folder, per_clip, summary):
    folder.mkdir()
    (folder / "per_clip.csv").write_text(per_clip)
    if summary is not None:
        (folder / "summary.csv").write_text(summary)
    return folder


ROWS = """condition,block,id,method,label,predicted,p,p_in,p_out,AD,MM
clean,STFT,a,L-MAC,dog,dog,0.9,0.8,0.1,11.1,0.1
clean,STFT,a,ones,dog,dog,0.9,0.9,0.5,0.0,1.0
clean,STFT,b,L-MAC,cat,dog,0.6,nan,0.1,inf,0.0
"""
SUMMARY = """condition,block,method,n,AD,AD_low,AD_high,AD_n,SPS,SPS_low,SPS_high
clean,STFT,ones,2,0.0,0.0,0.0,2,nan,nan,nan
clean,STFT,L-MAC,2,11.1,10.0,12.0,1,nan,nan,nan
"""


def test_tables_and_confusion_come_from_the_files(tmp_path):
    page, per_clip = read_evaluation(evaluation(tmp_path / "e", ROWS, SUMMARY))
    (table,) = page.tables
    assert table["title"] == "clean, STFT"
    assert [score["name"] for score in table["scores"]] == ["AD ↓"]  # SPS has no value
    assert [row["method"] for row in table["rows"]] == ["L-MAC", "ones"]  # paper's
    assert table["rows"][0]["cells"][0] == {
        **{"mean": "11.10", "interval": "10.00 to 12.00", "value": 11.1}
    }
    (confusion,) = page.confusions
    assert confusion["labels"] == ["cat", "dog"]
    assert confusion["counts"] == [[0, 1], [0, 1]]  # true by predicted
    assert "1 of 2" in confusion["title"]
    assert not page.notes


def rendered(clip):
    return {
        "condition": "clean",
        "block": "STFT",
        "id": clip,
        "seconds": 1.0,
        "top_hz": 8000.0,
        "input": f"{clip}.flac",
        "picture": f"{clip}.png",
        "methods": {
            "L-MAC": {"explanation": "e.flac", "rest": "r.flac", "mask": "m.png"}
        },
    }


def data_of(path):
    text = path.read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', text, flags=re.DOTALL)
    return json.loads(found.group(1))


def test_clips_have_their_scores_and_missing_files_a_note(tmp_path):
    page, per_clip = read_evaluation(evaluation(tmp_path / "e", ROWS, SUMMARY))
    add_clips(page, [rendered("a"), rendered("b")], per_clip)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "a.flac").write_bytes(b"sound")
    data = data_of(write_page(page, tmp_path / "page"))
    first, second = data["clips"]
    assert (first["label"], second["predicted"]) == ("dog", "dog")
    assert first["methods"]["L-MAC"]["p_in"] == 0.8
    assert first["methods"]["L-MAC"]["scores"] == {"AD": 11.1, "MM": 0.1}
    assert second["methods"]["L-MAC"]["p_in"] is None  # NaN and inf are no JSON
    assert second["methods"]["L-MAC"]["scores"]["AD"] is None
    assert first["input"] == "a.flac" and second["input"] is None
    text = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    notes = text.split("<ul>")[1].split("</ul>")[0]
    assert "b.flac" in notes and "a.flac" not in notes


@pytest.mark.parametrize("summary", [None, "", "condition,block,method\n"])
def test_empty_tables_have_a_note(tmp_path, summary):
    folder = evaluation(tmp_path / "e", ROWS.splitlines()[0] + "\n", summary)
    page, per_clip = read_evaluation(folder)
    assert per_clip.empty and page.tables == [] and page.confusions == []
    (tmp_path / "page").mkdir()
    text = write_page(page, tmp_path / "page").read_text(encoding="utf-8")
    assert [note.split()[0] for note in page.notes] == ["per_clip.csv", "summary.csv"]
    assert all(note in text for note in page.notes)


def test_a_folder_that_is_no_evaluation_is_refused(tmp_path):
    with pytest.raises(InputError, match="per_clip.csv"):
        read_evaluation(tmp_path)
    folder = evaluation(tmp_path / "old", "id,method\na,b\n", None)
    with pytest.raises(InputError, match="columns condition, block and method"):
        read_evaluation(folder)


def test_names_cannot_leave_the_script_element(tmp_path):
    evil = "</script><script>alert(1)</script>&"
    page = ReportPage(title=evil, facts=[evil], notes=[evil])
    page.clips = [{**rendered("a"), "label": evil, "predicted": evil}]
    path = write_page(page, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert text.count("<script") == 2 and text.count("</script>") == 2
    assert "alert(1)" in text and "<script>alert" not in text
    assert data_of(path)["clips"][0]["label"] == evil


def test_a_single_file_has_everything_in_it(tmp_path):
    page = ReportPage(title="t", clips=[rendered("a")])
    for name in ("a.flac", "a.png", "e.flac", "r.flac", "m.png"):
        (tmp_path / name).write_bytes(name.encode())
    data = data_of(write_page(page, tmp_path, single_file=True))
    assert data["files"]["m.png"] == "data:image/png;base64,bS5wbmc="
    assert set(data["files"]) == {"a.flac", "a.png", "e.flac", "r.flac", "m.png"}
