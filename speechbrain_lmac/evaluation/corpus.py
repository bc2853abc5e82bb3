"""Explanations of a corpus of any size: streamed, distributed, resumable.

The corpus is a stream of parts: consecutive lines of a list, or shards of a WebDataset.
Of n processes, process i explains the parts i, i + n, i + 2n, ... The rows of each part
are written to a file whose name contains a fingerprint of its clips and the model:
finished parts are skipped, whichever process wrote them, and results for other lists or
models are never reused. At the end the parts are concatenated in order. Memory does not
grow with the number of clips.
"""

import csv
import io
import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
import torch
from torch.utils.data import DataLoader, IterableDataset

from speechbrain_lmac.dsp.audio import (
    fix_length,
    relative_length,
    to_model_level,
    write_sound,
)
from speechbrain_lmac.evaluation.evaluate import score_clips
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.types import Classifier, Explainer, Explanation, MaskDomain
from speechbrain_lmac.utils.csv_files import MISSING, cell_text, write_csv
from speechbrain_lmac.utils.distributed import rank_and_size, wait_for_all
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.files import write_atomically
from speechbrain_lmac.utils.hashing import fingerprint_of

if TYPE_CHECKING:
    from speechbrain_lmac.data.streams import ListedClips, Part, ShardedClips

METRICS = ("AI", "AD", "AG", "FF", "Fid-In", "MM")
SCORED = ("predicted", "p", "p_in", "p_out", *METRICS)
COLUMNS = ("name", *SCORED, "error")


class CorpusExplainer(Explainer, Protocol):
    """An explainer with its domain and classifier."""

    @property
    def domain(self) -> MaskDomain:
        """The domain of its masks."""

    @property
    def classifier(self) -> Classifier:
        """The explained classifier."""


@dataclass(frozen=True)
class PartBatch:
    """A batch of clips from one part; B of them are readable."""

    part: str  # its name
    names: list[str]  # of all clips, in order
    errors: dict[int, str]  # index in `names` of an unreadable clip to its error
    wav: torch.Tensor  # (B, N), of the readable clips
    lens: torch.Tensor  # (B,), relative lengths of the readable clips
    last: bool  # whether it is the last batch of its part

    def readable(self) -> list[int]:
        """Return the indices of the readable clips."""
        return [index for index in range(len(self.names)) if index not in self.errors]


class Batches(IterableDataset):
    """Batches of the parts that this process has to explain, in order.

    How clips are batched depends only on the part, not on the process.

    Arguments
    ---------
    source : ListedClips or ShardedClips
    sample_rate : int
        In Hz.
    n_samples : int
        Length N. Longer clips are truncated, shorter ones zero-padded.
    batch_size : int
        Clips per batch.
    finished : Path
        Folder of the finished parts.
    process : tuple
        Rank of this process and number of processes.
    """

    def __init__(
        self,
        source: "ListedClips | ShardedClips",
        sample_rate: int,
        n_samples: int,
        batch_size: int,
        finished: Path,
        process: tuple[int, int],
    ) -> None:
        self.source = source
        self.sample_rate = sample_rate
        self.n_samples = n_samples
        self.batch_size = batch_size
        self.finished = finished
        self.rank, self.n_ranks = process

    def __iter__(self) -> Iterator[PartBatch]:
        for part in self.source.parts(self.sample_rate):
            mine = part.index % self.n_ranks == self.rank
            if mine and not (self.finished / part.name).is_file():
                yield from self._batches(part)

    def _batches(self, part: "Part") -> Iterator[PartBatch]:
        """Yield the batches of a part."""
        clips = iter(part.clips())
        batch = list(itertools.islice(clips, self.batch_size))
        while True:
            following = list(itertools.islice(clips, self.batch_size))
            yield self._batch(part.name, batch, last=not following)
            if not following:
                return
            batch = following

    def _batch(
        self,
        part: str,
        clips: list[tuple[str, Callable[[], torch.Tensor]]],
        last: bool,
    ) -> PartBatch:
        """Read clips, given as names and functions that return samples (N',)."""
        wavs: list[torch.Tensor] = []
        lens: list[float] = []
        errors: dict[int, str] = {}
        for index, (_, read) in enumerate(clips):
            try:
                wav = read()
            except (InputError, OSError, MemoryError) as error:
                errors[index] = " ".join(str(error).split())
                continue
            lens.append(relative_length(len(wav), self.n_samples))
            wavs.append(to_model_level(fix_length(wav, self.n_samples)))
        wav = torch.stack(wavs) if wavs else torch.empty(0, self.n_samples)
        names = [name for name, _ in clips]
        return PartBatch(part, names, errors, wav, torch.tensor(lens), last)


