"""A corpus of any size, explained in parts: streamed, shared out, taken up again.

The corpus is a stream of parts: runs of lines of a list, or the shards of a WebDataset.
Part i is the work of process i modulo their number. A part's rows are a file of their
own, whose name tells what it was made of: finished parts are not made again, whoever
made them, and no part of another list or model is taken for one of this. At the end the
parts are put together in their order. Nothing grows with the number of clips.
"""

import csv
import io
import itertools
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader, IterableDataset

from speechbrain_lmac.dsp.audio import (
    fix_length,
    recorded_share,
    to_model_level,
    write_sound,
)
from speechbrain_lmac.evaluation.evaluate import score_clips
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.utils.csv_files import MISSING, cell_text, write_csv
from speechbrain_lmac.utils.distributed import own_share, wait_for_all
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.files import write_atomically
from speechbrain_lmac.utils.hashing import fingerprint_of

METRICS = ("AI", "AD", "AG", "FF", "Fid-In", "MM")
SCORED = ("predicted", "p", "p_in", "p_out", *METRICS)
COLUMNS = ("name", *SCORED, "error")


@dataclass(frozen=True)
class PartBatch:
    """Some clips of a part, read."""

    part: str  # its name
    names: list  # of all of them, in their order
    errors: dict  # place in it to what is wrong there
    wav: torch.Tensor  # (B, N), of those that could be read
    lens: torch.Tensor  # (B,)
    last: bool  # of its part

    def heard(self) -> list[int]:
        """The places of the clips that could be read."""
        return [place for place in range(len(self.names)) if place not in self.errors]


class Batches(IterableDataset):
    """The batches of this process's unfinished parts, in their order.

    Which clips make a batch depends on the part alone, not on who reads it.

    Arguments
    ---------
    source : ListedClips or ShardedClips
    sample_rate : int
        In Hz.
    n_samples : int
        N. Longer clips are cut at their end, shorter ones followed by silence.
    batch_size : int
    finished : Path
        Where the files of finished parts are.
    share : tuple
        This process's number, and how many there are.
    """

    def __init__(
        self,
        source,
        sample_rate: int,
        n_samples: int,
        batch_size: int,
        finished: Path,
        share: tuple[int, int],
    ):
        self.source = source
        self.sample_rate = sample_rate
        self.n_samples = n_samples
        self.batch_size = batch_size
        self.finished = finished
        self.rank, self.n_ranks = share

    def __iter__(self) -> Iterator[PartBatch]:
        for part in self.source.parts(self.sample_rate):
            mine = part.index % self.n_ranks == self.rank
            if mine and not (self.finished / part.name).is_file():
                yield from self._batches(part)

    def _batches(self, part) -> Iterator[PartBatch]:
        clips = iter(part.clips())
        some = list(itertools.islice(clips, self.batch_size))
        while True:
            following = list(itertools.islice(clips, self.batch_size))
            yield self._batch(part.name, some, last=not following)
            if not following:
                return
            some = following

    def _batch(self, part: str, clips: list, last: bool) -> PartBatch:
        wavs, lens, errors = [], [], {}
        for place, (_, read) in enumerate(clips):
            try:
                wav = read()
            except (InputError, OSError, MemoryError) as error:
                errors[place] = " ".join(str(error).split())
                continue
            lens.append(recorded_share(len(wav), self.n_samples))
            wavs.append(to_model_level(fix_length(wav, self.n_samples)))
        wav = torch.stack(wavs) if wavs else torch.empty(0, self.n_samples)
        names = [name for name, _ in clips]
        return PartBatch(part, names, errors, wav, torch.tensor(lens), last)


