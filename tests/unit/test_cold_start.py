"""A command imports only what it needs, as other imports take seconds."""

import subprocess
import sys
from pathlib import Path

import soundfile
import torch

SLOW = (
    "captum matplotlib transformers sklearn scipy.signal torch._dynamo jinja2 pandas"
).split()


def imported(code, *arguments, names):
    """Those of some modules that a new process has imported after some code."""
    code += (
        "\nprint('imported:', *(n for n in sys.argv[1].split() if n in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}", " ".join(names), *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("imported:")[2].split()


def test_the_command_line_is_there_before_torch_is():
    names = [*SLOW, "torch", "numpy", "scipy", "speechbrain"]
    code = "import speechbrain_lmac.cli, speechbrain_lmac.utils.arguments"
    assert imported(code, names=names) == []


def test_a_clip_is_explained_without_what_it_does_not_need(tmp_path):
    noise = torch.rand(44100, generator=torch.Generator().manual_seed(0)) - 0.5
    soundfile.write(tmp_path / "clip.wav", noise.numpy(), 44100)
    code = "from speechbrain_lmac.cli import main\nmain(sys.argv[2:])"
    clip, out = str(tmp_path / "clip.wav"), str(tmp_path / "out")
    options = ["--output_folder", out, "--no_pictures"]
    assert imported(code, "explain", clip, *options, names=[*SLOW, "torch"]) == [
        "torch"
    ]
    assert (tmp_path / "out" / "clip_explanation.wav").is_file()
