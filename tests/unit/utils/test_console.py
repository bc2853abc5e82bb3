"""Terminal output: with `--quiet`, and without a terminal."""

import io
import logging
import subprocess
import sys
import unicodedata
import warnings

import pytest
from hypothesis import strategies as st

from speechbrain_lmac.config.run_options import read_command
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.console import (
    be_quiet,
    exit_status,
    hide_bars,
    hides_progress,
    open_console,
    progress_bar,
    quiet_logs,
    quiet_options,
    show,
)
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.escaping import visible


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def console(monkeypatch):
    """A command has begun, and its logs are undone."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers[:])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    open_console()
    yield
    open_console()
    logging.captureWarnings(False)


def test_progress_bars_are_for_terminals(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert hides_progress()
    assert list(progress_bar(range(3))) == [0, 1, 2]
    assert sys.stderr.getvalue() == ""
    assert read_command(["a.yaml"])[1].noprogressbar
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress_bar(range(3))) == [0, 1, 2]
    assert "3/3" in sys.stderr.getvalue()
    assert not read_command(["a.yaml"])[1].noprogressbar
    run_opts = read_command(["a.yaml", "--quiet"])[1]
    assert run_opts.noprogressbar and "noprogressbar" in run_opts.overridden_args
    sys.stderr = Terminal()
    list(progress_bar(range(3)))
    assert sys.stderr.getvalue() == ""


def test_quiet_hides_results_and_logs_but_no_warnings(monkeypatch, capsys, tmp_path):
    root, logger = logging.getLogger(), logging.getLogger("speechbrain_lmac.test")
    logger.setLevel(logging.INFO)

    def configure():
        """As SpeechBrain does."""
        terminal = logging.StreamHandler(sys.stdout)
        root.handlers[:] = [terminal, logging.FileHandler(tmp_path / "log.txt")]
        logger.info("configured")

    show("a result\n")
    with quiet_logs():
        configure()
    logger.info("an event")
    assert capsys.readouterr() == ("a result\nconfigured\nan event\n", "")
    assert quiet_options() == []

    be_quiet()
    show("a result")
    with quiet_logs():
        configure()
    logger.info("an event")
    logger.warning("a warning")
    assert capsys.readouterr() == ("", "a warning\n")
    assert quiet_options() == ["--quiet"]
    log = "configured\nan event\nconfigured\nan event\na warning\n"
    assert (tmp_path / "log.txt").read_text() == log


def test_libraries_bars_are_hidden_in_commands_only(monkeypatch):
    called = []
    hide_bars(lambda: called.append("not on a terminal"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    hide_bars(lambda: called.append("on a terminal"))
    be_quiet()
    hide_bars(lambda: called.append("quiet"))
    monkeypatch.setattr("speechbrain_lmac.utils.console._Console.is_command", False)
    hide_bars(lambda: called.append("in a library"))
    assert called == ["not on a terminal", "quiet"]


def test_python_s_warnings_go_through_logging(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        open_console()
        warnings.warn("odd", UserWarning, stacklevel=1)
    err = capsys.readouterr().err
    assert err.startswith("warning: ") and "UserWarning: odd" in err


def test_a_reader_that_leaves_early_is_no_error():
    config = "main(['config', 'hparams/esc10_lmac.yaml'])"
    python = f'"{sys.executable}" -c "from speechbrain_lmac.cli import main; {config}"'
    left = f"set -o pipefail; {python} | true"
    done = subprocess.run(["bash", "-c", left], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_command_s_exit_status_and_its_one_line(capsys):
    def command(argv):
        args = Parser("A command.").parse_args(argv)
        assert vars(args) == {}
        show("done")

    assert exit_status(command, []) == 0
    assert capsys.readouterr().out == "done\n"
    assert exit_status(command, ["--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert exit_status(command, ["--unknown=1"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("error: ") and "--unknown" in err


# Clears the screen, sets the title, deletes the line before, and turns text around.
HOSTILE = "\x1b[2J\x1b]0;x\x07\r\x9b1A\u202edog\u2066\x7f\x00"
SHOWN = r"\x1b[2J\x1b]0;x\x07\x0d\x9b1A\u202edog\u2066\x7f\x00"


def test_a_stranger_s_control_characters_are_shown_not_obeyed(capsys, monkeypatch):
    def command(argv):
        # Half a character: pytest, which keeps logs and warnings, could not send it on.
        show(f"a {HOSTILE}\ud800\r\n")
        logging.getLogger("test").warning("of %s", HOSTILE)
        warnings.warn(HOSTILE, UserWarning, stacklevel=1)
        raise InputError(f"no {HOSTILE}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert exit_status(command, []) == 2
    out, err = capsys.readouterr()
    assert out == f"a {SHOWN}\\ud800\n"
    assert f"warning: of {SHOWN}\n" in err
    assert f"UserWarning: {SHOWN}\n" in err
    assert err.endswith(f"error: no {SHOWN}\n")
    monkeypatch.setattr(sys, "stderr", Terminal())
    list(progress_bar(range(3), desc=HOSTILE))
    assert SHOWN in sys.stderr.getvalue()


@pytest.mark.parametrize("quiet", [False, True])
def test_logs_of_an_experiment_have_no_control_characters(capsys, quiet):
    root = logging.getLogger()
    if quiet:
        be_quiet()
    with quiet_logs():
        root.handlers[:] = [logging.StreamHandler(sys.stdout)]
    logging.getLogger("test").warning("a %s", HOSTILE)
    assert "".join(capsys.readouterr()) == f"a {SHOWN}\n"


def test_a_traceback_has_none_either():
    code = (
        "from speechbrain_lmac.utils.console import open_console\n"
        "open_console()\nraise RuntimeError('a\\x1b[2Jb')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "\x1b" not in done.stderr
    assert done.stderr.endswith("\nRuntimeError: a\\x1b[2Jb\n")


def test_letters_that_the_terminal_lacks_are_escapes():
    code = (
        "from speechbrain_lmac.utils.console import complain, open_console, show\n"
        "open_console()\nshow('雨 é')\ncomplain('雨 é')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    )
    assert done.stdout == done.stderr == "\\u96e8 é\n".encode("latin-1")


BIDIRECTIONAL = "LRE RLE LRO RLO PDF LRI RLI FSI PDI".split()


def test_visible_text_obeys_nothing_and_says_the_same(for_any):
    def check(text):
        shown = visible(text)
        for character in shown:
            # Cc: controls, Cs: half characters, Zl and Zp: line separators
            kind = unicodedata.category(character)
            assert character in "\n\t" or kind not in ("Cc", "Cs", "Zl", "Zp")
            assert unicodedata.bidirectional(character) not in BIDIRECTIONAL
        assert visible(shown) == shown
        assert not text.isprintable() or shown == text

    for_any(check, st.text(st.characters()))
