"""A small CLAP: sounds and sentences in one space, trained on a laptop CPU.

The audio tower is a classifier of ours whose logits are the embedding; the text tower
reads words that it was trained on. Both are trained together by train_clap.py.
"""

import json
import logging
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding
from speechbrain_lmac.classifiers.padding import masks_padding, on_recordings
from speechbrain_lmac.hub.weights import fetch, load_weights, read_weights, save_weights
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.tokenizer import PADDING, UNKNOWN, Vocabulary

logger = logging.getLogger(__name__)

WEIGHTS_FILE = "model.ckpt"
SETTING_FILE = "clap.json"
SCALE_AT_FIRST = 1 / 0.07  # as published (CLIP, Radford et al. 2021)
LARGEST_SCALE = 100.0  # as published
ADVICE = """\
  Train a CLAP with train_clap.py hparams/NAME_clap.yaml and name what it writes
  (results/NAME_clap/SEED/clap), a folder with {filename} in it, or a hub id:
  --clap_source SOURCE."""


class WordBag(torch.nn.Module):
    """A text tower: a weighted mean of word vectors, then a small network.

    The weights are a softmax over the words of the sentence, of a number that each word
    has: content counts, "the" does not. Their order is not heard.

    Arguments
    ---------
    embedding_dim : int
        Values of an embedding, D.
    width : int
        Values of a word's vector.
    limit : int
        Most words of a sentence.
    dropout : float
        Of the mean, while it is trained.

    Shape
    -----
    word vectors (P, W, width), and which of them are there (P, W), to (P, D), of any
    length.
    """

    def __init__(
        self, embedding_dim: int, width: int = 64, limit: int = 24, dropout: float = 0.1
    ):
        super().__init__()
        self.width = width
        self.limit = limit
        self.weight = torch.nn.Linear(width, 1, bias=False)
        self.dropout = torch.nn.Dropout(dropout)
        self.head = torch.nn.Sequential(
            torch.nn.Linear(width, 2 * width),
            torch.nn.GELU(),
            torch.nn.Linear(2 * width, embedding_dim),
        )

    def forward(self, vectors: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        weights = self.weight(vectors).squeeze(2)
        weights = weights.masked_fill(~there, -torch.inf).softmax(1)
        mean = (weights[:, :, None] * vectors).sum(1)
        return self.head(self.dropout(mean))


class MiniClap(torch.nn.Module):
    """Sounds and sentences to embeddings of length 1; a CLAP, see `zero_shot`.

    Before anything is read, it has to be told its words: `learn_words`, or
    `trained_clap`, which reads them from a folder. A word that it does not know gets
    the vector of `UNKNOWN`, and is told in a warning.

    Arguments
    ---------
    embedding_dim : int
        Values of an embedding, D.
    audio : torch.nn.Module
        Features to `ClassifierOutput` with D "classes": `CompactClassifier`.
    text : torch.nn.Module
        Word vectors to (P, D): `WordBag`.
    words : sequence of str
        That it reads, where its weights come from elsewhere.

    Example
    -------
    >>> from speechbrain_lmac.classifiers import CompactClassifier
    >>> audio = CompactClassifier(n_classes=8, n_mels=80, channels=[4, 8])
    >>> clap = MiniClap(8, audio, WordBag(8)).learn_words(["a", "dog", "rain"], 1234)
    >>> clap.eval().text(["a dog", "rain"]).shape
    torch.Size([2, 8])
    >>> clap.audio(torch.rand(3, 50, 80)).embedding.shape, clap.hidden_channels
    (torch.Size([3, 8]), [4, 8])
    """

    masks_padding = True

    def __init__(
        self,
        embedding_dim: int,
        audio: torch.nn.Module,
        text: torch.nn.Module,
        words: list[str] | tuple = (),
    ):
        super().__init__()
        if audio.n_classes != embedding_dim:
            raise InputError(
                f"embedding_dim is {embedding_dim}, but the audio tower gives "
                f"{audio.n_classes} values: set its n_classes to embedding_dim"
            )
        self.embedding_dim = embedding_dim
        self.audio_tower = audio
        self.text_tower = text
        self.logit_scale = torch.nn.Parameter(torch.tensor(math.log(SCALE_AT_FIRST)))
        self.frozen = []  # modules that no training changes
        self.learn_words(words, seed=0)

    def train(self, mode: bool = True) -> "MiniClap":
        """Stay in eval mode where nothing is trained."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def learn_words(self, words, seed: int) -> "MiniClap":
        """Take these words for its vocabulary; what a word begins with is drawn.

        The first vector of a word is a function of (seed, word). Returns itself.
        """
        self.vocabulary = Vocabulary(words, self.text_tower.limit)
        width = self.text_tower.width
        vectors = [
            torch.randn(width, generator=generator(seed, "word", word))
            for word in ("", "unknown word", *self.vocabulary.words)
        ]
        vectors[PADDING] = torch.zeros(width)
        self.words = torch.nn.Embedding.from_pretrained(
            torch.stack(vectors) / width**0.5, freeze=False, padding_idx=PADDING
        )
        return self

    @property
    def scale(self) -> torch.Tensor:
        """What similarities are multiplied by: learned, at most 100."""
        return self.logit_scale.exp().clamp(max=LARGEST_SCALE)

    @property
    def hidden_channels(self) -> list[int]:
        """Channels of the audio tower's hidden maps, the shallowest first."""
        return self.audio_tower.hidden_channels

    @property
    def cam_layer(self):
        """The module whose output class activation maps look at."""
        return self.audio_tower.cam_layer

    @property
    def cam_stride(self) -> tuple[int, int]:
        """Frames and bands that a step of that map stands for."""
        return self.audio_tower.cam_stride

    @property
    def setting(self) -> dict:
        """What decides the meaning of the weights, but for the words."""
        return {
            "embedding_dim": self.embedding_dim,
            "audio": type(self.audio_tower).__name__,
            "n_mels": self.audio_tower.n_mels,
            "channels": self.hidden_channels,
            "text": type(self.text_tower).__name__,
            "width": self.text_tower.width,
            "limit": self.text_tower.limit,
        }

    def audio(self, features: torch.Tensor, lengths=None) -> AudioEmbedding:
        """Features (B, T, n_mels) to an `AudioEmbedding`.

        `lengths` (B,): how many frames of padded clips hold recording.
        """
        tower = self.audio_tower
        output = on_recordings(tower, features, lengths, masks_padding(tower))
        return AudioEmbedding(F.normalize(output.logits, dim=1), output.hidden)

    def text(self, sentences: list[str]) -> torch.Tensor:
        """P sentences to (P, D), float32, each of length 1.

        Raises
        ------
        InputError
            When it knows no word of a sentence, or a sentence is too long.
        """
        tokens = self.vocabulary(sentences)
        unknown = sorted({word for words in tokens.unknown for word in words})
        if unknown:
            logger.warning(
                "%d unknown words in %d of %d prompts, read as one and the same: %s",
                len(unknown),
                sum(map(bool, tokens.unknown)),
                len(sentences),
                some_of(unknown),
            )
        return self.read(tokens.ids)

    def unknown_words(self, sentences: list[str]) -> tuple:
        """The words of each sentence that it does not know: a tuple of P tuples."""
        return self.vocabulary(sentences).unknown

    def read(
        self, ids: torch.Tensor, forget: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Numbers of words (P, W) to (P, D).

        `forget` (P, W), of bool: read these words as unknown. None: none of them.
        """
        ids = ids.to(self.words.weight.device)
        there = ids != PADDING
        if forget is not None:
            ids = ids.masked_fill(forget.to(ids.device) & there, UNKNOWN)
        embedding = self.text_tower(self.words(ids), there)
        return F.normalize(embedding.float(), dim=1)


def save_clap(clap: MiniClap, folder: Path) -> None:
    """Write weights, words and setting into a folder, each file atomically."""
    folder = Path(folder)
    save_weights(clap, folder / WEIGHTS_FILE)
    record = {**clap.setting, "words": clap.vocabulary.words}
    write_text(json.dumps(record, indent=2) + "\n", folder / SETTING_FILE)


def trained_clap(clap: MiniClap, source: Path | str) -> MiniClap:
    """A CLAP with the words and weights of train_clap.py. For YAML, by `!apply:`.

    Arguments
    ---------
    clap : MiniClap
        Whose words and weights are replaced.
    source : str
        A folder as train_clap.py writes it, or a hub id ("user/name").

    Returns
    -------
    clap : MiniClap
        The same.

    Raises
    ------
    InputError
        When a file cannot be had, or the CLAP was trained in another setting.
    """
    path = fetch(source, SETTING_FILE, ADVICE)
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        words = made.pop("words")
        clap.learn_words(words, seed=0)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path} does not say how a CLAP was trained ({error}): write it again "
            "with train_clap.py"
        ) from error
    if made != clap.setting:
        raise InputError(
            f"the CLAP in {source} was trained with {made}, but the YAML has "
            f"{clap.setting}: make them the same, or train one (train_clap.py)"
        )
    load_weights(clap, fetch(source, WEIGHTS_FILE, ADVICE))
    return clap


def hear_as_classifier(clap: MiniClap, source: str) -> None:
    """Let the audio tower be a trained classifier, of which only the last layer learns.

    Arguments
    ---------
    clap : MiniClap
        Whose audio tower gets the classifier's weights but for its last layer, and
        keeps them: batch norm, too.
    source : str
        A folder as train_classifier.py writes it for the same architecture.

    Raises
    ------
    InputError
        When there is none, or it has another architecture.
    """
    path = fetch(source, WEIGHTS_FILE)
    tower = clap.audio_tower
    last = {n: v for n, v in tower.state_dict().items() if n.startswith("linear.")}
    try:
        state = read_weights(path)
        tower.load_state_dict({**state, **last})
    except Exception as error:
        raise InputError(f"{path} is no trunk for the audio tower: {error}") from error
    clap.frozen = [m for n, m in tower.named_children() if n != "linear"]
    for module in clap.frozen:
        module.requires_grad_(False).eval()
