"""Streaming of a large corpus in constant memory."""

import tempfile
from pathlib import Path

from benchmarks.ranks import in_processes, make_shards


def measure(settings):
    """Explain many clips in one process of one thread.

    Returns
    -------
    result : dict
        See `ranks.stream`; "rows" and "table_bytes" of the written table.
    """
    with tempfile.TemporaryDirectory() as folder:
        shards = make_shards(folder, settings.n_streamed)
        out = Path(folder) / "out"
        result = in_processes(1, "stream", shards, out, settings.n_streamed)
        with open(out / "corpus.csv", encoding="utf-8") as table:
            result["rows"] = sum(1 for _ in table) - 1
        result["table_bytes"] = (out / "corpus.csv").stat().st_size
        return result
