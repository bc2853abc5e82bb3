"""Settings, counts and page of `make test-portable`; no test is run by them."""

import multiprocessing
import re
import subprocess
import sys
from datetime import date

import pytest

from tests import portability
from tests.portability import (
    RUNS,
    VARIED,
    Outcome,
    Run,
    environment,
    execute,
    main,
    page,
    read_junit,
)

JUNIT = """<?xml version="1.0"?>
<testsuites><testsuite tests="5" failures="1" errors="1" skipped="1">
<testcase classname="tests.a" name="test_one"/>
<testcase classname="tests.a" name="test_two"><failure message="no"/></testcase>
<testcase classname="tests.b" name="test_three"><skipped message="needs X"/></testcase>
<testcase classname="tests.b" name="test_four"><error message="no"/></testcase>
<testcase classname="tests.b" name="test_five"><system-out>x</system-out></testcase>
</testsuite></testsuites>
"""


@pytest.fixture
def junit(tmp_path):
    path = tmp_path / "junit.xml"
    path.write_text(JUNIT)
    return path


def test_at_most_six_runs_vary_everything():
    assert len(RUNS) <= 6
    assert VARIED == {
        *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "LC_ALL", "START_METHOD")
    }
    assert {run.threads for run in RUNS} == {1, 2}
    assert {run.variables.get("START_METHOD") for run in RUNS} == {
        *(None, "spawn", "forkserver")
    }
    assert {run.shuffled for run in RUNS} == {True, False}


def test_it_runs_what_make_test_runs():
    makefile = (portability.ROOT / "Makefile").read_text(encoding="utf-8")
    parallel, code = (
        re.search(rf"^{name} := (.*)$", makefile, re.M).group(1)
        for name in ("IN_PARALLEL", "CODE")
    )
    (line,) = re.findall(r"\$\(PY\) (-m pytest --doctest-modules tests .*)", makefile)
    line = line.replace("$(IN_PARALLEL)", parallel).replace("$(CODE)", code)
    assert [*line.split(), "--quiet"] == list(portability.PYTEST)


def test_failures_errors_and_skips_are_counted(junit):
    passed, failed, skipped = read_junit(junit)
    assert passed == 2
    assert failed == ["tests.a::test_two", "tests.b::test_four"]
    assert skipped == {"needs X": 1}


def test_a_variable_that_a_run_does_not_name_is_unset(monkeypatch):
    for name in VARIED:
        monkeypatch.setenv(name, "of the shell")
    assert not VARIED & environment(Run(), "/tmp").keys()
    found = environment(Run({"LC_ALL": "C"}), "/tmp")
    assert {name: found[name] for name in VARIED & found.keys()} == {"LC_ALL": "C"}


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_the_start_method_reaches_subprocesses_of_subprocesses(method):
    code = (
        "import multiprocessing; print(multiprocessing.get_start_method(), flush=True)"
    )
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {nested}"],
        env=environment(Run({"START_METHOD": method}), "/tmp"),
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [method, method], done.stderr


def pretend(monkeypatch, status, text):
    """Let a run of pytest end with that status, and write that JUnit file."""

    def run(command, env, **_):
        (option,) = (word for word in command if word.startswith("--junitxml="))
        if text:
            with open(option.removeprefix("--junitxml="), "w") as file:
                file.write(text)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(portability.subprocess, "run", run)


def test_a_run_that_broke_off_has_failed(monkeypatch):
    pretend(monkeypatch, 4, "")
    outcome = execute(Run(), seed=1)
    assert outcome.failed == ["pytest itself, exit status 4"]
    assert outcome.seed == 1
    assert execute(Run(shuffled=False), seed=1).seed is None


def test_the_page_is_written_and_the_status_tells(monkeypatch, tmp_path, capsys):
    path = tmp_path / "page.md"
    pretend(monkeypatch, 1, JUNIT)
    assert main(["2", "3", "--seed=7", f"--page={path}"]) == 1
    text = path.read_text(encoding="utf-8")
    assert text.count("| random, 7 | 2 | 2 | 1 |") == 2
    assert "- run 2: `tests.b::test_four`" in text
    whole = JUNIT.replace('<failure message="no"/>', "").replace(
        '<error message="no"/>', ""
    )
    pretend(monkeypatch, 0, whole)
    assert main([f"--page={path}"]) == 0
    text = path.read_text(encoding="utf-8")
    assert "## Failed" not in text and "- needs X" in text
    assert text.count("| of the files | 4 | 0 | 1 |") == 1
    with pytest.raises(SystemExit):
        main(["7"])
    assert "got [7]" in capsys.readouterr().err


def test_the_page_names_settings_and_total():
    text = page([Outcome(RUNS[1], 7, 90.4, 3, [], {})] * 2, date(2026, 11, 30))
    named = "`ATEN_CPU_CAPABILITY=avx2`, `ONEDNN_MAX_CPU_ISA=SSE41`, `LC_ALL=C`, "
    named += "`START_METHOD=spawn`, temporary folder `a b#c`"
    assert text.count(f"| 2 | {named} | 1 | random, 7 | 3 | 0 | 0 | 90 |") == 2
    assert "2026-11-30, 3 minutes." in text
