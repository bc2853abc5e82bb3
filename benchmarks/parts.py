"""The parts of performance.md, one for each benchmark; see `benchmarks.page`."""

from statistics import median

from benchmarks.timing import in_matmuls, ratio, seconds
from benchmarks.training import KEEP_MEMORY, SAVE_MEMORY
from speechbrain_lmac.reporting.markdown import table_lines

GIB = 1024  # MiB


def timing_rows(timings, peaks, to):
    """Yield a row per case: seconds, matmuls, memory, ratio to another case."""
    for name in timings:
        peak = peaks.get(name)
        yield [
            name,
            f"{seconds(timings, name):.2f}",
            f"{in_matmuls(timings, name):.0f}",
            "" if peak is None else f"{peak / GIB:.2f}",
            f"{ratio(timings, name, to):.2f}",
        ]


# No record of this repository has these: SpeechBrain's recipe is not part of it.
AGAINST_SPEECHBRAIN = (
    "Against SpeechBrain's own recipe at 9c826ef, 2 threads, interleaved, measured "
    "outside this repository: a step is 6.8 times as fast with the compact decoder and "
    "1.2 times with the published one, an evaluation 16 to 19 and 4.1 times, with "
    "1 / 3.1 of the memory."
)
STEP_HEAD = ["", "s", "matmuls", "peak, GiB", "x floor"]


def training_part(measured, targets):
    """Yield the part on training steps."""
    lmac, td, zs = (measured[name] for name in ("L-MAC", "LMAC-TD", "LMAC-ZS"))
    step = "L-MAC step, compact decoder"
    targets.at_most(
        f"{step}, to the floor",
        ratio(lmac["timings"], "compact decoder", "floor"),
        1.4,
        " x",
    )
    peak = lmac["peak_mib"]["compact decoder"] / GIB
    targets.at_most(f"{step}, memory at batch 16", peak, 4, " GiB")
    own, plain = "published mask network", "published way"
    saved = measured["saved memory"]
    name = "LMAC-TD step, published mask network, memory"
    why = "includes free blocks that glibc does not release; see the next row"
    targets.at_most(name, td["peak_mib"][own] / GIB, 5, " GiB", why)
    peak = max(frugal["peak_mib"] for _, frugal in saved) / GIB
    targets.at_most(f"{name}, with `{_set(SAVE_MEMORY)}`", peak, 5, " GiB")
    targets.at_most(
        "LMAC-TD step, published mask network, time to that without recomputing",
        ratio(td["timings"], own, plain),
        1.3,
        " x",
    )
    targets.at_most(
        "LMAC-TD step, compact mask network, time to the published one",
        ratio(td["timings"], "compact mask network", own),
        0.2,
        " x",
    )
    yield "## A training step"
    yield (
        "L-MAC at batch 16, clips of 5 s, CNN14, float32. The floor is the minimal "
        "cost of the objective: one forward pass of the unfolded classifier, and a "
        "forward and backward pass for the masked-in and the masked-out part, without "
        "a decoder. Ratios can be below 1, since trainings fold the classifier's batch "
        "norms. A matmul is a product of two matrices of 1024 x 1024, timed just "
        "before. Memory is that of a separate process with all libraries."
    )
    rows = timing_rows(lmac["timings"], lmac["peak_mib"], "floor")
    yield table_lines(["L-MAC", *STEP_HEAD[1:]], rows)
    yield (
        '"Published way": the decoder layer by layer, a pass for each part, the '
        "unfolded classifier, Adam in a loop (`benchmarks/published.py`). "
        f"{ratio(lmac['timings'], plain, 'compact decoder'):.1f} times the compact "
        f"decoder's step, {ratio(lmac['timings'], plain, 'published decoder'):.2f} "
        f"times that of the same decoder here. {AGAINST_SPEECHBRAIN}"
    )
    reused = measured["kept memory"]
    peak = max(with_it["peak_mib"] for _, with_it in reused) / GIB
    yield (
        f"With `{_set(KEEP_MEMORY)}` in the environment glibc reuses the memory of a "
        f"step for the next one: the compact decoder's step is {_gain(reused):.2f} "
        f"times as fast, with {peak:.2f} GiB."
    )
    yield "LMAC-TD at batch 2, alpha 0.75, the published codec."
    rows = timing_rows(td["timings"], td["peak_mib"], "floor")
    yield table_lines(["LMAC-TD", *STEP_HEAD[1:]], rows)
    yield (
        f"With `{_set(SAVE_MEMORY)}` glibc releases freed memory at once, and PyTorch "
        "uses large pages: the step with the published mask network is "
        f"{_gain(saved):.2f} times as fast."
    )
    yield (
        "LMAC-ZS for the package's small CLAP, as many prompts as clips: B x B masks, "
        "8 at once (`pairs_at_once`), of which only an embedding and a size stay in "
        "memory."
    )
    sizes = list(zs["timings"])
    rows = [
        [
            size,
            int(size) ** 2,
            f"{seconds(zs['timings'], size):.2f}",
            f"{1000 * seconds(zs['timings'], size) / int(size) ** 2:.0f}",
            f"{zs['peak_mib'][size] / GIB:.2f}",
        ]
        for size in sizes
    ]
    few, many = int(sizes[0]), int(sizes[-1])
    targets.at_most(
        f"LMAC-ZS step, {many} clips, memory with {many * many} masks to that with "
        f"{many * few}",
        zs["peak_mib"][sizes[-1]] / zs["peak_mib"]["few prompts"],
        1.05,
        " x",
    )
    yield table_lines(["B", "masks", "s", "ms a mask", "peak, GiB"], rows)


