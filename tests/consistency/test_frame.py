"""The files around the code agree: requirements, pins, Makefile, packaging."""

import importlib.metadata
import os
import re
import runpy
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import speechbrain_lmac
from tests import release

ROOT = Path(__file__).resolve().parents[2]
MAPPED = release.CODE
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


@pytest.fixture(scope="module")
def setup_arguments():
    """What setup.py hands to setuptools."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setuptools.setup", given.update)
        runpy.run_path(str(ROOT / "setup.py"))
    return given


@pytest.fixture(scope="module")
def pyproject():
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def pins():
    """The version of each package in constraints.txt; every line is a pin."""
    versions = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([\w.+!-]+)", line).groups()
            assert canonicalize_name(name) not in versions, f"{name} is pinned twice"
            versions[canonicalize_name(name)] = version
    return versions


def make(*arguments, folder=ROOT):
    """Run make as a user does, not as a part of the make that runs the tests."""
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=clean, capture_output=True, text=True
    )


def makefile_variable(name):
    """The value of a variable that the Makefile sets with ``:=``."""
    text = (ROOT / "Makefile").read_text()
    return re.search(rf"^{name} := (.*)$", text, re.MULTILINE).group(1)


def git_files():
    """The files that are tracked, or would be by ``git add .``."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if os.path.lexists(path)]


# --- Requirements and pins ---------------------------------------------------


def test_each_declared_requirement_has_a_pin_within_its_range(
    setup_arguments, pyproject, pins
):
    declared = [
        *setup_arguments["install_requires"],
        *sum(setup_arguments["extras_require"].values(), []),
        *pyproject["build-system"]["requires"],
    ]
    for requirement in map(Requirement, declared):
        pin = pins[canonicalize_name(requirement.name)]
        assert pin in requirement.specifier, f"{requirement}, but pinned to {pin}"


def test_whatever_the_requirements_bring_along_is_pinned_too(setup_arguments, pins):
    extras = setup_arguments["extras_require"]
    waiting = [
        Requirement(text)
        for text in [*setup_arguments["install_requires"], *sum(extras.values(), [])]
    ]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        wanted = {"", *requirement.extras}
        if (name, *sorted(wanted)) in seen:
            continue
        seen.add((name, *sorted(wanted)))
        assert name in pins, f"constraints.txt has no {name}"
        needs = map(Requirement, importlib.metadata.requires(name) or [])
        waiting += [
            need
            for need in needs
            if need.marker is None
            or any(need.marker.evaluate({"extra": extra}) for extra in wanted)
        ]


def test_the_extras_that_make_installs_are_those_of_setup_py(setup_arguments):
    test_extras = set(makefile_variable("TEST_EXTRAS").split(","))
    assert test_extras == set(setup_arguments["extras_require"])
    assert set(makefile_variable("DEMO_EXTRAS").split(",")) <= test_extras


def test_the_range_of_python_is_the_same_everywhere(setup_arguments, pyproject):
    minors = [minor for minor in range(40) if f"3.{minor}" in makefile_versions()]
    declared = SpecifierSet(setup_arguments["python_requires"])
    assert [
        minor for minor in range(40) if Version(f"3.{minor}.5") in declared
    ] == minors
    assert pyproject["tool"]["ruff"]["target-version"] == f"py3{minors[0]}"


def makefile_versions():
    """The Python versions that the Makefile accepts."""
    return makefile_variable("PYTHON_VERSIONS").split()


# --- The Makefile -------------------------------------------------------------


@needs_make
def test_help_lists_every_public_target_and_is_the_default():
    rules = re.findall(r"^([a-z0-9-]+):.*?## ", (ROOT / "Makefile").read_text(), re.M)
    wanted = {"help", "demo", "test", "check", "smoke", "results", "tables", "clean"}
    assert wanted <= set(rules)
    listed = make("help").stdout
    assert re.findall(r"^make (\S+) +\S", listed, re.MULTILINE) == rules
    assert make().stdout == listed


