"""`import speechbrain_lmac`: its names, and its import time."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import speechbrain_lmac
from speechbrain_lmac.hub.registry import SHIPPED
from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.inference.results import FileExplanation
from speechbrain_lmac.utils.errors import InputError
from tests.warm import warm_output

ROOT = Path(__file__).resolve().parents[2]
CLIP = SHIPPED / "esc10-lmac" / "example.wav"
# Python's own start, then the code, which finds what is installed but not this package.
UNINSTALLED = """\
import sys
sys.meta_path = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
sys.path.insert(0, "")
"""


def python(code, *arguments, cwd=ROOT):
    """The output of a new process."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import speechbrain_lmac; "
        "print(*(set(sys.modules) - before - {'typing'}))"
    )
    new = python(code).split()
    assert "torch" not in new and "numpy" not in new
    assert {name for name in new if name.startswith("speechbrain")} == {
        "speechbrain_lmac"
    }


def test_what_a_user_needs_is_found_by_looking_around():
    code = (
        "import sys, speechbrain_lmac; print(*dir(speechbrain_lmac)); "
        "assert 'torch' not in sys.modules"
    )
    found = python(code).split()
    assert set(speechbrain_lmac.__all__) < set(found)
    assert "__version__" in found


def test_a_star_imports_what_is_public():
    code = (
        "import sys; assert 'speechbrain_lmac' not in sys.modules; "
        "from speechbrain_lmac import *; "
        "print(explain.__name__, AudioExplainer.__name__, AudioClassifier.__name__)"
    )
    assert set(warm_output("-c", code).split()) == set(speechbrain_lmac.__all__)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_need_neither_torch_nor_numpy(option):
    code = (
        "import sys\nfrom speechbrain_lmac.cli import main\n"
        "try:\n    main([sys.argv[1]])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(*({'torch', 'numpy', 'speechbrain', 'tqdm'} & set(sys.modules)), '.')"
    )
    output = python(code, option)
    assert output.splitlines()[-1].strip() == "."
    if option == "--version":
        assert output.startswith(f"speechbrain-lmac {speechbrain_lmac.__version__}")


def test_a_file_is_explained_by_one_call():
    explained = speechbrain_lmac.explain(CLIP)
    model = AudioExplainer.from_hparams("esc10-lmac")
    assert isinstance(explained, FileExplanation)
    for again in (speechbrain_lmac.explain(CLIP, model), model.explain_file(CLIP)):
        assert torch.equal(again.explanation, explained.explanation)
    other = next(label for label in model.labels if label != explained.predicted)
    with pytest.raises(InputError, match=r"predicted"):
        speechbrain_lmac.explain(CLIP, target=other)
    with pytest.raises(InputError, match=r"\['a dog'\]"):
        speechbrain_lmac.explain(CLIP, "esc10-lmac-zs", prompts="a dog")


def test_a_checkout_has_what_an_installation_has():
    code = UNINSTALLED + (
        "from speechbrain_lmac.data_prep import esc50_prepare\n"
        "from importlib.util import find_spec\n"
        "from importlib.resources import files\n"
        "print(find_spec('speechbrain_lmac.recipes.evaluate').origin)\n"
        "print(files('speechbrain_lmac.hparams') / 'esc50_lmac.yaml')"
    )
    script, yaml = (Path(line).resolve() for line in python(code).splitlines())
    assert script == ROOT / "recipes" / "evaluate.py"
    assert yaml == ROOT / "hparams" / "esc50_lmac.yaml" and yaml.is_file()


@pytest.mark.parametrize(
    "old, new",
    [
        ("pretrain_codec", "recipes/train_codec.py"),
        ("models", "tools/models.py"),
        ("tables", "tools/tables.py"),
    ],
)
def test_a_script_that_was_renamed_names_the_new_one(old, new):
    done = subprocess.run(
        [sys.executable, f"recipes/{old}.py", "hparams/esc10_codec.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert new in done.stderr and "Traceback" not in done.stderr
    assert (ROOT / new).is_file()
