"""What is added to a clip, and by which protocol it is chosen.

Every choice is drawn from (seed, kind, split, clip), so that it depends neither on the
other clips' draws nor on their order.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from speechbrain_lmac.data.mixtures import draw_pieces, resampled_length
from speechbrain_lmac.data.sources import CorpusSounds, GeneratedSounds, PartnerClips
from speechbrain_lmac.utils.seeding import generator


class OwnProtocol:
    """Clips and what is added come from the split that is asked for.

    Other clips are of another class, so that the foreground alone has the class; other
    sounds are of the same part of their corpus, joined and cut (`draw_pieces`).
    """

    def base_split(self, split: str) -> str:
        """The split of the clips."""
        return split

    def other_split(self, split: str) -> str:
        """The split of the clips that are added."""
        return split

    def corpus_parts(self, corpus, split: str) -> tuple[str]:
        """The parts of a corpus that are used."""
        return (split,)

    def may_be_added(self, category: str, base_category: str) -> bool:
        """Whether a clip of one class may be added to a clip of another."""
        return category != base_category

    def pieces(
        self, files: list, n_samples: int, sample_rate: int, draw: torch.Generator
    ) -> list:
        """A sound of the length of a clip."""
        return draw_pieces(files, n_samples, sample_rate, draw)


class PublishedProtocol:
    """As the papers' tables were made (public code): the valid split is judged.

    Fold 4 (valid) is mixed with fold 5 (test), whatever split is asked for; both may be
    of one class. LJSpeech is not split, of WHAM! it is the training part; a file is cut
    behind the clip's length, or followed by silence.
    """

    def base_split(self, split: str) -> str:
        """The split of the clips."""
        return "valid"

    def other_split(self, split: str) -> str:
        """The split of the clips that are added."""
        return "test"

    def corpus_parts(self, corpus, split: str) -> tuple[str, str, str]:
        """The parts of a corpus that are used."""
        return corpus.published_parts

    def may_be_added(self, category: str, base_category: str) -> bool:
        """Whether a clip of one class may be added to a clip of another."""
        return True

    def pieces(
        self, files: list, n_samples: int, sample_rate: int, draw: torch.Generator
    ) -> list:
        """A sound of at most the length of a clip."""
        file = files[torch.randint(len(files), (), generator=draw).item()]
        length = resampled_length(file["n_frames"], file["sample_rate"], sample_rate)
        return [{"wav": file["wav"], "start": 0, "length": min(length, n_samples)}]


PROTOCOLS = {"own": OwnProtocol(), "published": PublishedProtocol()}


@dataclass(frozen=True)
class Scene:
    """What the choice of contaminants may look at."""

    protocol: object
    split: str  # that was asked for
    others: dict  # id to {"wav", "category"} of the clips that may be added
    n_samples: int
    sample_rate: int  # Hz
    per_clip: int  # mixtures of each clip
    seed: int


class Contaminant:
    """What is added to the clips of an evaluation; each subclass has a source.

    A subclass has `listing(scene)`, what is drawn from (mixtures are frozen anew when
    it changes), `description(scene)`, for a table's header, and `background(clip, k,
    scene)`, the k-th of a clip, or `backgrounds` of its own.

    Arguments
    ---------
    kind : str
        Name of the condition.
    gains : sequence
        Of clip and what is added, unless the condition has others.
    """

    noise_root = None  # the folder of a corpus

    def __init__(self, kind: str, gains: list[float] | tuple[float, float]):
        self.kind = kind
        self.gains = gains

    def prepare(self) -> None:
        """Nothing to prepare."""

    def backgrounds(self, bases: dict, scene: Scene) -> dict:
        """Id of each clip to what is added to it, see `mixtures`."""
        return {
            clip: [self.background(clip, k, scene) for k in range(scene.per_clip)]
            for clip in bases
        }


class Nothing(Contaminant):
    """Leaves the clips as they are; one entry for each."""

    def __init__(self):
        super().__init__("clean", gains=(1.0, 1.0))

    def listing(self, scene: Scene) -> list:
        """No file is drawn from."""
        return []

    def backgrounds(self, bases: dict, scene: Scene) -> dict:
        """No background for each clip."""
        return {clip: [None] for clip in bases}

    def description(self, scene: Scene) -> str:
        """For a table's header."""
        return "nothing added"


class OtherClips(Contaminant):
    """Other clips of the dataset; published: gains 0.8 and 0.2, 12.04 dB."""

    def __init__(self):
        super().__init__("mixtures", gains=(0.8, 0.2))

    def listing(self, scene: Scene) -> list:
        """The clips drawn from."""
        return [[clip, c["wav"], c["category"]] for clip, c in scene.others.items()]

    def backgrounds(self, bases: dict, scene: Scene) -> dict:
        """For each clip different ones, as long as there are enough."""
        others = dict(sorted(scene.others.items()))
        source = PartnerClips(
            {name: other["category"] for name, other in others.items()},
            "its split",
            scene.protocol.may_be_added,
        )
        found = {}
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
        """For a table's header."""
        return f"other clips of the split {scene.protocol.other_split(scene.split)}"


class Generated(Contaminant):
    """Noise that is generated, of one of several kinds with equal chance.

    Arguments
    ---------
    kind : str
        Name of the condition.
    gains : sequence
        Of clip and noise, unless the condition has others.
    names : sequence
        Among `noise.GENERATORS`.
    """

    def __init__(
        self,
        kind: str = "noise",
        gains: list[float] | tuple[float, float] = (1.0, 1.0),
        names: list[str] | tuple[str, ...] = ("coloured", "babble"),
    ):
        super().__init__(kind, gains)
        self.source = GeneratedSounds(names)

    def listing(self, scene: Scene) -> list[str]:
        """The generators drawn from."""
        return self.source.names

    def background(self, clip: str, k: int, scene: Scene) -> dict[str, int | str]:
        """The k-th noise of a clip: a seed, apart from those of a training."""
        key = (scene.seed, "condition", self.kind, scene.split, clip, k)
        return self.source.drawn(key)

    def description(self, scene: Scene) -> str:
        """For a table's header."""
        return f"generated noise ({', '.join(self.source.names)})"


class WhiteNoise(Generated):
    """Gaussian white noise; published: gains 1 and 0.5, 6.02 dB."""

    def __init__(self):
        super().__init__("white_noise", gains=(1.0, 0.5), names=("white",))


class FromCorpus(Contaminant):
    """Recordings of a corpus.

    Arguments
    ---------
    corpus : object
        From `data_prep.noise_prepare`.
    kind : str
        Name of the condition.
    gains : sequence
        Of clip and recording, unless the condition has others.
    """

    def __init__(self, corpus, kind: str, gains: tuple[float, float]):
        super().__init__(kind, gains)
        self.source = CorpusSounds(corpus)

    @property
    def noise_root(self) -> Path:
        """The folder of the corpus."""
        return self.source.root

    def prepare(self) -> None:
        """Check the corpus, and write its manifests."""
        self.source.prepare()

    def parts(self, scene: Scene) -> tuple[str]:
        """The parts of the corpus that the protocol takes."""
        return scene.protocol.corpus_parts(self.source.corpus, scene.split)

    def listing(self, scene: Scene) -> list[str]:
        """The recordings drawn from."""
        return [file["wav"] for file in self.source.files(*self.parts(scene))]

    def background(self, clip: str, k: int, scene: Scene) -> dict:
        """The k-th recording of a clip."""
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
        """For a table's header."""
        parts = " and ".join(self.parts(scene))
        return f"{self.source.root.name} ({parts} part)"


class CorpusNoise(FromCorpus):
    """Noise of a corpus; published: WHAM! at 0 dB."""

    def __init__(self, corpus):
        super().__init__(corpus, "noise", gains=(1.0, 1.0))


class CorpusSpeech(FromCorpus):
    """Speech of a corpus; published: LJSpeech, gains 0.8 and 0.2, 12.04 dB.

    It is added when explainers are judged, never in a training. Mind the licence of
    the recordings: those of the Free Spoken Digit Dataset, for one, are CC BY-SA 4.0,
    which holds for mixtures with them that are passed on.
    """

    def __init__(self, corpus):
        super().__init__(corpus, "speech", gains=(0.8, 0.2))
