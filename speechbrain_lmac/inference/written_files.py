"""Files of an explanation: audio, a picture, a table of its windows."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from speechbrain_lmac.dsp.audio_streams import MonoFile, WavWriter
from speechbrain_lmac.inference.explain_file import explain_source
from speechbrain_lmac.inference.requests import ClassRequest, PromptRequest
from speechbrain_lmac.inference.results import (
    MAPS,
    SOUNDS,
    Explained,
    FileScores,
)
from speechbrain_lmac.plots.figures import write_explanation_picture
from speechbrain_lmac.utils.csv_files import write_csv

# Maximum columns of a picture; if there are more frames, they are averaged.
MOST_COLUMNS = 4000


def write_request(
    request: ClassRequest | PromptRequest,
    source: MonoFile,
    folder: str | Path,
    name: str,
    pictures: Sequence[str] = ("png",),
) -> FileScores:
    """Explain a file and write `NAME_input.wav`, `NAME_explanation.wav`,
    `NAME_rest.wav` and `NAME.png`; memory does not grow with the file.

    The audio is 32-bit float WAV, mono, so nothing is clipped. For a file explained in
    windows, `NAME_windows.csv` has the scores of each.

    Arguments
    ---------
    request : ClassRequest or PromptRequest
        From `requests`.
    source : speechbrain_lmac.dsp.audio_streams.MonoFile
    folder : str or Path
        Created if missing.
    name : str
        First part of the file names.
    pictures : sequence of str
        Formats of the picture: "png", "pdf" or "svg".

    Returns
    -------
    scores : FileScores
    """
    sink = _Files(Path(folder), name)
    try:
        scores = explain_source(request, source, sink)
    except BaseException:
        sink.close(whole=False)
        raise
    sink.close()
    _write_rest(scores, sink.columns, folder, name, pictures)
    return scores


def write_explanation(
    explained: Explained,
    folder: str | Path,
    name: str,
    pictures: Sequence[str] = ("png",),
) -> None:
    """Write the files of `write_request` for an explanation in memory.

    Arguments
    ---------
    explained : FileExplanation or PromptExplanation
    folder, name, pictures
        As for `write_request`.
    """
    sink = _Files(Path(folder), name)
    sink.begin(explained.sample_rate, explained.n_samples, len(explained.mask))
    sink.sounds(**{sound: getattr(explained, sound) for sound in ("input", *SOUNDS)})
    sink.maps(**{key: getattr(explained, key) for key in MAPS})
    sink.close()
    _write_rest(explained, sink.columns, folder, name, pictures)


def _write_rest(
    scores: FileScores,
    columns: "dict[str, Columns]",
    folder: str | Path,
    name: str,
    pictures: Sequence[str],
) -> None:
    """Write the picture, and the table of windows if there are several."""
    if len(scores.windows) > 1:
        import pandas as pd  # slow

        table = pd.DataFrame([asdict(window) for window in scores.windows])
        if scores.on_sounds is None:  # not checked
            table = table.drop(columns="encoding")
        write_csv(table, Path(folder) / f"{name}_windows.csv")
    for kind in pictures:
        write_explanation_picture(
            Path(folder) / f"{name}.{kind}",
            {
                "input": columns["magnitude"].mean(),
                "mask": columns["mask"].mean(),
                "explanation": columns["masked_magnitude"].mean(),
            },
            extent=(scores.n_samples / scores.sample_rate, scores.model_rate / 2),
            title=scores.title(),
        )


class _Files:
    """A `Sink` that writes the audio and averages the maps for a picture."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.writers: dict[str, WavWriter] = {}

    def begin(self, sample_rate: int, n_samples: int, n_frames: int) -> None:
        for sound in ("input", *SOUNDS):
            path = self.folder / f"{self.name}_{sound}.wav"
            self.writers[sound] = WavWriter(path, sample_rate, n_samples)
        self.columns = {key: Columns(n_frames) for key in MAPS}

    def sounds(self, **blocks: torch.Tensor) -> None:
        for sound, block in blocks.items():
            self.writers[sound].write(block)

    def maps(self, **blocks: torch.Tensor) -> None:
        for key, block in blocks.items():
            self.columns[key].push(block)

    def close(self, whole: bool = True) -> None:
        for writer in self.writers.values():
            writer.close(whole)


class Columns:
    """Running average of a map, received in blocks of frames, to fewer columns.

    Arguments
    ---------
    n_frames : int
        Number of frames of the whole map.
    most : int
        Maximum number of columns, each the mean of its frames.

    Example
    -------
    >>> columns = Columns(4, most=2)
    >>> columns.push(torch.tensor([[1.0], [3.0], [5.0]]))
    >>> columns.push(torch.tensor([[6.0]]))
    >>> columns.mean()
    tensor([[2.0000],
            [5.5000]])
    """

    def __init__(self, n_frames: int, most: int = MOST_COLUMNS) -> None:
        self.n_frames = n_frames
        self.n_columns = min(n_frames, most)
        self.n_pushed = 0
        self.sum = torch.zeros(self.n_columns, 0)

    def push(self, frames: torch.Tensor) -> None:
        """Append frames (T, F)."""
        if self.n_pushed == 0:
            self.sum = torch.zeros(self.n_columns, frames.shape[1])
        frame = torch.arange(self.n_pushed, self.n_pushed + len(frames))
        self.n_pushed += len(frames)
        self.sum.index_add_(0, frame * self.n_columns // self.n_frames, frames)

    def mean(self) -> torch.Tensor:
        """Return the columns, (C, F)."""
        frame = torch.arange(self.n_frames) * self.n_columns // self.n_frames
        return self.sum / frame.bincount(minlength=self.n_columns)[:, None]