def explain_corpus(
    explainer,
    source,
    labels: list[str],
    n_samples: int,
    output_folder: str,
    batch_size: int = 32,
    num_workers: int = 1,
    sounds: bool = False,
    device: str | torch.device = "cpu",
    progress=None,
) -> dict | None:
    """Explain and score every clip of a corpus; call it in each process alike.

    Arguments
    ---------
    explainer : Explainer
        With `domain` and `classifier`.
    source : ListedClips or ShardedClips
    labels : list
        Class names in the order of the logits.
    n_samples : int
        N, the length that every clip is given, as in the training.
    output_folder : str or Path
        Shared by all processes. `parts-FINGERPRINT/` has the finished parts,
        `corpus.csv` all rows in the order of the corpus: `COLUMNS`. A clip that could
        not be read has `error` in place of scores.
    batch_size : int
    num_workers : int
        0, or 1 that reads ahead.
    sounds : bool
        Write what the explanation lets through, `sounds/PART/NUMBER.wav`, N samples at
        the model's rate and the clip's level brought to a peak of 1.
    device : str or torch.device
        Where the explainer is.
    progress : callable, optional
        Told the number of clips of each batch.

    Returns
    -------
    counts : dict or None
        "clips", "failed" and "errors" (kinds, with their numbers); None in all
        processes but the first.
    """
    check_counts(batch_size=batch_size, n_samples=n_samples)
    share = own_share()
    rate = explainer.domain.sample_rate
    about = fingerprint_of(explainer, labels, n_samples, batch_size, METRICS)
    finished = Path(output_folder) / f"parts-{about}"
    finished.mkdir(parents=True, exist_ok=True)
    batches = DataLoader(
        Batches(source, rate, n_samples, batch_size, finished, share),
        batch_size=None,
        num_workers=num_workers,
    )
    rows = []
    for batch in batches:
        explanation = _explained(explainer, batch, device)
        if sounds and explanation is not None:
            folder = Path(output_folder) / "sounds" / Path(batch.part).stem
            _write_sounds(folder, explainer.domain, explanation, batch, len(rows))
        rows += _rows(explainer, explanation, batch, labels)
        if progress is not None:
            progress(len(batch.names))
        if batch.last:
            write_csv(pd.DataFrame(rows, columns=COLUMNS), finished / batch.part)
            rows = []
    wait_for_all()
    if share[0]:
        return None
    return _put_together(source.parts(rate), finished, Path(output_folder))


@torch.no_grad()
def _explained(explainer, batch: PartBatch, device: torch.device):
    """The explanation of the clips that could be read, or None if there are none."""
    if not len(batch.wav):
        return None
    lens = None if (batch.lens == 1).all() else batch.lens.to(device)
    return explainer.explain(batch.wav.to(device), lens=lens)


def _rows(explainer, explanation, batch: PartBatch, labels: list[str]) -> list:
    """The rows of a batch, in its order."""
    heard = batch.heard()
    scores = {}
    if explanation is not None:
        evidence = gather_evidence(explainer.domain, explainer.classifier, explanation)
        ids = [batch.names[place] for place in heard]
        metrics = metrics_by_name(METRICS)
        table = score_clips(ids, None, evidence, metrics, labels)
        rows = table[list(SCORED)].astype(object).to_numpy().tolist()
        scores = dict(zip(heard, rows, strict=True))
    empty = [None] * len(SCORED)
    return [
        (name, *scores.get(place, empty), batch.errors.get(place))
        for place, name in enumerate(batch.names)
    ]


@torch.no_grad()
def _write_sounds(
    folder: Path, domain, explanation, batch: PartBatch, first: int
) -> None:
    """The explanations of a batch, called by their number in the part."""
    heard = domain.decode(
        domain.apply_mask(explanation.encoded, explanation.mask)
    ).cpu()
    for place, wav in zip(batch.heard(), heard, strict=True):
        write_sound(folder / f"{first + place:06d}.wav", wav, domain.sample_rate)


def _put_together(parts, finished: Path, folder: Path) -> dict:
    """Write `corpus.csv`, a line at a time, and count."""
    counts = {"clips": 0, "failed": 0, "errors": Counter()}

    def write(path: Path) -> None:
        with open(path, "w", encoding="utf-8", newline="") as whole:
            csv.writer(whole, lineterminator="\n").writerow(COLUMNS)
            for part in parts:
                with open(finished / part.name, encoding="utf-8", newline="") as rows:
                    rows.readline()
                    for row in csv.reader(io.StringIO(rows.read())):
                        counts["clips"] += 1
                        if row[-1] != MISSING:
                            counts["failed"] += 1
                            counts["errors"][cell_text(row[-1])[:60]] += 1
                    rows.seek(0)
                    rows.readline()
                    shutil.copyfileobj(rows, whole)

    write_atomically(folder / "corpus.csv", write)
    if not counts["clips"]:
        raise InputError("there is no clip in the corpus")
    return counts
