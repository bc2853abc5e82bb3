"""A corpus that passes through without being held."""

import tempfile
from pathlib import Path

from benchmarks.ranks import in_processes, make_shards


def measure(settings):
    """One process of one thread, and many clips.

    Returns
    -------
    answer : dict
        See `ranks.stream`; "rows" and "table_bytes" of what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        shards = make_shards(folder, settings.n_streamed)
        out = Path(folder) / "out"
        said = in_processes(1, "stream", shards, out, settings.n_streamed)
        with open(out / "corpus.csv", encoding="utf-8") as table:
            said["rows"] = sum(1 for _ in table) - 1
        said["table_bytes"] = (out / "corpus.csv").stat().st_size
        return said
