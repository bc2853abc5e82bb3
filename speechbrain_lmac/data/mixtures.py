"""Frozen mixtures: manifest entries, rendered to the same samples everywhere.

An entry of the manifest is the complete recipe of a mixture:

    "1-100032-A-0+1": {
      "base": "1-100032-A-0", "category": "dog", "gains": [0.8, 0.2],
      "foreground": "{data_root}/audio/1-100032-A-0.wav",
      "background": {"pieces": [{"wav": "{noise_root}/a.wav", "start": 0, "length": 8}]}
    }

with `start` and `length` in samples at the model's rate; or ``"background":
{"generated": "white", "seed": 5}``; or null for the unchanged clip. Of a clip with an
`event`, only that part is in the mixture, at another time (`events.Events`):

      "event": {"offset": 4000, "length": 9600, "position": 48000, "fade": 160,
                "start": 3.0, "end": 3.6}

with `offset` in the clip and `position` in the mixture, in samples, and `start` and
`end` in the mixture, in seconds.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechbrain_lmac.dsp.audio import fix_length, relative_length, to_model_level
from speechbrain_lmac.dsp.mixing import mix
from speechbrain_lmac.dsp.noise import GENERATORS

Entry = dict[str, Any]  # an entry of a manifest, or a part of it


def resampled_length(n_frames: int, file_rate: int, sample_rate: int) -> int:
    """Return the number of samples of a file after resampling, rounded up.

    Arguments
    ---------
    n_frames : int
        Length of the file.
    file_rate, sample_rate : int
        Sample rates of the file and the model, Hz.

    Returns
    -------
    length : int

    Example
    -------
    >>> resampled_length(44100, 44100, 16000), resampled_length(3, 44100, 16000)
    (16000, 2)
    """
    return -(-n_frames * sample_rate // file_rate)


def draw_pieces(
    files: Sequence[Entry], n_samples: int, sample_rate: int, draw: torch.Generator
) -> list[Entry]:
    """Cut and join recordings of any length to `n_samples`.

    The files are in a random order. One that is longer than the missing length is cut
    from a random offset and is the last piece; a shorter one is used whole and followed
    by the next. After the last file the first is used again.

    Arguments
    ---------
    files : sequence of dict
        With `wav`, `n_frames`, `sample_rate` (see `corpora.read_part`).
    n_samples : int
        Length at the model's rate.
    sample_rate : int
        Sample rate of the model, Hz.
    draw : torch.Generator

    Returns
    -------
    pieces : list of dict
        `wav`, `start`, `length`; the sum of the lengths is `n_samples`.

    Example
    -------
    >>> file = {"wav": "a.wav", "n_frames": 6, "sample_rate": 16000}
    >>> pieces = draw_pieces([file], 8, 16000, torch.Generator())
    >>> [piece["length"] for piece in pieces]
    [6, 2]
    """
    order = torch.randperm(len(files), generator=draw).tolist()
    pieces: list[Entry] = []
    missing = n_samples
    while missing:
        file = files[order[len(pieces) % len(order)]]
        length = resampled_length(file["n_frames"], file["sample_rate"], sample_rate)
        taken = min(length, missing)
        start = torch.randint(length - taken + 1, (), generator=draw).item()
        pieces.append({"wav": file["wav"], "start": start, "length": taken})
        missing -= taken
    return pieces


class Sounds:
    """Reader of the audio files of manifests.

    Arguments
    ---------
    sources : dict
        "data_root" or "noise_root" to (its folder, a function that reads a path as a
        waveform (N,) at the model's rate).
    """

    def __init__(
        self,
        sources: Mapping[str, tuple[str | Path | None, Callable[[str], torch.Tensor]]],
    ) -> None:
        self.sources = sources

    def path(self, name: str) -> str:
        """Return the path of a name such as "{data_root}/audio/a.wav"."""
        root, _, rest = name.removeprefix("{").partition("}/")
        return f"{self.sources[root][0]}/{rest}"

    def read(self, name: str) -> torch.Tensor:
        """Read the waveform (N,) of a name such as "{data_root}/audio/a.wav"."""
        root = name.removeprefix("{").partition("}/")[0]
        return self.sources[root][1](self.path(name))

    def cut(self, piece: Entry) -> torch.Tensor:
        """Read a piece, (length,) or shorter at the end of its file."""
        return self.read(piece["wav"])[piece["start"] :][: piece["length"]]

    def decoding_once(self) -> "Sounds":
        """Return a reader that keeps what it has read; for the files of one clip."""
        sources = {
            root: (folder, functools.cache(read))
            for root, (folder, read) in self.sources.items()
        }
        return Sounds(sources)

    def join(self, pieces: Sequence[Entry], n_samples: int) -> torch.Tensor:
        """Concatenate pieces and pad them with silence, (n_samples,)."""
        return fix_length(torch.cat([self.cut(piece) for piece in pieces]), n_samples)


def foreground_of(entry: Entry, sounds: Sounds, n_samples: int) -> torch.Tensor:
    """Read the clip of an entry, or its event at its position; unscaled.

    Arguments
    ---------
    entry : dict
        An entry of a mixture manifest.
    sounds : Sounds
    n_samples : int
        Length of a clip.

    Returns
    -------
    foreground : torch.Tensor
        Shape (N,).
    """
    wav = sounds.read(entry["foreground"])
    return fix_length(laid(wav, entry["event"]) if "event" in entry else wav, n_samples)


def laid(wav: torch.Tensor, event: Entry) -> torch.Tensor:
    """Return the event of a clip at its position in a mixture, in silence.

    Its first and last `fade` samples rise and fall linearly: a cut would click.

    Arguments
    ---------
    wav : torch.Tensor
        The clip, shape (N,).
    event : dict
        `offset` in the clip, `length`, `position` in the mixture and `fade`, samples.

    Returns
    -------
    foreground : torch.Tensor
        Shape (position + length,).

    Example
    -------
    >>> event = {"offset": 1, "length": 3, "position": 2, "fade": 1}
    >>> laid(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]), event)
    tensor([0.0000, 0.0000, 0.5000, 2.0000, 1.5000])
    """
    part = wav[event["offset"] :][: event["length"]]
    n = min(event["fade"], len(part) // 2)
    rise = (torch.arange(n) + 0.5) / max(n, 1)
    gain = torch.ones(len(part))
    gain[:n], gain[len(part) - n :] = rise, rise.flip(0)
    return torch.cat([torch.zeros(event["position"]), gain * part])


def background_of(
    entry: Entry, sounds: Sounds, n_samples: int, sample_rate: int
) -> torch.Tensor:
    """Read or generate the background of an entry, at any level.

    Arguments
    ---------
    entry, sounds, n_samples, sample_rate
        As in `render`.

    Returns
    -------
    background : torch.Tensor
        Shape (N,); zeros without a background.
    """
    background = entry["background"]
    if background is None:
        return torch.zeros(n_samples)
    if "generated" in background:
        generate = GENERATORS[background["generated"]]
        return generate((background["seed"],), n_samples, sample_rate)
    return sounds.join(background["pieces"], n_samples)


def render(
    entry: Entry, sounds: Sounds, n_samples: int, sample_rate: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Render one mixture and its stems.

    Depends only on the entry and the files: no state, one thread.

    Arguments
    ---------
    entry : dict
        An entry of a mixture manifest.
    sounds : Sounds
    n_samples : int
        Length of a clip.
    sample_rate : int
        Sample rate of the model, Hz.

    Returns
    -------
    mixture, foreground, background : torch.Tensor
        Shape (N,), float32; the mixture, the exact sum of the stems, has a peak of 1.
        A clip without a background equals that of `ClipDataset`.
    """
    foreground = foreground_of(entry, sounds, n_samples)
    background = background_of(entry, sounds, n_samples, sample_rate)
    if entry["background"] is None:
        wav = to_model_level(foreground)
        return wav, wav, background
    return mix(foreground, background, entry["gains"])


