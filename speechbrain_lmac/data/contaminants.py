"""Contaminants of test mixtures, and the protocols that choose them.

Every draw depends only on (seed, kind, split, clip), not on the other clips or their
order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from speechbrain_lmac.data.corpora import Corpus
from speechbrain_lmac.data.mixtures import (
    Entry,
    Sounds,
    draw_pieces,
    resampled_length,
)
from speechbrain_lmac.data.sources import CorpusSounds, GeneratedSounds, PartnerClips
from speechbrain_lmac.utils.seeding import generator


class OwnProtocol:
    """Clips and contaminants from the requested split.

    Added clips are of another class than the clip. Recordings come from the part of
    their corpus with the same name, joined and cut (`draw_pieces`).
    """

    def base_split(self, split: str) -> str:
        """Return the split of the clips."""
        return split

    def other_split(self, split: str) -> str:
        """Return the split of the added clips."""
        return split

    def corpus_parts(self, corpus: Corpus, split: str) -> tuple[str, ...]:
        """Return the parts of a corpus that are used."""
        return (split,)

    def may_be_added(self, category: str, base_category: str) -> bool:
        """Return whether a clip of one class may be added to a clip of another."""
        return category != base_category

    def pieces(
        self,
        files: Sequence[Entry],
        n_samples: int,
        sample_rate: int,
        draw: torch.Generator,
    ) -> list[Entry]:
        """Draw pieces of the length of a clip.

        Arguments
        ---------
        files, n_samples, sample_rate, draw
            As in `draw_pieces`.

        Returns
        -------
        pieces : list of dict
            `wav`, `start`, `length`.
        """
        return draw_pieces(files, n_samples, sample_rate, draw)


class PublishedProtocol:
    """The protocol of the papers' tables (public code), on the valid split.

    Fold 4 (valid) is mixed with fold 5 (test) for any requested split; both clips may
    have the same class. All of LJSpeech is used, and the training part of WHAM!; a file
    is cut to the clip's length, or padded with silence.
    """

    def base_split(self, split: str) -> str:
        """Return the split of the clips."""
        return "valid"

    def other_split(self, split: str) -> str:
        """Return the split of the added clips."""
        return "test"

    def corpus_parts(self, corpus: Corpus, split: str) -> tuple[str, ...]:
        """Return the parts of a corpus that are used."""
        return corpus.published_parts

    def may_be_added(self, category: str, base_category: str) -> bool:
        """Return whether a clip of one class may be added to a clip of another."""
        return True

    def pieces(
        self,
        files: Sequence[Entry],
        n_samples: int,
        sample_rate: int,
        draw: torch.Generator,
    ) -> list[Entry]:
        """Draw the beginning of one recording, at most as long as a clip.

        Arguments
        ---------
        files : sequence of dict
            With `wav`, `n_frames`, `sample_rate`.
        n_samples : int
            Length of a clip.
        sample_rate : int
            Sample rate of the model, Hz.
        draw : torch.Generator

        Returns
        -------
        pieces : list of dict
            One piece: `wav`, `start`, `length`.
        """
        file = files[int(torch.randint(len(files), (), generator=draw))]
        length = resampled_length(file["n_frames"], file["sample_rate"], sample_rate)
        return [{"wav": file["wav"], "start": 0, "length": min(length, n_samples)}]


Protocol = OwnProtocol | PublishedProtocol
PROTOCOLS: dict[str, Protocol] = {
    "own": OwnProtocol(),
    "published": PublishedProtocol(),
}


@dataclass(frozen=True)
class Scene:
    """The inputs for choosing contaminants."""

    protocol: Protocol
    split: str  # the requested split
    others: dict[str, dict[str, str]]  # id to {"wav", "category"}, clips to be added
    n_samples: int
    sample_rate: int  # Hz
    per_clip: int  # number of mixtures per clip
    seed: int
    sounds: Sounds


class Contaminant:
    """Interference for the clips of an evaluation; a subclass for each source.

    A subclass defines `listing`, `description`, and `background` or `backgrounds`.

    Arguments
    ---------
    kind : str
        Name of the condition.
    gains : (float, float)
        Gains of clip and contaminant, unless the condition sets them.
    """

    def __init__(self, kind: str, gains: Sequence[float]) -> None:
        self.kind = kind
        self.gains = gains

    @property
    def noise_root(self) -> str | Path | None:
        """The folder of the corpus; None: no corpus."""
        return None

    def prepare(self) -> None:
        """Do nothing: no files to prepare."""

    def listing(self, scene: Scene) -> list:
        """Return all candidates; if these change, the mixtures are drawn again."""
        raise NotImplementedError

    def description(self, scene: Scene) -> str:
        """Return the contaminants in words, for a table's header."""
        raise NotImplementedError

    def background(self, clip: str, k: int, scene: Scene) -> Entry:
        """Return the k-th background of a clip, see `mixtures`.

        Arguments
        ---------
        clip : str
            Id of the clip.
        k : int
            0 to `scene.per_clip` - 1.
        scene : Scene

        Returns
        -------
        background : dict
        """
        raise NotImplementedError

    def backgrounds(
        self, bases: Mapping[str, dict[str, str]], scene: Scene
    ) -> dict[str, list[Entry | None]]:
        """Map the id of each clip to its backgrounds, see `mixtures`."""
        return {
            clip: [self.background(clip, k, scene) for k in range(scene.per_clip)]
            for clip in bases
        }

    def placed(self, entries: dict[str, Entry], scene: Scene) -> dict[str, Entry]:
        """Return the entries with all changes of their clips; here unchanged."""
        return entries


