"""Microsoft's CLAP of 2022 (CNN14 and BERT), from its checkpoint file.

Equivalent to its public package, with SpeechBrain's CNN14 and transformers' BERT
(Elizalde et al., "CLAP: learning audio concepts from natural language supervision",
https://arxiv.org/abs/2206.04769).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from speechbrain.lobes.models.Cnn14 import Cnn14

from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding
from speechbrain_lmac.classifiers.clap.front_ends import ClapSpectrogram, repeated
from speechbrain_lmac.classifiers.clap.text import load_tokenizer, tokenize
from speechbrain_lmac.classifiers.cnn14 import blocks_of
from speechbrain_lmac.classifiers.huggingface import transformers_module
from speechbrain_lmac.classifiers.layouts import Places, evenly
from speechbrain_lmac.classifiers.waveform import MapGrid
from speechbrain_lmac.hub.weights import fetch
from speechbrain_lmac.types import CamBlocks
from speechbrain_lmac.utils.errors import InputError, some_of

CHECKPOINT = "CLAP_weights_2022.pth"
ADVICE = """\
  Set --clap_source to the file {filename} of Microsoft's CLAP 2022, to its
  folder, or to the hub id microsoft/msclap."""
# Front end of the package.
SAMPLE_RATE = 44100
N_MELS = 64
TOKEN_LIMIT = 100  # of the package's tokenizer; BERT's limit is 512
HEAD_WIDTH = 64  # of an attention head, in all of Google's BERTs
STRIDES = (8, 16, 32, 32)  # frames and bands per step of blocks 3, 4, 5, 6
# Names in the checkpoint to ours: the first match is used.
RENAMES = (
    (r"audio_encoder\.base\.bn0\.", "cnn14.norm0."),
    (r"audio_encoder\.base\.(conv_block\d)\.bn(\d)\.", r"cnn14.\1.norm\2."),
    (r"audio_encoder\.base\.(conv_block\d\.conv\d)\.", r"cnn14.\1."),
    (r"audio_encoder\.base\.fc1\.", "embed."),
    (r"audio_encoder\.projection\.", "audio_projection."),
    (r"caption_encoder\.base\.", "bert."),
    (r"caption_encoder\.projection\.", "text_projection."),
    (r"logit_scale$", "logit_scale"),
)
# Unused: the front end's matrices, the AudioSet head, position ids.
UNUSED = (
    r"audio_encoder\.base\.(spectrogram_extractor|logmel_extractor|fc_audioset)\.",
    r"caption_encoder\.base\.embeddings\.position_ids$",
)


class Projection(torch.nn.Module):
    """Projection into the shared space: y = W x, then layer norm of y + V GELU(y).

    Arguments
    ---------
    n_in, n_out : int
        Size of the input and of the output.

    Shape
    -----
    (B, n_in) to (B, n_out).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear1 = torch.nn.Linear(n_in, n_out, bias=False)
        self.linear2 = torch.nn.Linear(n_out, n_out, bias=False)
        self.layer_norm = torch.nn.LayerNorm(n_out)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = self.linear1(values)
        return self.layer_norm(values + self.dropout(self.linear2(F.gelu(values))))