def explain_corpus(
    explainer: CorpusExplainer,
    source: "ListedClips | ShardedClips",
    labels: Sequence[str],
    n_samples: int,
    output_folder: str | Path,
    batch_size: int = 32,
    num_workers: int = 1,
    sounds: bool = False,
    device: str | torch.device = "cpu",
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any] | None:
    """Explain and score all clips of a corpus. To be called in every process.

    Arguments
    ---------
    explainer : Explainer
        With `domain` and `classifier`.
    source : ListedClips or ShardedClips
    labels : list
        Class names in the order of the logits.
    n_samples : int
        N, the length in samples to which every clip is cut or padded, as in training.
    output_folder : str or Path
        Shared by all processes. `parts-FINGERPRINT/` contains the finished parts, and
        `corpus.csv` all rows in the order of the corpus, with the columns `COLUMNS`.
        Unreadable clips have an `error` instead of scores.
    batch_size : int
        Clips per batch.
    num_workers : int
        0, or 1 to read ahead in a worker process.
    sounds : bool
        Write the explanations to `sounds/PART/NUMBER.wav`: N samples at the model's
        rate, for the clip scaled to a peak of 1.
    device : str or torch.device
        Device of the explainer.
    progress : callable, optional
        Called with the number of clips of each batch.

    Returns
    -------
    counts : dict or None
        "clips", "failed" and "errors" (message to number of clips); None in all
        processes except the first.

    Raises
    ------
    InputError
        For a batch size or length below 1, and for an empty corpus.
    """
    check_counts(batch_size=batch_size, n_samples=n_samples)
    process = rank_and_size()
    rate = explainer.domain.sample_rate
    about = fingerprint_of(explainer, labels, n_samples, batch_size, METRICS)
    finished = Path(output_folder) / f"parts-{about}"
    finished.mkdir(parents=True, exist_ok=True)
    batches = DataLoader(
        Batches(source, rate, n_samples, batch_size, finished, process),
        batch_size=None,
        num_workers=num_workers,
    )
    rows: list[tuple] = []
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
    if process[0]:
        return None
    return _join_parts(source.parts(rate), finished, Path(output_folder))


@torch.no_grad()
def _explained(
    explainer: Explainer, batch: PartBatch, device: str | torch.device
) -> Explanation | None:
    """Return the explanation of the B readable clips, or None for B = 0."""
    if not len(batch.wav):
        return None
    lens = None if (batch.lens == 1).all() else batch.lens.to(device)
    return explainer.explain(batch.wav.to(device), lens=lens)


def _rows(
    explainer: CorpusExplainer,
    explanation: Explanation | None,
    batch: PartBatch,
    labels: Sequence[str],
) -> list[tuple]:
    """Return the rows of a batch, in its order."""
    readable = batch.readable()
    scores: dict[int, list] = {}
    if explanation is not None:
        evidence = gather_evidence(explainer.domain, explainer.classifier, explanation)
        ids = [batch.names[index] for index in readable]
        metrics = metrics_by_name(METRICS)
        table = score_clips(ids, None, evidence, metrics, labels)
        rows = table[list(SCORED)].astype(object).to_numpy().tolist()
        scores = dict(zip(readable, rows, strict=True))
    empty = [None] * len(SCORED)
    return [
        (name, *scores.get(index, empty), batch.errors.get(index))
        for index, name in enumerate(batch.names)
    ]


@torch.no_grad()
def _write_sounds(
    folder: Path,
    domain: MaskDomain,
    explanation: Explanation,
    batch: PartBatch,
    first: int,
) -> None:
    """Write the explanations of a batch, named by their number in the part."""
    masked = domain.apply_mask(explanation.encoded, explanation.mask)
    for index, wav in zip(batch.readable(), domain.decode(masked).cpu(), strict=True):
        write_sound(folder / f"{first + index:06d}.wav", wav, domain.sample_rate)


def _join_parts(
    parts: Iterable["Part"], finished: Path, folder: Path
) -> dict[str, Any]:
    """Write `corpus.csv` part by part, and return the counts of `explain_corpus`."""
    n_clips = 0
    errors: Counter[str] = Counter()

    def write(path: Path) -> None:
        nonlocal n_clips
        with open(path, "w", encoding="utf-8", newline="") as whole:
            csv.writer(whole, lineterminator="\n").writerow(COLUMNS)
            for part in parts:
                with open(finished / part.name, encoding="utf-8", newline="") as rows:
                    rows.readline()
                    for row in csv.reader(io.StringIO(rows.read())):
                        n_clips += 1
                        if row[-1] != MISSING:
                            errors[cell_text(row[-1])[:60]] += 1
                    rows.seek(0)
                    rows.readline()
                    shutil.copyfileobj(rows, whole)

    write_atomically(folder / "corpus.csv", write)
    if not n_clips:
        raise InputError("the corpus contains no clips")
    return {"clips": n_clips, "failed": errors.total(), "errors": errors}
