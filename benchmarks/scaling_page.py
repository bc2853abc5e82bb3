"""The page docs/results/scaling.md, from the records; see `benchmarks.page`."""

from statistics import median

from benchmarks.run import FOLDER, read_record
from benchmarks.timing import seconds
from speechbrain_lmac.reporting.markdown import MarkdownPage, table_lines

TEN_MILLION = 10_000_000


def text(folder=FOLDER):
    """Return the text of docs/results/scaling.md."""
    record = read_record("streaming", folder)
    streamed = record["streaming"]
    measured = read_record("ranks", folder)["ranks"]
    timed = measured["corpus"]
    n_clips = streamed["rows"]
    per_clip = streamed["seconds"] / n_clips
    memory = streamed["resident_mib"]
    explanation = read_record("scaling", folder)
    row_bytes = streamed["table_bytes"] / n_clips
    rows = [["0.3 s, as above", per_clip]]
    if explanation is not None:
        sizes = explanation["scaling"]
        five = sizes["threads"] * seconds(sizes["lengths"], "5")
        rows.append(["5 s, one by one (docs/results/performance.md)", five])
    rows = [
        [
            name,
            f"{1000 * cost:.2f}",
            f"{cost * TEN_MILLION / 3600:.0f}",
            f"{cost * TEN_MILLION / 3600 / 64:.1f}",
        ]
        for name, cost in rows
    ]
    speed_up = median(timed["1"]) / median(timed["2"])
    page = MarkdownPage("Large corpora")
    page.add(
        f"Written by `make bench`. Measured on {record['date']}. Versions: "
        f"{record['versions']}.",
        "`recipes/explain_corpus.py` explains a list of files or the shards of a "
        "WebDataset as a stream. The corpus is cut in parts (1,000 lines, or a "
        "shard); of n processes, process i explains the parts i, i + n, i + 2n, ...; "
        "each part is written atomically, under a fingerprint of its content and of "
        "the model. A killed process loses its unfinished part only, the same command "
        "resumes with any number of processes, every clip has one row, and at the end "
        "the rows are joined in the order of the corpus.",
        "```sh\n"
        "torchrun --nproc_per_node=2 recipes/explain_corpus.py "
        "hparams/esc10_lmac.yaml --shards 'corpus-{000000..000099}.tar' "
        "--output_folder out --distributed_backend=gloo\n"
        "```",
        "Several machines share the output folder: torchrun's `--nnodes` and "
        "`--rdzv_endpoint` start them.",
        "## Measured",
        f"{n_clips:,} clips of 0.3 s in shards of 1,000, `esc10-lmac`, one process "
        f"of one thread: {streamed['seconds']:.0f} s, {1000 * per_clip:.2f} ms a "
        f"clip, {n_clips} rows. Memory after each tenth, MiB: "
        f"{', '.join(f'{value:.0f}' for value in memory)}; from the first to the "
        f"last {memory[-1] - memory[0]:+.1f} MiB, "
        f"peak {streamed['peak_mib']:.0f}.",
        f"Two processes of one thread each: {speed_up:.2f} times as fast, and the "
        f"same table, {'byte by byte' if measured['equal'] else 'NOT EQUAL'}.",
        "## 10 million clips",
        "From the cost of a clip, seconds times cores, without reading from a network.",
        table_lines(["clips of", "ms a clip", "core hours", "hours on 64 cores"], rows),
        f"The table of 10 million rows has {row_bytes * TEN_MILLION / 1e9:.1f} GB "
        "at the measured size of a row, and is joined a part at a time. "
        "Explanations (`--sounds`, 32-bit float at 16 kHz) of 5 s have 320 kB each, "
        "3.2 TB.",
    )
    return page.text()
