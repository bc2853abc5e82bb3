"""Mixtures that a manifest has frozen, rendered to the same samples everywhere.

An entry of the manifest says all that a mixture is made of:

    "1-100032-A-0+1": {
      "base": "1-100032-A-0", "category": "dog", "gains": [0.8, 0.2],
      "foreground": "{data_root}/audio/1-100032-A-0.wav",
      "background": {"pieces": [{"wav": "{noise_root}/a.wav", "start": 0, "length": 8}]}
    }

with `start` and `length` in samples of the model's rate; or ``"background":
{"generated": "white", "seed": 5}``; or null, where the clip is left as it is.
"""

import torch

from speechbrain_lmac.dsp.audio import fix_length, recorded_share, to_model_level
from speechbrain_lmac.dsp.mixing import mix
from speechbrain_lmac.dsp.noise import GENERATORS


def resampled_length(n_frames: int, file_rate: int, sample_rate: int) -> int:
    """How many samples a file has after resampling: the ratio, rounded up.

    Example
    -------
    >>> resampled_length(44100, 44100, 16000), resampled_length(3, 44100, 16000)
    (16000, 2)
    """
    return -(-n_frames * sample_rate // file_rate)


def draw_pieces(
    files: list, n_samples: int, sample_rate: int, draw: torch.Generator
) -> list:
    """Cut and join sounds of any length to one of `n_samples`.

    The files are taken in a drawn order. One that is longer than what is missing is cut
    from a drawn offset, and the sound is complete; a shorter one is taken whole and the
    next one follows. After the last comes the first.

    Arguments
    ---------
    files : list of dict
        With `wav`, `n_frames`, `sample_rate` (see `corpora.read_part`).
    n_samples : int
        Length at the model's rate.
    sample_rate : int
        Of the model, Hz.
    draw : torch.Generator

    Returns
    -------
    pieces : list of dict
        `wav`, `start`, `length`; the lengths add up to `n_samples`.

    Example
    -------
    >>> file = {"wav": "a.wav", "n_frames": 6, "sample_rate": 16000}
    >>> pieces = draw_pieces([file], 8, 16000, torch.Generator())
    >>> [piece["length"] for piece in pieces]
    [6, 2]
    """
    order = torch.randperm(len(files), generator=draw).tolist()
    pieces, missing = [], n_samples
    while missing:
        file = files[order[len(pieces) % len(order)]]
        length = resampled_length(file["n_frames"], file["sample_rate"], sample_rate)
        taken = min(length, missing)
        start = torch.randint(length - taken + 1, (), generator=draw).item()
        pieces.append({"wav": file["wav"], "start": start, "length": taken})
        missing -= taken
    return pieces


class Sounds:
    """Reads what manifests name.

    Arguments
    ---------
    sources : dict
        "data_root" or "noise_root" to (its folder, a function from a path to a waveform
        (N,) at the model's rate).
    """

    def __init__(self, sources: dict):
        self.sources = sources

    def path(self, name: str) -> str:
        """Where "{data_root}/audio/a.wav" is."""
        root, _, rest = name.removeprefix("{").partition("}/")
        return f"{self.sources[root][0]}/{rest}"

    def read(self, name: str) -> torch.Tensor:
        """The waveform of "{data_root}/audio/a.wav"."""
        root = name.removeprefix("{").partition("}/")[0]
        return self.sources[root][1](self.path(name))

    def cut(self, piece: dict[str, int | str]) -> torch.Tensor:
        """The samples of a piece, as many as there are."""
        return self.read(piece["wav"])[piece["start"] :][: piece["length"]]

    def join(self, pieces: list, n_samples: int) -> torch.Tensor:
        """The pieces one after the other, (n_samples,), silence behind them."""
        return fix_length(torch.cat([self.cut(piece) for piece in pieces]), n_samples)


def foreground_of(entry: dict, sounds: Sounds, n_samples: int) -> torch.Tensor:
    """The clip itself at the file's level, (n_samples,)."""
    return fix_length(sounds.read(entry["foreground"]), n_samples)


def background_of(
    entry: dict, sounds: Sounds, n_samples: int, sample_rate: int
) -> torch.Tensor:
    """What is added to the clip, of any level, (n_samples,)."""
    background = entry["background"]
    if background is None:
        return torch.zeros(n_samples)
    if "generated" in background:
        generate = GENERATORS[background["generated"]]
        return generate((background["seed"],), n_samples, sample_rate)
    return sounds.join(background["pieces"], n_samples)


def render(
    entry: dict, sounds: Sounds, n_samples: int, sample_rate: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The samples of one mixture and of its stems.

    A function of the entry and of the files alone: no state, one thread.

    Arguments
    ---------
    entry : dict
        Of a mixture manifest.
    sounds : Sounds
    n_samples : int
        Length of a clip.
    sample_rate : int
        Of the model, Hz.

    Returns
    -------
    mixture, foreground, background : torch.Tensor
        Shape (N,), float32, at the model's level. The stems add up to the mixture, bit
        by bit. A clip without a background is what `ClipDataset` makes of it.
    """
    foreground = foreground_of(entry, sounds, n_samples)
    background = background_of(entry, sounds, n_samples, sample_rate)
    if entry["background"] is None:
        wav = to_model_level(foreground)
        return wav, wav, background
    return mix(foreground, background, entry["gains"])


def lens_of(entry: dict, sounds: Sounds, n_samples: int) -> float:
    """The share of a mixture that is recording, from its beginning: 0 to 1.

    Behind the longer one of the clip and what was added to it there is silence. What
    is generated has the whole length.
    """
    recorded = len(sounds.read(entry["foreground"]))
    background = entry["background"] or {"pieces": []}
    if recorded < n_samples:  # else nothing can be longer, and need not be read
        if "generated" in background:
            return 1.0
        added = sum(len(sounds.cut(piece)) for piece in background["pieces"])
        recorded = max(recorded, added)
    return recorded_share(recorded, n_samples)


class MixtureClips(torch.utils.data.Dataset):
    """The mixtures of a manifest, as `dataset.collate_clips` wants them.

    Arguments
    ---------
    entries : dict
        Id to entry of the manifest.
    sounds : Sounds
    n_samples, sample_rate : int
        Of a clip.
    labels : list
        Class names in the order of the classifier's logits.
    """

    def __init__(
        self,
        entries: dict,
        sounds: Sounds,
        n_samples: int,
        sample_rate: int,
        labels: list[str] | tuple[str, ...],
    ):
        self.entries = entries
        self.ids = list(entries)
        self.sounds = sounds
        self.n_samples = n_samples
        self.sample_rate = sample_rate
        self.labels = labels

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict:
        clip = self.ids[index]
        return {
            "id": clip,
            "signal": self.render(clip)[0],
            "lens": lens_of(self.entries[clip], self.sounds, self.n_samples),
            "label": self.labels.index(self.entries[clip]["category"]),
        }

    def render(self, clip: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mixture, foreground and background (N,) of an id."""
        entry = self.entries[clip]
        return render(entry, self.sounds, self.n_samples, self.sample_rate)

    def stems(self, ids: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Foreground and background of each id, two tensors (B, N)."""
        _, foreground, background = zip(*map(self.render, ids), strict=True)
        return torch.stack(foreground), torch.stack(background)