class MicrosoftClap(torch.nn.Module):
    """Both towers of Microsoft's CLAP 2022, for waveforms and sentences.

    Its window is 5 s at 44.1 kHz: STFT of 1024 samples every 320, 64 mel bands from 50
    to 14,000 Hz. Shorter clips are repeated; longer ones are cut to their beginning (in
    the package to a random part). Layer widths are those of the checkpoint.

    Arguments
    ---------
    source : str or Path
        The checkpoint file, a folder with `CLAP_weights_2022.pth`, or a hub id
        (microsoft/msclap).
    tokenizer_source : str or Path
        BERT's tokenizer: a folder or a hub id.

    Shape
    -----
    ``audio``: (B, N) to an embedding (B, D) and the outputs of blocks 3, 4, 5, 6, as
    `CNN14Classifier`: (B, 256, 86, 8), (B, 512, 43, 4), (B, 1024, 21, 2) and (B, 2048,
    21, 2). ``text``: P sentences to (P, D), each of length 1. D = 1024 as published.

    Raises
    ------
    InputError
        When a file is missing, cannot be downloaded, or is not of this CLAP.
    """

    def __init__(
        self, source: Path | str, tokenizer_source: Path | str = "bert-base-uncased"
    ) -> None:
        super().__init__()
        path = checkpoint_path(source)
        state = rename_weights(read_checkpoint(path), path)
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        try:
            n_channels = shapes["cnn14.conv_block6.conv2.weight"][0]
            n_embedded = shapes["embed.weight"][0]
            dim = shapes["audio_projection.linear1.weight"][0]
            self.bert = build_bert(shapes)
        except KeyError as error:
            raise InputError(
                f"{path} is not Microsoft's CLAP of 2022: missing weight {error}"
            ) from error
        self.cnn14 = Cnn14(N_MELS, n_channels, return_reps=True)
        self.embed = torch.nn.Linear(n_channels, n_embedded)
        self.audio_projection = Projection(n_embedded, dim)
        self.text_projection = Projection(self.bert.config.hidden_size, dim)
        self.logit_scale = torch.nn.Parameter(torch.zeros(()))
        load_state(self, state, path)
        self.front_end = ClapSpectrogram(
            sample_rate=SAMPLE_RATE,
            n_fft=1024,
            hop_length=320,
            n_samples=5 * SAMPLE_RATE,
            n_mels=N_MELS,
            low_hz=50.0,
            high_hz=14000.0,
            fill=repeated,
        )
        self._tokenizer = load_tokenizer(tokenizer_source)
        if len(self._tokenizer) > self.bert.config.vocab_size:
            raise InputError(
                f"the tokenizer {tokenizer_source} has {len(self._tokenizer)} tokens, "
                f"but {path} has embeddings of only {self.bert.config.vocab_size}: use "
                "bert-base-uncased for the published checkpoint"
            )

    @property
    def sample_rate(self) -> int:
        """Sample rate of the waveforms, Hz."""
        return self.front_end.sample_rate

    @property
    def embedding_dim(self) -> int:
        """Values of an embedding, D."""
        return self.audio_projection.layer_norm.normalized_shape[0]

    @property
    def scale(self) -> torch.Tensor:
        """Factor from similarities to logits, shape ()."""
        return self.logit_scale.exp()

    @property
    def hidden_channels(self) -> list[int]:
        """Channels of the hidden maps."""
        blocks = (getattr(self.cnn14, f"conv_block{block}") for block in (3, 4, 5, 6))
        return [block.conv2.out_channels for block in blocks]

    @property
    def cam_layer(self) -> torch.nn.Module:
        """The layer of class activation maps: the last block."""
        return self.cnn14.conv_block6

    @property
    def cam_stride(self) -> tuple[int, int]:
        """Frames and bands per step of that layer's map: five halvings."""
        return STRIDES[-1], STRIDES[-1]

    @property
    def cam_blocks(self) -> CamBlocks:
        """The blocks, with frames and bands per step of their maps."""
        return blocks_of(self.cnn14)

    def hidden_grids(self) -> list[MapGrid]:
        """Return a `MapGrid` of each hidden map, see `WaveformClassifier`."""
        hop = self.front_end.hop_length
        return [
            MapGrid(
                channels=channels,
                n_bands=N_MELS // stride,
                steps=Places((stride - 1) / 2 * hop, stride * hop),
                bands=evenly(1.0, N_MELS // stride),
            )
            for channels, stride in zip(self.hidden_channels, STRIDES, strict=True)
        ]

    def audio(self, wav: torch.Tensor) -> AudioEmbedding:
        """Return the `AudioEmbedding` of waveforms (B, N)."""
        return self.embed_mel(self.front_end(wav))

    def embed_mel(self, mel: torch.Tensor) -> AudioEmbedding:
        """Return the `AudioEmbedding` of the front end's output (B, W, n_mels), dB."""
        values, hidden = self.cnn14(mel)
        projected = self.audio_projection(self.embed(values[:, 0]).relu())
        embedding = F.normalize(projected.float(), dim=1)
        return AudioEmbedding(embedding, tuple(reversed(hidden)))

    def text(self, prompts: list[str]) -> torch.Tensor:
        """Return the embeddings of P sentences, (P, D), each of length 1."""
        limit = min(TOKEN_LIMIT, self.bert.config.max_position_embeddings)
        tokens = tokenize(self._tokenizer, prompts, limit)
        tokens = tokens.to(self.logit_scale.device)
        first = self.bert(**tokens).last_hidden_state[:, 0]  # of [CLS]
        return F.normalize(self.text_projection(first).float(), dim=1)


def checkpoint_path(source: Path | str) -> Path:
    """Return the checkpoint file of a source, see `MicrosoftClap`."""
    if (Path(source) / "config.json").is_file():
        raise InputError(
            f"{source} is a model of transformers, not Microsoft's checkpoint: use "
            "parts/classifier/clap_huggingface.yaml"
        )
    return Path(source) if Path(source).is_file() else fetch(source, CHECKPOINT, ADVICE)


def read_checkpoint(path: Path | str) -> dict[str, torch.Tensor]:
    """Return the state dict "model" of a checkpoint, weights of any shape (...).

    Raises
    ------
    InputError
        When the file cannot be read without running code from it, or has no "model".
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"cannot read the checkpoint {path} without running code from it "
            f"({type(error).__name__}): it may be truncated. If it is complete and you "
            "trust it, load it with weights_only=False and save {'model': "
            "checkpoint['model']} again"
        ) from error
    if not isinstance(stored, dict) or not isinstance(stored.get("model"), dict):
        raise InputError(
            f'{path} is not a checkpoint of CLAP: no dict with weights in "model"'
        )
    return stored["model"]


def rename_weights(state: Mapping[str, Any], path: Path | str) -> dict[str, Any]:
    """Return the used weights under our names; `path` is for messages.

    Raises
    ------
    InputError
        When a name is unknown, or belongs to the CLAP of 2023.

    Example
    -------
    >>> list(rename_weights({"audio_encoder.base.conv_block1.bn2.bias": 0}, "file"))
    ['cnn14.conv_block1.norm2.bias']
    """
    if any("htsat" in name for name in state):
        raise InputError(
            f"Microsoft's CLAP of 2023 (HTSAT and GPT-2) is not supported, got {path}: "
            f"use that of 2022, {CHECKPOINT}"
        )
    ours, unknown = {}, []
    for name, value in state.items():
        if any(re.match(pattern, name) for pattern in UNUSED):
            continue
        for pattern, replacement in RENAMES:
            if re.match(pattern, name):
                ours[re.sub(pattern, replacement, name, count=1)] = value
                break
        else:
            unknown.append(name)
    if unknown:
        raise InputError(
            f"{path} is not Microsoft's CLAP of 2022: unknown weights "
            f"{some_of(unknown, 3)}"
        )
    return ours


def build_bert(shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """Return an untrained BERT with the sizes of these weights."""
    transformers = transformers_module()
    name = "bert.embeddings.{}_embeddings.weight"
    n_words, width = shapes[name.format("word")]
    layers = {
        int(found.group(1))
        for found in (re.match(r"bert\.encoder\.layer\.(\d+)\.", n) for n in shapes)
        if found
    }
    config = transformers.BertConfig(
        vocab_size=n_words,
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, width // HEAD_WIDTH),
        intermediate_size=shapes["bert.encoder.layer.0.intermediate.dense.weight"][0],
        max_position_embeddings=shapes[name.format("position")][0],
        type_vocab_size=shapes[name.format("token_type")][0],
    )
    return transformers.BertModel(config)


def load_state(
    clap: MicrosoftClap, state: Mapping[str, torch.Tensor], path: Path | str
) -> None:
    """Load weights in place.

    Arguments
    ---------
    clap : MicrosoftClap
    state : mapping
        Names (ours) to weights of any shape (...).
    path : str or Path
        The checkpoint, for the message.

    Raises
    ------
    InputError
        When weights are missing, unknown, or of another shape.
    """
    expected = {n: tuple(value.shape) for n, value in clap.state_dict().items()}
    shapes = {n: tuple(value.shape) for n, value in state.items()}
    misfits = [f"{name} is missing" for name in expected if name not in shapes]
    misfits += [f"{name} is unknown" for name in shapes if name not in expected]
    misfits += [
        f"{name} is {shapes[name]}, not {shape}"
        for name, shape in expected.items()
        if shapes.get(name, shape) != shape
    ]
    if misfits:
        raise InputError(
            f"{path} is not Microsoft's CLAP of 2022: {some_of(misfits, 3)}"
        )
    clap.load_state_dict(state)