def lens_of(entry: Entry, sounds: Sounds, n_samples: int) -> float:
    """Return the relative length of a mixture, that of its longer stem.

    Arguments
    ---------
    entry : dict
        An entry of a mixture manifest. Generated noise has the whole length.
    sounds : Sounds
    n_samples : int
        Length of a clip.

    Returns
    -------
    lens : float
        Relative length, in (0, 1].
    """
    recorded = len(sounds.read(entry["foreground"]))
    if "event" in entry:
        recorded = entry["event"]["position"] + entry["event"]["length"]
    background = entry["background"] or {"pieces": []}
    if recorded < n_samples:  # else the background cannot be longer
        if "generated" in background:
            return 1.0
        added = sum(len(sounds.cut(piece)) for piece in background["pieces"])
        recorded = max(recorded, added)
    return relative_length(recorded, n_samples)


class MixtureClips(torch.utils.data.Dataset):
    """The mixtures of a manifest, as items for `dataset.collate_clips`.

    Arguments
    ---------
    entries : dict
        Id to entry of the manifest.
    sounds : Sounds
    n_samples, sample_rate : int
        Length and rate (Hz) of a clip.
    labels : list
        Class names in the order of the classifier's logits.
    """

    def __init__(
        self,
        entries: Mapping[str, Entry],
        sounds: Sounds,
        n_samples: int,
        sample_rate: int,
        labels: Sequence[str],
    ) -> None:
        self.entries = entries
        self.ids = list(entries)
        self.sounds = sounds
        self.n_samples = n_samples
        self.sample_rate = sample_rate
        self.labels = labels

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip = self.ids[index]
        entry, sounds = self.entries[clip], self.sounds.decoding_once()
        return {
            "id": clip,
            "signal": render(entry, sounds, self.n_samples, self.sample_rate)[0],
            "lens": lens_of(entry, sounds, self.n_samples),
            "label": self.labels.index(entry["category"]),
        }

    def render(self, clip: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return mixture, foreground and background of an id, each (N,)."""
        entry = self.entries[clip]
        return render(entry, self.sounds, self.n_samples, self.sample_rate)

    def stems(self, ids: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return foreground and background of each id, two tensors (B, N)."""
        _, foreground, background = zip(*map(self.render, ids), strict=True)
        return torch.stack(foreground), torch.stack(background)
