"""Audio and picture files of explained clips for the HTML report."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from torch.utils.data import DataLoader, Subset

from speechbrain_lmac.data.dataset import ClipBatch, collate_clips, lens_on
from speechbrain_lmac.evaluation.benchmark import Benchmark
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.inference.batches.names import unique_names
from speechbrain_lmac.inference.explain_batch import explain_batch
from speechbrain_lmac.plots.figures import write_method_grid
from speechbrain_lmac.reporting.html.images import mask_png, spectrogram_png
from speechbrain_lmac.types import Explainer
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.files import write_atomically

# WAV plays and seeks in all browsers; seeking in FLAC can fail in Chromium.
SOUND = ".wav"


def render_clips(
    benchmark: Benchmark,
    folder: str | Path,
    chosen: Mapping[str, Sequence[str]],
    figures: bool = False,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Write audio and pictures of each clip and method of an evaluation.

    Arguments
    ---------
    benchmark : Benchmark
        Defines conditions and blocks. Blocks that are not listenable are skipped.
    folder : str or Path
        Output folder of 16-bit WAV and PNG files, a subfolder per condition and block.
    chosen : dict
        Condition name to the ids of its clips, from `spread`.
    figures : bool
        Also write a PDF figure for each clip, with all methods.
    progress : bool
        Show a progress bar.

    Returns
    -------
    clips : list of dict
        For each condition, block and clip: `condition block id seconds top_hz input
        picture figure methods`; `methods` maps method names to `explanation rest mask
        explained heard_confidence_in heard_confidence_out`. File paths are relative to
        `folder`, with `/`.
    """
    folder, clips = Path(folder), []
    pairs = [
        (condition, name, block)
        for condition in benchmark.conditions
        for name, block in benchmark.blocks.items()
        if block.domain.listenable
    ]
    total = sum(len(chosen.get(condition, ())) for condition, _, _ in pairs)
    with progress_bar(total=total, desc="clips", disable=not progress) as bar:
        for number, (condition, name, block) in enumerate(pairs):
            prefix = f"clips/{number}"
            for batch in _batches(benchmark, condition, chosen.get(condition, ())):
                found = _render_batch(block, batch, benchmark, folder, prefix, figures)
                clips += [{"condition": condition, "block": name, **c} for c in found]
                bar.update(len(batch.ids))
    return clips


def spread(per_clip: pd.DataFrame, n_clips: int | None) -> dict[str, list[str]]:
    """Choose clips of each condition, cycling through the classes.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `evaluate`.
    n_clips : int or None
        Number of clips per condition; None: all.

    Returns
    -------
    chosen : dict
        Name of a condition to clip ids.

    Example
    -------
    >>> import pandas as pd
    >>> rows = {"condition": "clean", "id": [1, 2, 3, 4], "label": ["a", "a", "b", "b"]}
    >>> spread(pd.DataFrame(rows), 3)
    {'clean': ['1', '3', '2']}
    """
    chosen = {}
    for condition, rows in per_clip.groupby("condition", sort=False):
        clips = rows.drop_duplicates("id")
        turn = clips.groupby("label", dropna=False).cumcount()
        order = clips.assign(turn=turn).sort_values("turn", kind="stable")
        chosen[condition] = order["id"].astype(str).head(n_clips or len(clips)).tolist()
    return chosen


def _batches(
    benchmark: Benchmark, condition: str, ids: Sequence[str]
) -> Iterable[ClipBatch]:
    """Return batches of some clips of a condition."""
    clips = benchmark.conditions[condition].clips
    index_of = {str(clip): index for index, clip in enumerate(clips.ids)}
    some = Subset(clips, [index_of[clip] for clip in ids if clip in index_of])
    return DataLoader(some, benchmark.batch_size, collate_fn=collate_clips)


def _render_batch(
    block: Block,
    batch: ClipBatch,
    benchmark: Benchmark,
    folder: Path,
    prefix: str,
    figures: bool,
) -> list[dict[str, Any]]:
    """Write the files of a batch; return the page's data of each clip."""
    wav, lens = batch.wav.to(benchmark.device), lens_on(batch, benchmark.device)
    domain, rate = block.domain, block.domain.sample_rate
    names = [f"{prefix}/{name}" for name in unique_names(map(_as_file, batch.ids))]
    clips: list[dict[str, Any]] = []
    with torch.no_grad():
        magnitude = domain.magnitude(domain.encode(wav, lens)).cpu().numpy()
    for index, (clip_id, name) in enumerate(zip(batch.ids, names, strict=True)):
        _write_sound(folder / f"{name}{SOUND}", wav[index], rate)
        _write(folder / f"{name}.png", spectrogram_png(magnitude[index]))
        clips.append(
            {
                "id": str(clip_id),
                "seconds": wav.shape[1] / rate,
                "top_hz": rate / 2,
                "input": f"{name}{SOUND}",
                "picture": f"{name}.png",
                "figure": f"{name}.pdf" if figures else None,
                "methods": {},
            }
        )
    drawn: list[dict[str, tuple[np.ndarray, np.ndarray]]] = [{} for _ in clips]
    for number, (method, explainer) in enumerate(block.explainers.items()):
        explained = explain_batch(
            _InDomain(explainer, block, benchmark), wav, benchmark.labels, None, lens
        )
        for index, (clip, name) in enumerate(zip(clips, names, strict=True)):
            stem = f"{name}_{number}"
            for part in ("explanation", "rest"):
                sound = getattr(explained, part)[index]
                _write_sound(folder / f"{stem}_{part}{SOUND}", sound, rate)
            mask = explained.mask[index].float().cpu().numpy()
            _write(folder / f"{stem}.png", mask_png(mask))
            if figures:
                masked = explained.masked_magnitude[index].float().cpu().numpy()
                drawn[index][method] = (mask, masked)
            clip["methods"][method] = {
                "explained": explained.labels[index],
                "heard_confidence_in": explained.heard_confidence_in[index].item(),
                "heard_confidence_out": explained.heard_confidence_out[index].item(),
                "explanation": f"{stem}_explanation{SOUND}",
                "rest": f"{stem}_rest{SOUND}",
                "mask": f"{stem}.png",
            }
    if figures:
        for index, clip in enumerate(clips):
            write_method_grid(
                folder / clip["figure"],
                magnitude[index],
                drawn[index],
                (clip["seconds"], clip["top_hz"]),
                clip["id"],
            )
    return clips


class _InDomain:
    """An explainer of a block, with the domain and classifier of the block."""

    def __init__(
        self, explainer: Explainer, block: Block, benchmark: Benchmark
    ) -> None:
        self.explain = explainer.explain
        self.domain = block.domain
        self.classifier = benchmark.classifier


def _as_file(clip: str) -> str:
    """Return the id of a clip as a file name."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in str(clip))[:80]


def _write_sound(path: Path, wav: torch.Tensor, rate: int) -> None:
    """Write a waveform (N,) with 16 bits, divided by its peak where that exceeds 1."""
    samples = wav.detach().float().cpu().numpy()
    samples = samples / max(1.0, np.abs(samples).max())
    content = io.BytesIO()
    soundfile.write(content, samples, round(rate), "PCM_16", format="WAV")
    _write(path, content.getvalue())


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda part: part.write_bytes(content))
