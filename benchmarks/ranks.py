"""Speed of two processes relative to one."""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile
import torch
import webdataset
from speechbrain.utils.distributed import ddp_init_group
from speechbrain.utils.run_opts import RunOptions
from torch.nn.parallel import DistributedDataParallel

from benchmarks.settings import RATE, SETTINGS, clips, part, stft
from benchmarks.training import lmac_step
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.data.streams import ShardedClips
from speechbrain_lmac.evaluation.corpus import explain_corpus
from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.utils.distributed import rank_and_size, wait_for_all
from speechbrain_lmac.utils.system import peak_memory_mib

CLIP_SECONDS = 0.3
SHARD_SIZE = 1000
N_STEPS = 12


def make_shards(folder, n_clips):
    """Write a shard of short clips and link it under several names."""
    size = min(SHARD_SIZE, n_clips)
    first = Path(folder) / "first"
    with webdataset.TarWriter(str(first)) as writer:
        for number, wav in enumerate(clips(SETTINGS["full"], size, CLIP_SECONDS)):
            stream = io.BytesIO()
            soundfile.write(stream, wav.numpy(), RATE, "PCM_16", format="WAV")
            writer.write({"__key__": f"{number:06d}", "wav": stream.getvalue()})
    n_shards = -(-n_clips // size)
    for number in range(n_shards):
        (Path(folder) / f"corpus-{number:06d}.tar").symlink_to(first)
    return f"{folder}/corpus-{{000000..{n_shards - 1:06d}}}.tar"


def resident_mib():
    """Return the resident memory of this process, without its children."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def stream(shards, folder, n_clips):
    """Explain a corpus, and return seconds and the memory after each tenth."""
    model = AudioExplainer.from_hparams("esc10-lmac", run_opts={"device": "cpu"})
    memory, done = [], 0

    def progress(n):
        nonlocal done
        if 10 * (done + n) // n_clips > 10 * done // n_clips:
            memory.append(resident_mib())
        done += n

    started = time.perf_counter()
    explain_corpus(
        model.explainer,
        ShardedClips(shards),
        model.labels,
        round(CLIP_SECONDS * RATE),
        folder,
        num_workers=0,
        progress=progress,
    )
    return {
        "seconds": time.perf_counter() - started,
        "resident_mib": memory,
        "peak_mib": peak_memory_mib(),
    }


def train(settings):
    """Return seconds of L-MAC steps with the compact classifier, in DDP."""
    torch.manual_seed(0)
    decoder = part("interpreter/conv", frequency={"sample_rate": RATE})
    if rank_and_size()[1] > 1:
        decoder = DistributedDataParallel(decoder)
    classifier = Frozen(part("classifier/compact", n_classes=10))
    step = lmac_step(decoder, settings, stft(), classifier)
    step()
    wait_for_all()
    started = time.perf_counter()
    for _ in range(N_STEPS):
        step()
    wait_for_all()
    return {"seconds": time.perf_counter() - started}


def in_processes(n_ranks, *arguments):
    """Run `main` in processes of one thread each, and return the first one's result."""
    command = [sys.executable, "-m"]
    if n_ranks > 1:
        command += ["torch.distributed.run", "--standalone"]
        command += [f"--nproc_per_node={n_ranks}", "-m"]
    done = subprocess.run(
        [*command, "benchmarks.ranks", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def measure(settings):
    """Return timings of one and two processes.

    Returns
    -------
    result : dict
        "corpus" and "training": seconds of "1" and "2" processes, interleaved, and
        "clips" of each (of a training those of one process);
        "equal": whether all tables were the same, byte by byte.
    """
    result = {"corpus": {"1": [], "2": []}, "training": {"1": [], "2": []}}
    n_clips = max(4, settings.n_streamed // 20)
    with tempfile.TemporaryDirectory() as folder:
        tables = []
        for number in range(settings.rounds):
            for n_ranks in (1, 2):
                name = Path(folder) / f"{number}-{n_ranks}"
                name.mkdir()
                shards = make_shards(name, n_clips)
                timed = in_processes(n_ranks, "stream", shards, name / "out", n_clips)
                result["corpus"][str(n_ranks)].append(timed["seconds"])
                tables.append((name / "out" / "corpus.csv").read_bytes())
                timed = in_processes(n_ranks, "train", settings.name)
                result["training"][str(n_ranks)].append(timed["seconds"])
        result["equal"] = len(set(tables)) == 1
    result["corpus"]["clips"] = n_clips
    result["training"]["clips"] = N_STEPS * settings.batch_size
    return result


def main(kind, *arguments):
    """Run the work of one process."""
    ddp_init_group(RunOptions.from_dictionary({"distributed_backend": "gloo"}))
    if kind == "stream":
        shards, folder, n_clips = arguments
        timed = stream(shards, folder, int(n_clips))
    else:
        timed = train(SETTINGS[arguments[0]])
    if rank_and_size()[0] == 0:
        print(json.dumps(timed))


if __name__ == "__main__":
    main(*sys.argv[1:])
