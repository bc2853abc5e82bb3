"""Write the files of one explanation: sounds, a picture, a table of its windows."""

from dataclasses import asdict
from pathlib import Path

import torch

from speechbrain_lmac.dsp.audio_streams import SoundWriter
from speechbrain_lmac.inference.explain_file import explain_source
from speechbrain_lmac.inference.results import MAPS, SOUNDS
from speechbrain_lmac.plots.figures import write_explanation_picture
from speechbrain_lmac.utils.csv_files import write_csv

# Columns that a picture is drawn of; more frames are averaged.
MOST_COLUMNS = 4000


def write_request(
    request,
    source,
    folder: Path,
    name: str,
    pictures: list[str] | tuple[str, ...] = ("png",),
):
    """Explain a file and write `NAME_input.wav`, `NAME_explanation.wav`,
    `NAME_rest.wav` and `NAME.png`; memory does not grow with the file.

    The audio is 32-bit float WAV, mono: nothing is clipped. Of a file that was
    explained in windows, `NAME_windows.csv` tells what the model says of each.

    Arguments
    ---------
    request : speechbrain_lmac.inference.requests.ClassRequest
    source : speechbrain_lmac.dsp.audio_streams.MonoFile
    folder : str or Path
        Made when missing.
    name : str
    pictures : sequence of str
        Kinds of picture, "png", "pdf", "svg".

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
    explained, folder: Path, name: str, pictures: tuple[str, ...] = ("png",)
) -> None:
    """Write a FileExplanation or PromptExplanation; see `write_request`."""
    sink = _Files(Path(folder), name)
    sink.begin(explained.sample_rate, explained.n_samples, len(explained.mask))
    sink.sounds(**{sound: getattr(explained, sound) for sound in ("input", *SOUNDS)})
    sink.maps(**{key: getattr(explained, key) for key in MAPS})
    sink.close()
    _write_rest(explained, sink.columns, folder, name, pictures)


def _write_rest(
    scores,
    columns: "dict[str, Columns]",
    folder: Path,
    name: str,
    pictures: list[str] | tuple[str, ...],
) -> None:
    """Write the picture, and the table of windows where there are more than one."""
    if len(scores.windows) > 1:
        import pandas as pd  # it takes a while

        table = pd.DataFrame([asdict(window) for window in scores.windows])
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
    """A sink of `explain_source`: it writes sounds, and keeps a picture's maps."""

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder, name
        self.writers = {}

    def begin(self, sample_rate: int, n_samples: int, n_frames: int) -> None:
        for sound in ("input", *SOUNDS):
            path = self.folder / f"{self.name}_{sound}.wav"
            self.writers[sound] = SoundWriter(path, sample_rate, n_samples)
        self.columns = {key: Columns(n_frames) for key in MAPS}

    def sounds(self, **blocks) -> None:
        for sound, block in blocks.items():
            self.writers[sound].write(block)

    def maps(self, **blocks) -> None:
        for key, block in blocks.items():
            self.columns[key].push(block)

    def close(self, whole: bool = True) -> None:
        for writer in self.writers.values():
            writer.close(whole)


class Columns:
    """The columns of a picture of a map that comes in blocks of frames.

    Arguments
    ---------
    n_frames : int
        Of the whole map.
    most : int
        Columns that are kept, each the mean of the frames that lie there.

    Example
    -------
    >>> columns = Columns(4, most=2)
    >>> columns.push(torch.tensor([[1.0], [3.0], [5.0]]))
    >>> columns.push(torch.tensor([[6.0]]))
    >>> columns.mean()
    tensor([[2.0000],
            [5.5000]])
    """

    def __init__(self, n_frames: int, most: int = MOST_COLUMNS):
        self.n_frames = n_frames
        self.n_columns = min(n_frames, most)
        self.seen = 0
        self.sum = None

    def push(self, frames: torch.Tensor) -> None:
        """Take the next frames (T, F)."""
        if self.sum is None:
            self.sum = torch.zeros(self.n_columns, frames.shape[1])
        place = torch.arange(self.seen, self.seen + len(frames))
        self.seen += len(frames)
        self.sum.index_add_(0, place * self.n_columns // self.n_frames, frames)

    def mean(self) -> torch.Tensor:
        """The columns, (C, F)."""
        place = torch.arange(self.n_frames) * self.n_columns // self.n_frames
        return self.sum / place.bincount(minlength=self.n_columns)[:, None]
