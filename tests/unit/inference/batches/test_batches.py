"""Explanations of many files: inputs, names, record and table."""

import io
import json
import os
import sys
import unicodedata
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.inference import explain_files as explained_files
from speechbrain_lmac.inference import written_files as written_explanations
from speechbrain_lmac.inference.batches import inputs as inputs_module
from speechbrain_lmac.inference.batches import record as record_module
from speechbrain_lmac.inference.batches import table as table_module
from speechbrain_lmac.inference.batches.inputs import find_inputs
from speechbrain_lmac.inference.batches.names import (
    LONGEST_NAME,
    file_stem,
    unique_names,
)
from speechbrain_lmac.inference.batches.record import RECORD
from speechbrain_lmac.inference.batches.table import TABLE, ExplanationTable
from speechbrain_lmac.inference.explain_files import explain_files
from speechbrain_lmac.inference.requests import PromptRequest, request_class
from speechbrain_lmac.metrics.checks.encoding import EncodingCheck
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.escaping import readable

LABELS = ["cat", "dog", "rain"]
RATE = 16000


@pytest.fixture(scope="module")
def request_():
    """The class that is predicted is to be explained."""
    torch.manual_seed(0)
    model = CompactClassifier(3, channels=(3, 4)).eval()
    explainer = AllOnesExplainer(STFTDomain(sample_rate=RATE), model)
    return request_class(explainer, LABELS)


@pytest.fixture
def record(tmp_path, monkeypatch):
    """`record(name, ...)`: recordings of that names, each another one; their paths."""
    monkeypatch.chdir(tmp_path)

    def record(*names):
        for name in names:
            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
            wav = np.random.default_rng(list(os.fsencode(name))).normal(0, 0.1, 400)
            with open(name, "wb") as file:
                soundfile.write(file, wav, RATE, "PCM_16", format="WAV")
        return list(names)

    return record


@pytest.fixture
def before_opening(monkeypatch):
    """`before_opening(function)`: it gets the path of each file to explain."""

    def before_opening(function):
        def open_sound(path):
            function(path)
            return opened(path)

        monkeypatch.setattr(explained_files, "open_sound", open_sound)

    opened = explained_files.open_sound
    return before_opening


@pytest.fixture
def batch(request_):
    """`batch(arguments, ...)`: the table in `out`, without pictures."""

    def batch(
        arguments, settings="a", out="out", again=False, by=request_, pictures=()
    ):
        table = explain_files(arguments, [by], out, settings, pictures, again)
        return table.frame()

    return batch


def rows(folder="out"):
    return pd.read_csv(os.path.join(folder, TABLE))


def names(folder="out"):
    return list(rows(folder)["name"])


def samples(path):
    return soundfile.read(path)[0].tolist()


def nothing(folder, named=False):
    return ()


# --- Names ----------------------------------------------------------------------------


def test_names_that_some_system_takes_for_one_are_numbered():
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    paths = ["Dog.wav", "dog.flac", "b/DOG.wav", f"{composed}.wav", f"{apart}.wav"]
    assert unique_names(paths) == ["Dog", "dog_2", "DOG_3", composed, f"{apart}_2"]


