"""Commands in processes that need not start: forked from one that imported libraries.

A process of its own takes 4 s to start, of which 0.1 s are our code. That is imported
anew here, too, by the script or module; arguments, folder, environment, output and
exit status are those of the command line.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Libraries, and nothing of ours: a script imports that as it would anywhere.
PRELOADED = (
    *("torch", "torch._dynamo", "torchaudio", "pandas", "soundfile", "scipy.signal"),
    *("speechbrain", "speechbrain.inference", "captum.attr", "matplotlib.pyplot"),
    *("huggingface_hub.hf_api", "requests", "jinja2"),
)
LONGEST_S = 300
ROOT = Path(__file__).resolve().parents[1]


def run_script(argv, folder, environment, streams):
    """Be the command `python argv`; for the forked process.

    Arguments
    ---------
    argv : list of str
        Of a script, of a module after "-m", or of code after "-c".
    folder : str
        Where it runs.
    environment : dict
        All environment variables.
    streams : tuple of str
        Files of its output and of its errors.
    """
    for number, path in enumerate(streams, start=1):
        with open(path, "wb") as stream:
            os.dup2(stream.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if argv[0] == "-m":
            sys.argv = argv[1:]
            sys.path.insert(0, folder)
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        elif argv[0] == "-c":
            sys.argv = ["-c", *argv[2:]]
            sys.path.insert(0, "")
            exec(argv[1], {"__name__": "__main__"})
        else:
            sys.argv = argv
            sys.path.insert(0, str(Path(argv[0]).resolve().parent))
            runpy.run_path(argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()


def started(argv, folder, environment, log):
    """Start a command: the process, and the files of its output and errors."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    streams = tuple(f"{log}{name}" for name in (".out", ".err"))
    process = context.Process(
        target=run_script,
        args=(list(map(str, argv)), str(folder), dict(environment), streams),
    )
    process.start()
    return process, streams


def warm(command, folder, environment, each=({},)):
    """Run `[sys.executable, ...]` in warm processes, as `subprocess.run` does.

    Arguments
    ---------
    command : list
    folder : str or Path
    environment : dict
        All environment variables.
    each : sequence of dict
        For each process the variables of its own.

    Returns
    -------
    done : subprocess.CompletedProcess
        Status of the first that failed, or 0; output and errors of all, one after the
        other.
    """
    assert command[0] == sys.executable, command
    with tempfile.TemporaryDirectory() as logs:
        runs = [
            started(command[1:], folder, {**environment, **own}, f"{logs}/{number}")
            for number, own in enumerate(each)
        ]
        processes = [process for process, _ in runs]
        until = time.monotonic() + LONGEST_S
        try:
            while any(process.exitcode is None for process in processes):
                # One that waits for another that died would wait for ever.
                died = [p.exitcode for p in processes if p.exitcode]
                if died or time.monotonic() > until:
                    break
                time.sleep(0.02)
            died = [p.exitcode for p in processes if p.exitcode]
            if not died and any(process.exitcode is None for process in processes):
                raise subprocess.TimeoutExpired(command, LONGEST_S)
        finally:
            for process in processes:
                process.kill()
                process.join()
        texts = [
            "".join(Path(paths[place]).read_text("utf-8") for _, paths in runs)
            for place in range(2)
        ]
    return subprocess.CompletedProcess(command, died[0] if died else 0, *texts)


def warm_output(*argv, folder=ROOT):
    """The output of the command `python argv` in a warm process, which must succeed.

    It is no copy of the process of the tests: hashes of texts, random states and what
    is imported of ours are its own.
    """
    done = warm([sys.executable, *argv], folder, os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rank_variables(n_ranks=2):
    """What torchrun tells each of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(n_ranks),
            "LOCAL_WORLD_SIZE": str(n_ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        for rank in range(n_ranks)
    ]