def _set(environment):
    """Return variables as typed in a shell."""
    return " ".join(f"{name}={value}" for name, value in environment.items())


def _gain(pairs):
    """Return the speed-up of a step by environment variables."""
    return median(plain["seconds"] / other["seconds"] for plain, other in pairs)


def evaluation_part(measured, targets):
    """Yield the part on the evaluation."""
    timings, n_clips = measured["timings"], measured["n_clips"]
    ours, floor = "ours, compact decoder", "floor, compact decoder"
    targets.at_most(
        "evaluation, to 3 passes of the classifier and 1 of the decoder",
        ratio(timings, ours, floor),
        1.2,
        " x",
    )
    yield "## An evaluation"
    yield (
        f"Explain and score with all metrics of the papers, a batch of {n_clips} clips "
        "of 5 s, CNN14. Floor: three passes of the classifier and one of the decoder."
    )
    rows = [
        [
            name,
            f"{seconds(timings, name) / n_clips:.3f}",
            f"{in_matmuls(timings, name) / n_clips:.1f}",
        ]
        for name in timings
    ]
    yield table_lines(["", "s a clip", "matmuls a clip"], rows)
    published = ratio(timings, "published way", "ours, published decoder")
    yield (
        "The published way explains four times. With the same decoder it takes "
        f"{published:.1f} times as long, and "
        f"{ratio(timings, 'published way', ours):.0f} times as long as the compact "
        "decoder."
    )


def explanation_part(measured, targets):
    """Yield the part on single explanations and batches."""
    one = measured["1"]["timings"]
    targets.at_most(
        "a warm explanation, to a pass of the classifier",
        ratio(one, "L-MAC", "classifier"),
        1.5,
        " x",
    )
    for name, setting in (("IG", "50 steps"), ("SmoothGrad", "50 samples")):
        if name in one:
            targets.at_least(
                f"{name} with {setting}, to an explanation",
                ratio(one, name, "L-MAC"),
                30,
                " x",
            )
    (many,) = (key for key in measured if key.isdecimal() and key != "1")
    yield "## An explanation"
    yield (
        "CNN14, clips of 5 s, the compact decoder: the mask and the waveform of the "
        "explanation; the mask alone for the gradient methods (captum). IG with 50 "
        "steps, SmoothGrad with 50 samples, SHAP as in the tables. These three run "
        f"clip by clip: {many} clips take {many} times as long, and were not timed."
    )
    batch = measured[many]["timings"]
    rows = [
        [
            name,
            f"{seconds(one, name):.3f}",
            f"{ratio(one, name, 'classifier'):.1f}",
            f"{ratio(one, name, 'L-MAC'):.1f}",
            f"{seconds(batch, name) / int(many):.3f}" if name in batch else "",
        ]
        for name in one
    ]
    head = ["", "s, one clip", "x classifier", "x L-MAC", f"s a clip, {many} at once"]
    yield table_lines(head, rows)
    yield (
        "Cold start, a process that loads the shipped `esc10-lmac` and explains a "
        f"clip: {measured['cold']:.1f} s."
    )
    yield from cold_start_part(measured["cold start"], targets)