@pytest.mark.parametrize("letter", ["x", "é", "雨", "🐕"])
def test_names_are_short_enough_for_all_that_is_written(letter):
    stems = [letter * (255 // len(letter.encode())) for _ in range(12)]
    made = unique_names([*stems, stems[0] + "y"])
    assert len(set(made)) == len(made)
    for name in made:
        written = f".part{2**22}.{name}_explanation.wav"
        assert len(written.encode()) <= 255
        assert name.startswith(letter * 20)
    assert len(unique_names(["x" * LONGEST_NAME])[0]) == LONGEST_NAME


def test_stems_and_paths_can_be_written_in_utf_8():
    path = os.fsdecode(b"/\xff/caf\xe9\t1\x1b[31m.wav")
    assert file_stem(path) == "caf%E9%091%1B[31m"
    assert readable(path) == r"/\xff/caf\xe9\t1\x1b[31m.wav"


ODD_NAMES = [
    b"caf\xe9.wav",
    b"two\nlines\tand\x1b[31m.wav",
    b"x" * 251 + b".wav",
    b"x" * 236 + b".wav",
    "雨".encode() * 83 + b".wav",
    b"$a{b}_c^.wav",
    b"=1+1.wav",
    b"-o.wav",
    b" .wav",
    b"a.b.wav",
    b"CON.wav",
    b"[1].wav",
]


def test_any_name_is_explained(record, batch):
    record(*(os.fsdecode(b"in/" + name) for name in ODD_NAMES))
    batch(["in"], pictures=["png"])
    table = rows()
    assert len(os.listdir("out")) == 4 * len(ODD_NAMES) + 2
    expected = {b"in/" + name.replace(b"\xe9", rb"\xe9") for name in ODD_NAMES[:1]}
    expected |= {b"in/" + name for name in ODD_NAMES[1:]}
    assert {path.encode() for path in table["file"]} == expected
    batch(["in"], pictures=["png"])
    assert rows().equals(table)


# --- Which files ----------------------------------------------------------------------


def test_nothing_named_is_refused(record, batch, monkeypatch):
    record("a.wav")
    for arguments, message in ((["a.wav", ""], '""'), ([], "missing arguments")):
        with pytest.raises(InputError, match=message):
            batch(arguments)
    for text in ("", "\n\r\n", "\ufeff"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        with pytest.raises(InputError, match="standard input .* empty"):
            batch(["-"])
    assert not os.path.exists("out")


class Stdin:
    def __init__(self, data):
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize(
    "data",
    [
        b"a.wav\nb c.wav\n",
        b"a.wav\r\nb c.wav\r\n",
        b"\xef\xbb\xbfa.wav\r\n\r\nb c.wav",
        "\ufeffa.wav\r\nb c.wav\r\n".encode("utf-16-le"),
        b"a.wav\0b c.wav\0",
    ],
)
def test_lists_of_any_system(record, monkeypatch, data):
    record("a.wav", "b c.wav")
    monkeypatch.setattr(sys, "stdin", Stdin(data))
    assert find_inputs(["-"], nothing).files == ["a.wav", "b c.wav"]


def test_a_list_with_names_that_are_not_utf_8(record, monkeypatch):
    record(os.fsdecode(b"caf\xe9.wav"))
    monkeypatch.setattr(sys, "stdin", Stdin(b"caf\xe9.wav\n"))
    (found,) = find_inputs(["-"], nothing).files
    assert os.path.isfile(found)


def test_skipped_files_are_counted_and_named(record, capsys, caplog, batch):
    record("in/a.wav", "in/b.m4a", "in/c.MP4", "in/notes.txt", "in/._a.wav")
    record("in/.DS_Store", "in/d.CAF", os.fsdecode(b"more/caf\xe9\n.txt"))
    record(os.fsdecode(b"more/caf\xe9.mov"), "more/b.wav")
    found = find_inputs(["in"], nothing)
    assert found.files == ["in/a.wav", "in/d.CAF"] and found.failures == []
    (note,) = found.notes()
    assert " 1 file " in note and note.endswith(": notes.txt")
    (warning,) = found.warnings()
    assert " 2 files " in warning and ": b.m4a, c.MP4. " in warning
    assert warning.endswith("ffmpeg -i in/b.m4a in/b.wav")
    batch(["in"])
    assert note in capsys.readouterr().out
    assert warning in caplog.text
    batch(["more"])
    printed = capsys.readouterr().out
    assert r": caf\xe9\n.txt" in printed
    assert r"ffmpeg -i 'more/caf\xe9.mov'" in caplog.text
    os.remove("in/a.wav")
    os.remove("in/d.CAF")
    (failure,) = find_inputs(["in"], nothing).failures
    assert "in: " in failure and "ffmpeg -i in/b.m4a in/b.wav" in failure


def test_a_folder_that_cannot_be_entered_is_named(record, batch, monkeypatch):
    record("in/a.wav", "in/closed/b.wav", "in/z/c.wav")
    scan = os.scandir

    def refuse(path="."):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(inputs_module.os, "scandir", refuse)
    message = r"1 of 3 .*\n  in/closed: .*Permission"
    for out, argument in (("o1", "in"), ("o2", "in/**/*.wav")):
        with pytest.raises(InputError, match=message):
            batch([argument], out=out)
        assert names(out) == ["a", "c"]


def test_links_are_followed_once(record):
    record("in/a.wav", "elsewhere/b.wav")
    os.symlink("..", "in/loop")
    os.symlink("../elsewhere", "in/more")
    os.symlink("nowhere.wav", "in/dangling.wav")
    found = find_inputs(["in"], nothing)
    assert found.files == ["in/a.wav", "in/dangling.wav", "in/loop/elsewhere/b.wav"]


def test_a_file_is_explained_once_however_it_is_named(record, batch):
    record("in/a.wav")
    batch(["in/a.wav", "./in/a.wav", "in", os.path.abspath("in/a.wav"), "in/*.wav"])
    assert names() == ["a"]


def test_special_files_are_named(record, batch):
    record("in/a.wav")
    os.mkfifo("in/pipe.wav")
    os.symlink("loop.wav", "in/loop.wav")
    os.mkdir("in/folder.wav")
    arguments = ["in", "/dev/zero", "gone.wav", "x" * 300, "in/folder.wav", "no*.wav"]
    with pytest.raises(InputError) as error:
        batch(arguments)
    message = str(error.value)
    assert message.startswith("7 of 8 ")
    for expected in (
        "in/pipe.wav: ",
        "/dev/zero: ",
        "Too many levels of symbolic links",
        "gone.wav: missing",
        "File name too long",
        "in/folder.wav: no audio",
        "no*.wav: no file matches",
    ):
        assert expected in message
    assert names() == ["a"]


# --- One file's fault, and the machine's ----------------------------------------------


@pytest.mark.parametrize(
    "error, message",
    [
        (MemoryError(), "not enough memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "not enough memory",
        ),
        (RuntimeError("CUDA out of memory. Tried"), "not enough memory"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (FileNotFoundError(2, "No such file"), "No such file"),
        (InputError("no sound"), "bad.wav: no sound"),
        (ValueError("two\nlines"), "unexpected ValueError: two lines"),
    ],
)
def test_a_fault_of_one_file_does_not_stop_the_others(
    record, batch, before_opening, error, message
):
    def fail(path):
        if "bad" in path:
            raise error

    record("a.wav", "bad.wav", "c.wav")
    before_opening(fail)
    with pytest.raises(InputError, match="^1 of 3 ") as refused:
        batch(["."])
    assert message in str(refused.value) and "bad.wav" in str(refused.value)
    assert names() == ["a", "c"]
    before_opening(str)
    batch(["."])
    assert names() == ["a", "bad", "c"]


def test_a_file_that_vanishes(record, batch, before_opening):
    record("a.wav", "b.wav", "c.wav")

    def remove(path):
        if path.endswith("a.wav"):
            os.remove("b.wav")

    before_opening(remove)
    with pytest.raises(InputError, match=r"1 of 3 .*\n  b.wav: missing"):
        batch(["."])
    assert names() == ["a", "c"]


def test_a_picture_that_cannot_be_drawn(record, batch, monkeypatch):
    record("a.wav", "b.wav")
    draw = written_explanations.write_explanation_picture

    def fail(path, *args, **options):
        if path.name == "a.png":
            raise ValueError("cannot draw\nthis")
        return draw(path, *args, **options)

    monkeypatch.setattr(written_explanations, "write_explanation_picture", fail)
    with pytest.raises(InputError, match="ValueError: cannot draw this"):
        batch(["."], pictures=["png"])
    assert names() == ["b"]
    written = {"b.png", "b_input.wav", "b_explanation.wav", "b_rest.wav"}
    assert set(os.listdir("out")) == {*written, TABLE, RECORD}
    monkeypatch.setattr(written_explanations, "write_explanation_picture", draw)
    record("a.wav", "x/a.wav")
    batch(["x/a.wav", "a.wav"], pictures=["png"])  # the name was not used
    assert names() == ["b", "a", "a_2"]


@pytest.mark.parametrize("number", [28, 30])
def test_a_full_disk_stops(record, batch, monkeypatch, number):
    record("a.wav", "b.wav", "c.wav")
    write = explained_files.write_request

    def fail(request, source, folder, name, pictures):
        scores = write(request, source, folder, name, pictures)
        if name == "b":
            raise OSError(number, os.strerror(number))
        return scores

    monkeypatch.setattr(explained_files, "write_request", fail)
    with pytest.raises(InputError, match="^cannot write out"):
        batch(["."])
    assert names() == ["a"]
    assert not [name for name in os.listdir("out") if name.startswith(("b", "c"))]


# --- A second call --------------------------------------------------------------------


def test_finished_files_are_skipped_and_counted(record, batch, before_opening, capsys):
    record("a.wav", "b.wav")
    seen = []
    before_opening(lambda path: seen.append(os.path.basename(path)))
    first = batch(["a.wav"])
    capsys.readouterr()
    second = batch(["a.wav", "b.wav"])
    assert seen == ["a.wav", "b.wav"]
    printed = capsys.readouterr().out
    assert "1 already" in printed and "--again" in printed
    assert "b.wav" in printed and "a.wav" not in printed
    assert names() == ["a", "b"] and second.iloc[:1].equals(first)
    batch(["a.wav"], again=True)
    assert seen == ["a.wav", "b.wav", "a.wav"] and names() == ["a", "b"]
    os.utime("a.wav", ns=(0, 0))  # the same content
    batch([os.path.abspath("a.wav")])
    assert len(seen) == 3


def test_other_settings_and_another_file_get_a_number(record, batch):
    record("a.wav", "b/a.wav", "A.wav")
    batch(["a.wav"])
    content = samples("out/a_input.wav")
    batch(["a.wav"], settings="b")
    batch(["b/a.wav", "A.wav"])
    record("a.flac")
    os.replace("a.flac", "a.wav")  # changed
    batch(["a.wav"])
    assert names() == ["a", "a_2", "a_3", "A_4", "a_5"]
    assert samples("out/a_input.wav") == content
    assert len(os.listdir("out")) == 5 * 3 + 2
    for settings in ("a", "b"):
        batch(["a.wav", "b/a.wav"], settings=settings)
    assert sorted(names()) == sorted(["a", *(f"a_{n}" for n in (2, 3, 5, 6, 7)), "A_4"])


def test_a_missing_picture_or_sound_is_made_in_place(record, batch):
    record("a.wav", "b.wav")
    batch(["."])
    batch(["."], pictures=["png"])
    os.remove("out/b_rest.wav")
    batch(["."])
    assert names() == ["a", "b"]
    assert len(os.listdir("out")) == 2 * 4 + 2


def test_no_file_of_a_user_is_overwritten(record, batch):
    record("in/a.wav", "in/a_rest.wav")
    before = samples("in/a_rest.wav")
    batch(["in"], out="in")
    assert names("in") == ["a_2", "a_rest"]
    assert samples("in/a_rest.wav") == before
    batch(["in"], out="in")
    assert names("in") == ["a_2", "a_rest"]


def test_explanations_are_no_inputs(record, batch, capsys):
    record("in/a.wav")
    batch(["in"], out="in", pictures=["png"])
    for arguments in (["in"], ["in/*"], ["in/*.wav"], ["in/**/*.wav"]):
        batch(arguments, out="in", pictures=["png"])
        assert names("in") == ["a"]
    capsys.readouterr()
    batch(["in/a.wav", "in/a_rest.wav"], out="in")
    assert " 1 explanation among the inputs: a_rest.wav" in capsys.readouterr().out
    # Nor those of another table, but for one that is named.
    batch(["in"], out="other")
    batch(["in/a_rest.wav"], out="other")
    assert names("other") == ["a", "a_rest"]
    with pytest.raises(InputError, match="explain.* 1 explanation "):
        batch(["in/a_rest.wav"], out="in")
    with pytest.raises(InputError, match="in: .*only explanations"):
        os.remove("in/a.wav")
        batch(["in"], out="other")


def test_explanations_of_an_earlier_version_are_kept(record, batch):
    record("in/a.wav")
    batch(["in/a.wav"], out="in")
    os.remove(f"in/{RECORD}")
    batch(["in"], out="in")
    assert names("in") == ["a", "a_2"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "a;b\n1;2\n", "name,b\n1,2,3\n4,5\n", "name\na\na\n"),
        *("name,b\nnan,1\n", "name,nan\na,1\n", "\0\xff"),
    ],
)
def test_another_table_is_refused(record, batch, text):
    record("a.wav")
    os.mkdir("out")
    with open(f"out/{TABLE}", "w", encoding="latin-1") as file:
        file.write(text)
    with pytest.raises(InputError, match=f"{TABLE} is not"):
        batch(["a.wav"])
    assert os.listdir("out") == [TABLE]


def test_rows_of_prompts_and_classes_share_a_table(record, batch, request_):
    record("a.wav", "a_b.wav")

    class Scores:
        windows, sample_rate, n_samples = (), RATE, 400

        def row(self):
            return {"file": "a.wav", "prompt": 'nan, "x"\n', "similarity": 0.5}

        def warning(self):
            return None

    class Prompted(PromptRequest):
        def scores(self, source, outcomes):
            return Scores()

    prompted = Prompted(**{**vars(request_), "labels": ["b", "c", "d"], "target": 0})
    batch(["a.wav"])
    batch(["a.wav"], settings="b", by=prompted)
    batch(["a_b.wav"])
    assert names() == ["a", "a_b", "a_b_2"]
    table = pd.read_csv(f"out/{TABLE}", keep_default_na=False)
    assert list(table["prompt"]) == ["nan", 'nan, "x"\n', "nan"]
    assert rows()["similarity"].isna().tolist() == [True, False, True]


def test_a_table_without_encoding_goes_on(record, batch, request_):
    record("a.wav", "b.wav")
    explainer = request_.explainer
    check = EncodingCheck(explainer.domain, explainer.classifier)
    checked = replace(request_, check=check)
    batch(["a.wav"])
    assert "encoding" not in rows()
    batch(["a.wav", "b.wav"], by=checked)
    assert names() == ["a", "b"]
    assert rows()["encoding"].isna().tolist() == [True, False]
    batch(["a.wav"], by=checked, again=True)
    assert names() == ["a", "b"] and rows()["encoding"].notna().all()
    batch(["b.wav"], again=True)  # --no_check
    assert rows()["encoding"].isna().tolist() == [False, True]


# --- A kill ---------------------------------------------------------------------------


def files_in(folder):
    """Name to content; of WAV the samples, since a float one has its time in it."""
    found = {}
    for name in set(os.listdir(folder)) - {RECORD}:
        path = os.path.join(folder, name)
        if name.endswith(".wav"):
            found[name] = samples(path)
        else:
            with open(path, "rb") as file:
                found[name] = file.read()
    return found


WHOLE = {}  # what one undisturbed call leaves


class KilledError(BaseException):
    """What nothing in a command could catch."""


@pytest.mark.parametrize("file", ["a", "b"])
@pytest.mark.parametrize(
    "module, step",
    [
        (explained_files, "open_sound"),
        (explained_files, "write_request"),
        (ExplanationTable, "begin"),
        (ExplanationTable, "finish"),
        (record_module, "append_text"),
        (table_module, "append_text"),
        (ExplanationTable, "_write"),
        (ExplanationTable, "sort"),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_anywhere_and_the_same_call_end_like_one_call(
    record, batch, monkeypatch, file, module, step, after
):
    record("in/a.wav", "in/b.wav", "in/c.wav")
    if not WHOLE:
        batch(["in"], out="whole")
        WHOLE.update(files_in("whole"))
    original, count = getattr(module, step), {"n": 0}

    def killed(*args, **options):
        count["n"] += 1
        dies = count["n"] == "abc".index(file) + 1
        if dies and not after:
            raise KilledError
        answer = original(*args, **options)
        if dies:
            raise KilledError
        return answer

    monkeypatch.setattr(module, step, killed)
    try:
        batch(["in"])
    except KilledError:
        pass
    monkeypatch.setattr(module, step, original)
    if os.path.exists(f"out/{TABLE}"):
        assert names() == ["a", "b", "c"][: len(names())]
    batch(["in"])
    assert files_in("out") == WHOLE


def test_what_a_kill_tore_is_mended(record, batch):
    record("in/a.wav", "in/b.wav", "in/c.wav")
    batch(["in"])
    whole = files_in("out")
    table = f"out/{TABLE}"
    with open(f"out/{RECORD}", "rb") as file:
        lines = file.read()
    for n_bytes in (1, 3, 6, 40):
        with open(table, "r+b") as file:
            file.truncate(len(whole[TABLE]) - n_bytes)
        batch(["in"])
        assert files_in("out") == whole
    for n_bytes in (2, 50, 400):
        with open(f"out/{RECORD}", "wb") as file:
            file.write(lines[:-n_bytes])
        batch(["in"])
        assert files_in("out") == whole
        with open(f"out/{RECORD}", encoding="utf-8") as file:
            assert json.loads(file.read().splitlines()[-1])["parts"] == ["c"]


@pytest.mark.parametrize(
    "change",
    [
        {"parts": ["../up"]},
        {"parts": [1]},
        {"parts": None},
        {"files": ["/etc/passwd"]},
        {"rows": [{"name": "../up"}]},
        {"rows": [{"name": "a", "file": 1}]},
        {"rows": [1]},
        {"source": {}},
        {"more": 1},
    ],
)
def test_a_strangers_record_writes_nothing_elsewhere(record, batch, change):
    record("a.wav")
    batch(["a.wav"])
    with open(f"out/{RECORD}", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    with open(f"out/{RECORD}", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({**line, **change}) + "\n" for line in lines)
    os.remove(f"out/{TABLE}")
    batch(["a.wav"])
    assert names() == ["a_2"]
    assert sorted(os.listdir()) == ["a.wav", "out"]


def test_an_output_folder_that_is_not_utf_8_is_refused(record, batch):
    record("a.wav")
    with pytest.raises(InputError, match=r"caf\\xe9.*UTF-8"):
        batch(["a.wav"], out=os.fsdecode(b"caf\xe9"))


def test_rows_come_one_by_one_and_can_be_read_at_any_time(
    record, batch, before_opening
):
    record("a.wav", "b.wav", "c.wav")
    seen = []

    def note(path):
        seen.append(len(rows()) if os.path.exists(f"out/{TABLE}") else 0)

    before_opening(note)
    batch(["."])
    assert seen == [0, 1, 2]


def test_the_table_is_in_the_order_of_the_files(record, batch):
    record("a.wav", "b.wav", "c.wav", "x.wav")
    batch(["x.wav"])
    batch(["a.wav", "c.wav"])
    assert names() == ["x", "a", "c"]
    batch(["a.wav", "b.wav", "c.wav"])
    assert names() == ["x", "a", "b", "c"]
    batch(["c.wav"], again=True)
    assert names() == ["x", "a", "b", "c"]
