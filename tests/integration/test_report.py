"""Pages of a real evaluation: the report, and a listening test."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from recipes.listening_test import listening_test
from recipes.report import report


@pytest.fixture(scope="module")
def evaluated(one_method, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated") / "toy"
    script = ["recipes/evaluate.py", *one_method, f"--output_folder={folder}"]
    done = run([sys.executable, *script])
    assert done.returncode == 0, done.stderr
    return folder


def data_of(path):
    text = path.read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', text, flags=re.DOTALL)
    return json.loads(found.group(1))


def test_the_page_has_the_clips_of_the_evaluation(call, evaluated, tmp_path, capsys):
    folder = tmp_path / "report"
    call(report, evaluated, "--n_clips=3", f"--report_folder={folder}")
    assert str(folder / "index.html") in capsys.readouterr().out
    clips = data_of(folder / "index.html")["clips"]
    assert len(clips) == len({clip["label"] for clip in clips}) == 3
    for clip in clips:
        assert clip["label"] and clip["predicted"]
        wav, rate = soundfile.read(folder / clip["input"])
        assert len(wav) == clip["seconds"] * rate == rate
        assert clip["top_hz"] == rate / 2
        everything = clip["methods"]["all ones"]
        explanation, _ = soundfile.read(folder / everything["explanation"])
        rest, _ = soundfile.read(folder / everything["rest"])
        assert np.abs(explanation - wav).max() < 0.01 and not rest.any()
        for own in clip["methods"].values():
            assert 0 <= own["p_out"] <= 1 and own["explained"] == clip["predicted"]
            for part in ("in", "out"):
                assert 0 <= own[f"heard_confidence_{part}"] <= 1
            assert own["scores"]["MM"] is not None
            for key in ("explanation", "rest", "mask"):
                assert (folder / own[key]).is_file()
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "python recipes/evaluate.py hparams/toy_table.yaml" in text


def test_figures_for_papers(call, evaluated, tmp_path):
    folder = tmp_path / "report"
    call(report, evaluated, "--n_clips=1", "--figures", f"--report_folder={folder}")
    (clip,) = data_of(folder / "index.html")["clips"]
    assert (folder / clip["figure"]).read_bytes().startswith(b"%PDF")


def test_one_file_and_all_clips(call, evaluated, tmp_path):
    folder = tmp_path / "report"
    options = ["--n_clips=0", "--single_file", f"--report_folder={folder}"]
    call(report, evaluated, *options)
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    data = data_of(folder / "index.html")
    assert len(data["clips"]) == 6 and len(data["files"]) > 6 * 5


def test_wrong_folders_and_options_are_one_error(call, refused, evaluated, tmp_path):
    assert "per_clip.csv" in refused(report, tmp_path)
    assert "--n_clips" in refused(report, evaluated, "--n_clips=-1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    mine = f"--report_folder={tmp_path / 'mine'}"
    assert f"{tmp_path / 'mine'} " in refused(report, evaluated, mine)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_without_the_models_the_tables_are_shown(call, evaluated, tmp_path, capsys):
    moved = shutil.copytree(evaluated, tmp_path / "moved")
    path = moved / "hyperparams.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"source:\s+\S+", "source: /mnt/gone", text))
    call(report, moved)
    assert "/mnt/gone" in capsys.readouterr().err
    page = (moved / "report" / "index.html").read_text(encoding="utf-8")
    assert "all ones" in page and "<audio" not in page


def test_a_listening_test_is_made_of_it(call, evaluated, tmp_path, capsys):
    folder = tmp_path / "test"
    options = ["--clips=2", f"--output_folder={folder}"]
    methods = ["--methods", "L-MAC", "all ones"]
    call(listening_test, "create", evaluated, *methods, *options)
    assert str(folder / "page") in capsys.readouterr().out
    key = pd.read_csv(folder / "key.csv", keep_default_na=False)
    assert list(key.groupby("trial").size()) == [3, 3, 3]  # two, and one to train
    assert set(key["method"]) == {"", "L-MAC", "all ones"}
    for _, own in key.groupby("trial"):  # all ones keeps the input
        sounds = {
            row.method: soundfile.read(folder / "page" / row.file)[0]
            for row in own.itertuples()
        }
        assert np.abs(sounds[""] - sounds["all ones"]).max() < 0.02
        assert np.abs(sounds[""] - sounds["L-MAC"]).max() > 0.02
    files = {path.name for path in (folder / "page").iterdir()}
    assert files == {"index.html", "stimuli.csv", "audio"}


@pytest.mark.parametrize(
    "options, named",
    [
        (["--methods", "L-MAC"], "--methods"),
        (["--methods", "L-MAC", "L-MAC"], "--methods"),
        (["--methods", "L-MAC", "magic"], "'magic'"),
        (["--methods", "L-MAC", "all ones", "--clips=99"], "only 6"),
        (["--methods", "L-MAC", "all ones", "--clips=0"], "--clips"),
        (["--methods", "L-MAC", "all ones", "--condition=rain"], "'rain'"),
        (["--methods", "L-MAC", "all ones", "--block=rain"], "'rain'"),
    ],
)
def test_a_wrong_listening_test_is_refused(
    refused, evaluated, tmp_path, options, named
):
    where = f"--output_folder={tmp_path / 'test'}"
    assert named in refused(listening_test, "create", evaluated, *options, where)


def test_a_folder_without_a_listening_test(refused, tmp_path):
    message = refused(listening_test, "score", tmp_path, tmp_path / "x.json")
    assert "key.csv" in message