@needs_make
@pytest.mark.parametrize("answer", ["2.7", "3.10", "3.15", ""])
@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_refuses_another_python_and_says_what_to_do(tmp_path, answer, target):
    for name in ("Makefile", "setup.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "fake python"
    python.write_text(f"#!/bin/sh\necho {answer}\n")
    python.chmod(0o755)
    before = sorted(tmp_path.iterdir())

    run = make(target, f"PYTHON={python}", folder=tmp_path)

    assert run.returncode != 0
    found = f"Python {answer}." if answer else "not a Python that runs."
    assert f"Python 3.11 to 3.14 is needed, but '{python}' is {found}" in run.stderr
    assert "make demo PYTHON=python3.12" in run.stderr
    assert sorted(tmp_path.iterdir()) == before


@needs_make
@pytest.mark.parametrize("folder", ["", "no/such/folder"])
@pytest.mark.parametrize("target", ["results", "results-quick"])
def test_results_want_their_folders(target, folder):
    state = f"not a folder: {folder}" if folder else "not set"
    for missing, given in (
        ("ESC10_FOLDER", f"SPEECH_FOLDER={ROOT}"),
        ("SPEECH_FOLDER", f"ESC10_FOLDER={ROOT}"),
    ):
        run = make(target, f"{missing}={folder}", given)
        assert run.returncode != 0
        assert f"{missing}, which is {state}. For example:" in run.stderr


# --- Packaging ----------------------------------------------------------------


def test_every_folder_with_code_is_a_named_package(setup_arguments):
    # A folder left out works in this checkout and is missing from the wheel.
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in MAPPED
        for path in (ROOT / top).rglob("__init__.py")
        if not any(parent.is_symlink() for parent in path.parents)
    }
    mapped = {folder: name for name, folder in setup_arguments["package_dir"].items()}
    assert {mapped.get(name, name) for name in found} == set(
        setup_arguments["packages"]
    )


def test_the_version_is_the_same_everywhere(setup_arguments):
    version = setup_arguments["version"]
    assert version == speechbrain_lmac.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    headings = re.findall(r"^## \[(.+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert version in headings, "CHANGELOG.md does not say what is in this version"


def test_the_wheel_holds_code_and_yaml_once_and_nothing_else(tmp_path):
    # The wheel is built of the source distribution: that is enough to build it.
    _, wheel = release.build(tmp_path / "built")
    packed = zipfile.ZipFile(wheel).namelist()
    wanted = {"speechbrain_lmac/__init__.py"}
    for name in MAPPED:
        inside = "" if name == "speechbrain_lmac" else "speechbrain_lmac/"
        suffixes = {
            "hparams": ["*.yaml"],
            "speechbrain_lmac": [
                *("*.py", "*.csv", "template/*"),
                *("pretrained/*.json", "pretrained/*/*"),
                # Without it type checkers pass over what is installed.
                "py.typed",
            ],
        }
        # git_files: what someone left lying about does not count.
        wanted |= {
            inside + path.relative_to(ROOT).as_posix()
            for path in git_files()
            if any(map(path.match, suffixes.get(name, ["*.py"])))
            and path.relative_to(ROOT).parts[0] == name
        }
    wanted.add("speechbrain_lmac/hparams/__init__.py")
    code = [name for name in packed if ".dist-info/" not in name]
    assert sorted(code) == sorted(wanted)
    assert "speechbrain_lmac/py.typed" in code
    assert any(name.endswith("/LICENSE") for name in packed)


# --- The repository -----------------------------------------------------------


def test_links_are_relative_and_lead_somewhere():
    links = {path for path in git_files() if path.is_symlink()}
    assert {ROOT / "recipes/hparams", ROOT / "recipes/data_prep"} <= links
    for link in links:
        assert not os.path.isabs(os.readlink(link)), f"{link} is absolute"
        assert link.exists(), f"{link} leads nowhere"


def test_no_file_names_a_folder_of_someones_machine():
    here = "|".join(re.escape(f"{folder}/") for folder in (ROOT, Path.home()))
    pattern = re.compile(
        rf"(?<![\w.<}}]){here}|(?<![\w.<}}])/(home|Users|root|work)/\w|[A-Z]:\\Users\\\w"
    )
    for path in git_files():
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            found = pattern.search(text)
            assert found is None, f"{path.relative_to(ROOT)} names {found.group()}"
