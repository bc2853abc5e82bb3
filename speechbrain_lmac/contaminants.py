"""What is added to a clip, and by which protocol it is chosen.

Every choice is drawn from (seed, kind, split, clip), so that it depends neither on the
other clips' draws nor on their order.
"""

from dataclasses import dataclass

import torch

from speechbrain_lmac.corpora import read_part
from speechbrain_lmac.draws import generator, seed_of
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.mixtures import draw_pieces, resampled_length


class OwnProtocol:
    """Clips and what is added come from the split that is asked for.

    Other clips are of another class, so that the foreground alone has the class; other
    sounds are of the same part of their corpus, joined and cut (`draw_pieces`).
    """

    def base_split(self, split):
        """The split of the clips."""
        return split

    def other_split(self, split):
        """The split of the clips that are added."""
        return split

    def corpus_parts(self, corpus, split):
        """The parts of a corpus that are used."""
        return (split,)

    def may_be_added(self, category, base_category):
        """Whether a clip of one class may be added to a clip of another."""
        return category != base_category

    def pieces(self, files, n_samples, sample_rate, draw):
        """A sound of the length of a clip."""
        return draw_pieces(files, n_samples, sample_rate, draw)


class PublishedProtocol:
    """As the papers' tables were made (public code): the valid split is judged.

    Fold 4 (valid) is mixed with fold 5 (test), whatever split is asked for; both may be
    of one class. LJSpeech is not split, of WHAM! it is the training part; a file is cut
    behind the clip's length, or followed by silence.
    """

    def base_split(self, split):
        """The split of the clips."""
        return "valid"

    def other_split(self, split):
        """The split of the clips that are added."""
        return "test"

    def corpus_parts(self, corpus, split):
        """The parts of a corpus that are used."""
        return corpus.published_parts

    def may_be_added(self, category, base_category):
        """Whether a clip of one class may be added to a clip of another."""
        return True

    def pieces(self, files, n_samples, sample_rate, draw):
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


class Nothing:
    """Leaves the clips as they are; one entry for each."""

    kind = "clean"
    gains = (1.0, 1.0)
    noise_root = None

    def prepare(self):
        """Nothing to prepare."""

    def listing(self, scene):
        """No file is drawn from."""
        return []

    def backgrounds(self, bases, scene):
        """No background for each clip."""
        return {clip: [None] for clip in bases}

    def description(self, scene):
        """For a table's header."""
        return "nothing added"


class OtherClips:
    """Other clips of the dataset; published: gains 0.8 and 0.2, 12.04 dB."""

    kind = "mixtures"
    gains = (0.8, 0.2)
    noise_root = None

    def prepare(self):
        """The dataset is prepared already."""

    def listing(self, scene):
        """The clips drawn from."""
        return [[clip, c["wav"], c["category"]] for clip, c in scene.others.items()]

    def backgrounds(self, bases, scene):
        """For each clip different ones, as long as there are enough."""
        found = {}
        for clip, base in bases.items():
            fit = [
                other["wav"]
                for name, other in sorted(scene.others.items())
                if name != clip
                and scene.protocol.may_be_added(other["category"], base["category"])
            ]
            if not fit:
                raise InputError(
                    f"no clip to mix with {clip}: its split has no clip of another "
                    f"class than {base['category']}"
                )
            draw = generator(scene.seed, self.kind, scene.split, clip)
            order = torch.randperm(len(fit), generator=draw).tolist()
            chosen = [fit[order[k % len(order)]] for k in range(scene.per_clip)]
            found[clip] = [
                {"pieces": [{"wav": wav, "start": 0, "length": scene.n_samples}]}
                for wav in chosen
            ]
        return found

    def description(self, scene):
        """For a table's header."""
        return f"other clips of the split {scene.protocol.other_split(scene.split)}"


class Generated:
    """Noise that is generated, of one of several kinds with equal chance.

    Arguments
    ---------
    kind : str
        Name of the condition.
    gains : sequence
        Of clip and noise, unless the condition has others.
    names : sequence
        Among `generated.GENERATORS`.
    """

    noise_root = None

    def __init__(self, kind="noise", gains=(1.0, 1.0), names=("coloured", "babble")):
        self.kind = kind
        self.gains = gains
        self.names = list(names)

    def prepare(self):
        """Nothing to prepare."""

    def listing(self, scene):
        """The generators drawn from."""
        return self.names

    def backgrounds(self, bases, scene):
        """A seed for each, apart from those of `noise.GeneratedNoise`."""
        return {
            clip: [self.background(clip, k, scene) for k in range(scene.per_clip)]
            for clip in bases
        }

    def background(self, clip, k, scene):
        """The k-th noise of a clip."""
        key = (scene.seed, "condition", self.kind, scene.split, clip, k)
        place = torch.randint(len(self.names), (), generator=generator(*key))
        return {"generated": self.names[place], "seed": seed_of(*key)}

    def description(self, scene):
        """For a table's header."""
        return f"generated noise ({', '.join(self.names)})"


class WhiteNoise(Generated):
    """Gaussian white noise; published: gains 1 and 0.5, 6.02 dB."""

    def __init__(self):
        super().__init__("white_noise", gains=(1.0, 0.5), names=("white",))


class FromCorpus:
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

    def __init__(self, corpus, kind, gains):
        self.corpus = corpus
        self.kind = kind
        self.gains = gains

    @property
    def noise_root(self):
        """The folder of the corpus."""
        return self.corpus.root

    def prepare(self):
        """Check the corpus, and write its manifests."""
        self.corpus.prepare()

    def listing(self, scene):
        """The recordings drawn from."""
        return [file["wav"] for file in self.files(scene)]

    def files(self, scene):
        """The recordings, in the parts of the corpus that the protocol takes."""
        parts = scene.protocol.corpus_parts(self.corpus, scene.split)
        return [file for part in parts for file in read_part(self.corpus, part)]

    def backgrounds(self, bases, scene):
        """Recordings joined and cut for each clip."""
        files = self.files(scene)
        return {
            clip: [
                self.background(files, clip, k, scene) for k in range(scene.per_clip)
            ]
            for clip in bases
        }

    def background(self, files, clip, k, scene):
        """The k-th recording of a clip."""
        draw = generator(scene.seed, self.kind, scene.split, clip, k)
        pieces = scene.protocol.pieces(files, scene.n_samples, scene.sample_rate, draw)
        for piece in pieces:
            piece["wav"] = piece["wav"].replace("{data_root}", "{noise_root}", 1)
        return {"pieces": pieces}

    def description(self, scene):
        """For a table's header."""
        parts = scene.protocol.corpus_parts(self.corpus, scene.split)
        return f"{self.corpus.root.name} ({' and '.join(parts)} part)"


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
