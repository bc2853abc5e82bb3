"""A small CLAP, trained on a laptop CPU.

The audio tower is a `CompactClassifier` whose logits are the embedding; the text tower
has embeddings only of its training words. train_clap.py trains both together.
"""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding
from speechbrain_lmac.classifiers.compact import CompactClassifier
from speechbrain_lmac.classifiers.padding import masks_padding, on_recordings
from speechbrain_lmac.hub.weights import fetch, load_weights, read_weights, save_weights
from speechbrain_lmac.types import CamBlocks
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.tokenizer import PADDING, UNKNOWN, Vocabulary

logger = logging.getLogger(__name__)

WEIGHTS_FILE = "model.ckpt"
SETTING_FILE = "clap.json"
INITIAL_SCALE = 1 / 0.07  # as published (CLIP, Radford et al. 2021)
LARGEST_SCALE = 100.0  # as published
ADVICE = """\
  Train a CLAP (python recipes/train_clap.py hparams/NAME_clap.yaml) and set
  --clap_source to its output (results/NAME_clap/SEED/clap), or set it to a folder
  with {filename} or to a hub id."""


class WordBag(torch.nn.Module):
    """A text tower: a weighted mean of word vectors, then a small network.

    The weights are the softmax, over the sentence, of a learned score of each word, so
    words such as "the" can be ignored. The order of words has no influence.

    Arguments
    ---------
    embedding_dim : int
        Values of an embedding, D.
    width : int
        Values of a word vector.
    limit : int
        Maximum number of words of a sentence.
    dropout : float
        Dropout probability of the mean, 0 to 1.

    Shape
    -----
    Word vectors (P, W, width) and their validity (P, W), bool, to embeddings (P, D),
    not normalised.
    """

    def __init__(
        self, embedding_dim: int, width: int = 64, limit: int = 24, dropout: float = 0.1
    ) -> None:
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

    def forward(self, vectors: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        weights = self.weight(vectors).squeeze(2)
        weights = weights.masked_fill(~valid, -torch.inf).softmax(1)
        mean = (weights[:, :, None] * vectors).sum(1)
        return self.head(self.dropout(mean))


class MiniClap(torch.nn.Module):
    """A `Clap` with word vectors; embeddings have length 1.

    Its vocabulary is empty until `learn_words` or `trained_clap`, which reads it from a
    folder. An unknown word gets the vector of `UNKNOWN`, and a warning.

    Arguments
    ---------
    embedding_dim : int
        Values of an embedding, D.
    audio : CompactClassifier
        Maps features (B, T, n_mels) to `ClassifierOutput` with D "classes".
    text : WordBag
        Maps word vectors to embeddings (P, D).
    words : sequence of str
        The vocabulary, if the weights are loaded later.

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
    audio_tower: CompactClassifier
    text_tower: WordBag
    words: torch.nn.Embedding

    def __init__(
        self,
        embedding_dim: int,
        audio: CompactClassifier,
        text: WordBag,
        words: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if audio.n_classes != embedding_dim:
            raise InputError(
                f"n_classes of the audio tower must be embedding_dim {embedding_dim}, "
                f"got {audio.n_classes}"
            )
        self.embedding_dim = embedding_dim
        self.audio_tower = audio
        self.text_tower = text
        self.logit_scale = torch.nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.frozen: list[torch.nn.Module] = []  # modules that stay in eval mode
        self.learn_words(words, seed=0)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen modules stay in eval mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def learn_words(self, words: Sequence[str], seed: int) -> Self:
        """Set the vocabulary, with random initial word vectors; return the CLAP.

        The initial vector of a word depends only on (seed, word).
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
        """Factor from similarities to logits, shape (): learned, at most 100."""
        return self.logit_scale.exp().clamp(max=LARGEST_SCALE)

    @property
    def hidden_channels(self) -> list[int]:
        """Channels of the audio tower's hidden maps, the shallowest first."""
        return self.audio_tower.hidden_channels

    @property
    def cam_layer(self) -> torch.nn.Module:
        """The layer of class activation maps."""
        return self.audio_tower.cam_layer

    @property
    def cam_stride(self) -> tuple[int, int]:
        """Frames and bands per step of that layer's map."""
        return self.audio_tower.cam_stride

    @property
    def cam_blocks(self) -> CamBlocks:
        """The blocks of the audio tower and the strides of their maps."""
        return self.audio_tower.cam_blocks

    @property
    def setting(self) -> dict[str, Any]:
        """The architecture, without the vocabulary; checked by `trained_clap`."""
        return {
            "embedding_dim": self.embedding_dim,
            "audio": type(self.audio_tower).__name__,
            "n_mels": self.audio_tower.n_mels,
            "channels": self.hidden_channels,
            "text": type(self.text_tower).__name__,
            "width": self.text_tower.width,
            "limit": self.text_tower.limit,
        }

    def audio(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> AudioEmbedding:
        """Return the `AudioEmbedding` of features (B, T, n_mels).

        `lengths` (B,), int64: frames of each clip without its padding.
        """
        tower = self.audio_tower
        output = on_recordings(tower, features, lengths, masks_padding(tower))
        return AudioEmbedding(F.normalize(output.logits, dim=1), output.hidden)

    def text(self, sentences: list[str]) -> torch.Tensor:
        """Return the embeddings of P sentences, (P, D), float32, each of length 1.

        Raises
        ------
        InputError
            When all words of a sentence are unknown, or a sentence is too long.
        """
        tokens = self.vocabulary(sentences)
        unknown = sorted({word for words in tokens.unknown for word in words})
        if unknown:
            logger.warning(
                "%d unknown words in %d of %d prompts, all with the same vector: %s",
                len(unknown),
                sum(map(bool, tokens.unknown)),
                len(sentences),
                some_of(unknown),
            )
        return self.read(tokens.ids)

    def unknown_words(self, sentences: list[str]) -> tuple[tuple[str, ...], ...]:
        """Return the unknown words of each of P sentences."""
        return self.vocabulary(sentences).unknown

    def read(
        self, ids: torch.Tensor, forget: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the embeddings (P, D) of token ids (P, W).

        `forget` (P, W), bool: words to treat as unknown. None: no word.
        """
        ids = ids.to(self.words.weight.device)
        valid = ids != PADDING
        if forget is not None:
            ids = ids.masked_fill(forget.to(ids.device) & valid, UNKNOWN)
        embedding = self.text_tower(self.words(ids), valid)
        return F.normalize(embedding.float(), dim=1)


def save_clap(clap: MiniClap, folder: Path | str) -> None:
    """Write weights, vocabulary and architecture to a folder, each file atomically."""
    folder = Path(folder)
    save_weights(clap, folder / WEIGHTS_FILE)
    record = {**clap.setting, "words": clap.vocabulary.words}
    write_text(json.dumps(record, indent=2) + "\n", folder / SETTING_FILE)


def trained_clap(clap: MiniClap, source: Path | str) -> MiniClap:
    """Load vocabulary and weights of train_clap.py, in place. For YAML, by `!apply:`.

    Arguments
    ---------
    clap : MiniClap
    source : str or Path
        A folder written by train_clap.py, or a hub id ("user/name").

    Returns
    -------
    clap : MiniClap
        The same object.

    Raises
    ------
    InputError
        When a file is missing, or the CLAP has another architecture.
    """
    path = fetch(source, SETTING_FILE, ADVICE)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        words = stored.pop("words")
        clap.learn_words(words, seed=0)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"cannot read the words and architecture of a CLAP from {path} "
            f"({type(error).__name__}: {error}): write it again with train_clap.py"
        ) from error
    if stored != clap.setting:
        raise InputError(
            f"the CLAP in {source} has {stored}, but the YAML has {clap.setting}: make "
            "them equal, or train one (train_clap.py)"
        )
    load_weights(clap, fetch(source, WEIGHTS_FILE, ADVICE))
    return clap


def load_trunk(clap: MiniClap, source: Path | str) -> None:
    """Load a trained classifier into the audio tower; freeze all but the last layer.

    Arguments
    ---------
    clap : MiniClap
        Its audio tower gets the classifier's weights, except those of the last layer;
        they are frozen, with the statistics of batch norm.
    source : str or Path
        A folder written by train_classifier.py for the same architecture.

    Raises
    ------
    InputError
        When the file is missing, or has another architecture.
    """
    path = fetch(source, WEIGHTS_FILE)
    tower = clap.audio_tower
    last = {n: v for n, v in tower.state_dict().items() if n.startswith("linear.")}
    try:
        state = read_weights(path)
        tower.load_state_dict({**state, **last})
    except Exception as error:
        raise InputError(f"cannot load {path} into the audio tower: {error}") from error
    clap.frozen = [m for n, m in tower.named_children() if n != "linear"]
    for module in clap.frozen:
        module.requires_grad_(False).eval()
