"""A release, built and tried out as a stranger would: python -m tests.release.

The source distribution and, of it, the wheel go to dist/. The wheel is installed into
an empty environment, and explains a clip there: in a folder with a space in its name,
for a user who is not root and whose home folder can only be read. Nothing but dist/ is
left.

    make dist
    make dist TORCH_INDEX=https://download.pytorch.org/whl/cpu   # without CUDA
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "setup.py pyproject.toml MANIFEST.in README.md CHANGELOG.md LICENSE".split()
SOURCE += ["constraints.txt"]
CODE = ("speechbrain_lmac", "hparams", "data_prep", "recipes")
NOBODY = "--reuid=65534"
BUILD = (
    "from setuptools import build_meta; import sys; build_meta.build_sdist(sys.argv[1])"
)
HERE = "import speechbrain_lmac; print(speechbrain_lmac.__file__)"


def build(folder):
    """Build the source distribution, and of it the wheel.

    Arguments
    ---------
    folder : Path
        For both, and for a copy of the source.

    Returns
    -------
    sdist, wheel : Path
    """
    source = folder / "source"
    source.mkdir(parents=True)
    for name in SOURCE:
        shutil.copy(ROOT / name, source)
    clutter = shutil.ignore_patterns("__pycache__")
    for name in CODE:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=clutter)
    for name in ("data", "results"):  # of recipes that were run there
        shutil.rmtree(source / "recipes" / name, ignore_errors=True)
    _run([sys.executable, "-c", BUILD, folder], cwd=source)
    (sdist,) = folder.glob("*.tar.gz")
    # setuptools of this environment: another one would have to be downloaded.
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    _run([sys.executable, "-m", "pip", "wheel", *options, sdist])
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def install(wheel, folder, torch_index):
    """Make an environment that has the wheel, and what it needs, and no more.

    Returns
    -------
    python : Path
        Of the environment.
    """
    _run([_base_python(), "-m", "venv", "--without-pip", folder])
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    pip += ["--disable-pip-version-check", "--constraint", ROOT / "constraints.txt"]
    if torch_index:
        _run([*pip, "torch", "torchaudio", "--index-url", torch_index])
    _run([*pip, wheel])
    return python


def _base_python():
    """A Python of this version that another user may start, if there is one."""
    own = Path(sys.base_prefix) / "bin" / "python3"
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (own, Path("/usr/local/bin") / name, Path("/usr/bin") / name):
        if os.geteuid() or NOBODY in _unprivileged(python):
            return python
    return own


def _unprivileged(python):
    """What starts a command as a user without root's rights, of another name if he can.

    Of a Python below root's own folder root starts it, who gives up all rights.
    """
    if os.geteuid():
        return []
    nobody = [NOBODY, "--regid=65534", "--clear-groups"]
    # setpriv itself has the rights until it has started something: `env`.
    none = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "env"]
    command = ["setpriv", *nobody, *none, python, "-c", "import venv, zlib"]
    known = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return ["setpriv", *(nobody if known else []), *none]


def explain(python, folder):
    """Explain a clip as a stranger.

    Arguments
    ---------
    python : Path
        Of the environment.
    folder : Path
        To work in; everyone may write there.

    Raises
    ------
    RuntimeError
        When anything is wrong, or when a warning is shown.
    """
    home = folder.with_name("home")
    home.mkdir(mode=0o555)
    folder.mkdir()
    example = ROOT / "speechbrain_lmac/pretrained/esc10-lmac/example.wav"
    shutil.copy(example, folder / "a clip.wav")
    folder.chmod(0o777)
    command = [*_unprivileged(python), python.with_name("speechbrain-lmac")]
    clean = {"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8"}
    command += ["explain", "a clip.wav", "--output_folder", "an answer"]
    done = _run(command, cwd=folder, env=clean)
    print(done.stdout, end="")
    if done.stderr:
        raise RuntimeError(f"on standard error:\n{done.stderr}")
    wanted = {"a clip.png", "explanations.csv"}
    wanted |= {f"a clip_{part}.wav" for part in ("input", "explanation", "rest")}
    missing = wanted - {path.name for path in (folder / "an answer").iterdir()}
    if missing:
        raise RuntimeError(f"not written: {missing}")
    if any(home.iterdir()):
        raise RuntimeError("something was written into the home folder")
    place = _run([python, "-c", HERE], cwd=folder, env=clean).stdout
    if str(ROOT) in place:
        raise RuntimeError(f"that was not the wheel, but {place}")


def _run(command, **options):
    """Run a command; an error, with what it said, when it fails."""
    command = [str(word) for word in command]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        said = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise RuntimeError(f"{' '.join(command)} failed:\n{said}")
    return done


def megabytes(path):
    """The size of a file or folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(p.lstat().st_size for p in files if not p.is_dir()) / 1e6


def main():
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_index", default="", help="where torch comes from")
    arguments = parser.parse_args()
    # Not in a folder of the user's, which nobody else might enter.
    with tempfile.TemporaryDirectory(prefix="a release ") as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        for task in (_build, _install, _explain):
            start = time.perf_counter()
            said = task(folder, arguments.torch_index)
            print(f"{said} ({time.perf_counter() - start:.0f} s)", flush=True)


def _build(folder, torch_index):
    made = build(folder / "built")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    (ROOT / "dist").mkdir()
    for path in made:
        shutil.copy(path, ROOT / "dist")
    return "built: " + ", ".join(f"dist/{p.name}, {megabytes(p):.1f} MB" for p in made)


def _install(folder, torch_index):
    (wheel,) = (folder / "built").glob("*.whl")
    install(wheel, folder / "environment", torch_index)
    size = megabytes(folder / "environment") / 1e3
    return f"installed into an empty environment of {size:.2f} GB"


def _explain(folder, torch_index):
    explain(folder / "environment" / "bin" / "python", folder / "a folder")
    return "explained a clip without root, with a home folder that can only be read"


if __name__ == "__main__":
    main()