def cold_start_part(measured, targets):
    """Yield the part on the start of the command."""
    timings = measured["timings"]
    pairs = zip(
        timings["explain"]["seconds"], timings["imports"]["seconds"], strict=True
    )
    targets.at_most(
        "`speechbrain-lmac explain`, less 1 s, to `import torch, speechbrain`",
        median((explain - 1) / imports for explain, imports in pairs),
        1.3,
        " x",
    )
    yield (
        "The command `speechbrain-lmac explain` of a clip of 5 s with `esc10-lmac`, "
        "and a process that only imports torch and SpeechBrain."
    )
    rows = [
        [
            name,
            f"{seconds(timings, name):.2f}",
            f"{ratio(timings, name, 'imports'):.2f}",
        ]
        for name in timings
    ]
    yield table_lines(["", "s", "x imports"], rows)


def loading_part(measured, targets):
    """Yield the part on waiting for data."""
    worst = max(row["share"] for row in measured if row["workers"] == 1)
    targets.at_most(
        "share of a training that waits for data, 1 worker", 100 * worst, 2, " %"
    )
    yield "## Data loading"
    yield (
        "L-MAC at batch 16 from WAV files of 44.1 kHz, read and resampled without a "
        "cache, as in a first epoch. Steps are shortest with the compact classifier."
    )
    rows = [
        [
            row["training"],
            row["workers"],
            f"{row['seconds_per_step']:.2f}",
            f"{100 * row['share']:.2f} %",
        ]
        for row in measured
    ]
    yield table_lines(["training", "workers", "s a step", "waiting"], rows)


def scaling_part(measured, targets):
    """Yield the part on cost against size."""
    yield "## Cost against size"
    lengths = measured["lengths"]
    rows = [
        [
            name,
            f"{seconds(lengths, name):.3f}",
            f"{1000 * seconds(lengths, name) / float(name):.1f}",
        ]
        for name in lengths
    ]
    yield "A file explained by `esc10-lmac`; from 7.5 s on in windows."
    yield table_lines(["s of audio", "s", "ms per second"], rows)
    batches = measured["batches"]
    rows = [
        [n, f"{seconds(batches, n):.2f}", f"{seconds(batches, n) / int(n):.3f}"]
        for n in batches
    ]
    yield "A batch explained with CNN14 and the compact decoder."
    yield table_lines(["clips", "s", "s a clip"], rows)
    classes = measured["classes"]
    rows = [[n, f"{seconds(classes, n):.3f}"] for n in classes]
    yield "A clip, by the number of classes of CNN14."
    yield table_lines(["classes", "s"], rows)
    widths, parameters = measured["widths"], measured["parameters"]
    rows = [
        [scale, f"{parameters[scale]:,}", f"{seconds(widths, scale):.3f}"]
        for scale in widths
    ]
    yield "The compact decoder, forwards and backwards at batch 16, by its width."
    yield table_lines(["x width", "parameters", "s"], rows)


def long_files_part(measured, targets):
    """Yield the part on time and memory of long files."""
    longest = max(measured, key=float)
    peak = measured[longest]["peak_mib"] / 1024
    targets.at_most(f"{longest} minutes of 44.1 kHz stereo, memory", peak, 3, " GiB")
    yield "## Long files"
    yield (
        "Two channels at 44.1 kHz, explained by `esc10-lmac` in windows and written "
        "with the figure; memory is that of the process with all libraries."
    )
    rows = [
        [
            minutes,
            f"{result['seconds']:.1f}",
            f"{result['peak_mib'] / 1024:.2f}",
            f"{result['written_bytes'] / 2**20:.0f}",
        ]
        for minutes, result in measured.items()
    ]
    yield table_lines(["minutes", "s", "GiB of memory", "MiB written"], rows)


def ranks_part(measured, targets):
    """Yield the part on one and two processes."""
    rows = []
    names = {"corpus": "explaining a corpus", "training": "training steps (DDP)"}
    for kind, name in names.items():
        timed = measured[kind]
        one, two = (
            timed["clips"] * share / median(timed[n_ranks])
            for n_ranks, share in (("1", 1), ("2", 2 if kind == "training" else 1))
        )
        targets.at_least(f"two processes, {name}", two / one, 1.6, " x")
        rows.append([name, f"{one:.1f}", f"{two:.1f}", f"{two / one:.2f}"])
    yield "## Two processes"
    yield (
        "gloo, one thread each, interleaved; clips per second. Their tables are "
        f"{'equal byte by byte' if measured['equal'] else 'NOT EQUAL'}."
    )
    yield table_lines(["", "one", "two", "x"], rows)