class Nothing(Contaminant):
    """No contaminant: one entry for each clip, without a background."""

    def __init__(self) -> None:
        super().__init__("clean", gains=(1.0, 1.0))

    def listing(self, scene: Scene) -> list:
        """Return no candidates."""
        return []

    def backgrounds(
        self, bases: Mapping[str, dict[str, str]], scene: Scene
    ) -> dict[str, list[Entry | None]]:
        """Map each clip to one entry without a background."""
        return {clip: [None] for clip in bases}

    def description(self, scene: Scene) -> str:
        """Return the contaminants in words, for a table's header."""
        return "nothing added"


class OtherClips(Contaminant):
    """Other clips of the dataset; published: gains 0.8 and 0.2, 12.04 dB."""

    def __init__(self) -> None:
        super().__init__("mixtures", gains=(0.8, 0.2))

    def listing(self, scene: Scene) -> list:
        """Return id, file and class of each candidate."""
        return [[clip, c["wav"], c["category"]] for clip, c in scene.others.items()]

    def backgrounds(
        self, bases: Mapping[str, dict[str, str]], scene: Scene
    ) -> dict[str, list[Entry | None]]:
        """Draw different clips for each clip; they repeat if there are too few."""
        others = dict(sorted(scene.others.items()))
        source = PartnerClips(
            {name: other["category"] for name, other in others.items()},
            f"the split {scene.protocol.other_split(scene.split)}",
            scene.protocol.may_be_added,
        )
        found: dict[str, list[Entry | None]] = {}
        for clip, base in bases.items():
            draw = generator(scene.seed, self.kind, scene.split, clip)
            chosen = source.draw_several(clip, base["category"], scene.per_clip, draw)
            wavs = [others[name]["wav"] for name in chosen]
            found[clip] = [
                {"pieces": [{"wav": wav, "start": 0, "length": scene.n_samples}]}
                for wav in wavs
            ]
        return found

    def description(self, scene: Scene) -> str:
        """Return the contaminants in words, for a table's header."""
        return f"other clips of the split {scene.protocol.other_split(scene.split)}"


class Generated(Contaminant):
    """Generated noise of several kinds with equal probability.

    Arguments
    ---------
    kind : str
        Name of the condition.
    gains : (float, float)
        Gains of clip and noise, unless the condition sets them.
    names : sequence of str
        Keys of `noise.GENERATORS`.
    """

    def __init__(
        self,
        kind: str = "noise",
        gains: Sequence[float] = (1.0, 1.0),
        names: Sequence[str] = ("coloured", "babble"),
    ) -> None:
        super().__init__(kind, gains)
        self.source = GeneratedSounds(names)

    def listing(self, scene: Scene) -> list[str]:
        """Return the names of the generators."""
        return self.source.names

    def background(self, clip: str, k: int, scene: Scene) -> Entry:
        """Draw kind and seed of the k-th noise, with a seed that no training uses.

        Arguments
        ---------
        clip, k, scene
            As in `Contaminant.background`.

        Returns
        -------
        background : dict
            `generated` and `seed`.
        """
        key = (scene.seed, "condition", self.kind, scene.split, clip, k)
        return self.source.drawn(key)

    def description(self, scene: Scene) -> str:
        """Return the contaminants in words, for a table's header."""
        return f"generated noise ({', '.join(self.source.names)})"


class WhiteNoise(Generated):
    """Gaussian white noise; published: gains 1 and 0.5, 6.02 dB."""

    def __init__(self) -> None:
        super().__init__("white_noise", gains=(1.0, 0.5), names=("white",))


class FromCorpus(Contaminant):
    """Recordings of a corpus.

    Arguments
    ---------
    corpus : Corpus
        From `data_prep.noise_prepare`.
    kind : str
        Name of the condition.
    gains : (float, float)
        Gains of clip and recording, unless the condition sets them.
    """

    def __init__(self, corpus: Corpus, kind: str, gains: Sequence[float]) -> None:
        super().__init__(kind, gains)
        self.source = CorpusSounds(corpus)

    @property
    def noise_root(self) -> Path:
        """The folder of the corpus."""
        return self.source.root

    def prepare(self) -> None:
        """Check the corpus and write its manifests."""
        self.source.prepare()

    def parts(self, scene: Scene) -> tuple[str, ...]:
        """Return the parts of the corpus that the protocol uses."""
        return scene.protocol.corpus_parts(self.source.corpus, scene.split)

    def listing(self, scene: Scene) -> list[str]:
        """Return the paths of the recordings."""
        return [file["wav"] for file in self.source.files(*self.parts(scene))]

    def background(self, clip: str, k: int, scene: Scene) -> Entry:
        """Draw the k-th recording of a clip.

        Arguments
        ---------
        clip, k, scene
            As in `Contaminant.background`.

        Returns
        -------
        background : dict
            `pieces`, see `draw_pieces`.
        """
        draw = generator(scene.seed, self.kind, scene.split, clip, k)
        pieces = self.source.pieces(
            self.parts(scene),
            scene.n_samples,
            scene.sample_rate,
            draw,
            scene.protocol.pieces,
        )
        return {"pieces": pieces}

    def description(self, scene: Scene) -> str:
        """Return the contaminants in words, for a table's header."""
        parts = " and ".join(self.parts(scene))
        return f"{self.source.root.name} ({parts} part)"


class CorpusNoise(FromCorpus):
    """Noise of a corpus; published: WHAM! at 0 dB."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__(corpus, "noise", gains=(1.0, 1.0))


class CorpusSpeech(FromCorpus):
    """Speech of a corpus; published: LJSpeech, gains 0.8 and 0.2, 12.04 dB.

    For evaluations only, never for training. The licence of the recordings applies to
    published mixtures: CC BY-SA 4.0 for the Free Spoken Digit Dataset, for example.
    """

    def __init__(self, corpus: Corpus) -> None:
        super().__init__(corpus, "speech", gains=(0.8, 0.2))
