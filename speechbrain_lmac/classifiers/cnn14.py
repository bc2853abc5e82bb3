"""CNN14, the classifier of the papers."""

import torch
import torch.nn.functional as F
from speechbrain.lobes.models.Cnn14 import Cnn14

from speechbrain_lmac.classifiers.checkpoint import save_classifier
from speechbrain_lmac.classifiers.padding import pool_over_time, zero_layer_padding
from speechbrain_lmac.dsp.pad_crop import pad_frames, zero_after
from speechbrain_lmac.types import CamBlocks, ClassifierOutput

N_BLOCKS = 6  # all but the last halve time and frequency
MIN_FRAMES = 32  # one step after five halvings
DROPOUT = 0.2  # after each block, as in SpeechBrain's Cnn14


class CNN14Classifier(torch.nn.Module):
    """SpeechBrain's CNN14 with a linear layer (PANNs, arXiv 1912.10211).

    Parameters have the names of SpeechBrain's ESC-50 recipe, so its public checkpoints
    (`embedding_model.ckpt`, `classifier.ckpt`) can be loaded.

    Arguments
    ---------
    n_classes : int
        Number of classes C.
    n_mels : int
        Mel bins of the input.
    emb_dim : int
        Channels of the last block; 2048 in the published model.

    Shape
    -----
    features (B, T, n_mels) to logits (B, C) and the outputs of blocks 3, 4, 5, 6,
    the shallowest first: for 431 frames of 80 bins (B, 256, 53, 10),
    (B, 512, 26, 5), (B, 1024, 13, 2) and (B, 2048, 13, 2). Inputs shorter than
    32 frames are padded with silence. With `lengths` (B,), int64, later frames have no
    influence on the logits, and hidden maps are 0 there.
    """

    CHECKPOINTS = {
        "embedding_model.ckpt": "embedding_model",
        "classifier.ckpt": "classifier",
    }
    save = save_classifier
    masks_padding = True

    def __init__(self, n_classes: int, n_mels: int = 80, emb_dim: int = 2048) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.embedding_model = Cnn14(n_mels, emb_dim, return_reps=True)
        self.classifier = torch.nn.Linear(emb_dim, n_classes)

    @property
    def cam_layer(self) -> torch.nn.Module:
        """The layer of class activation maps: the last block."""
        return self.embedding_model.conv_block6

    @property
    def cam_stride(self) -> tuple[int, int]:
        """Frames and bands per step of that layer's map: five halvings."""
        return MIN_FRAMES, MIN_FRAMES

    @property
    def cam_blocks(self) -> CamBlocks:
        """The blocks, with frames and bands per step of their maps."""
        return blocks_of(self.embedding_model)

    def forward(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> ClassifierOutput:
        if lengths is None:
            features = pad_frames(features, MIN_FRAMES)
            embedding, hidden = self.embedding_model(features)
            embedding = embedding[:, 0]
        else:
            embedding, hidden = self.without_padding(features, lengths)
        logits = self.classifier(embedding)
        return ClassifierOutput(logits.float(), tuple(reversed(hidden)))

    def without_padding(
        self, features: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return embeddings (B, emb_dim) and maps, the deepest first, of padded clips.

        `features` (B, T, n_mels); `lengths` (B,), int64, in frames.
        """
        features = pad_frames(zero_after(features, lengths), MIN_FRAMES)
        lengths = lengths.clamp(min=MIN_FRAMES)
        inputs, outputs = [], []
        for number in range(1, N_BLOCKS + 1):
            block = getattr(self.embedding_model, f"conv_block{number}")
            inputs += [(block.conv1, lengths), (block.conv2, lengths)]
            if number < N_BLOCKS:
                lengths = lengths // 2
            outputs.append((block, lengths))
        with zero_layer_padding(inputs, outputs):
            _, hidden = self.embedding_model(features)
        # Cnn14's pooling, without the padding.
        maps = F.dropout(hidden[0], DROPOUT, self.training)
        return pool_over_time(maps.mean(3), lengths), hidden


def blocks_of(cnn14: Cnn14) -> CamBlocks:
    """Return the blocks of a CNN14 with frames and bands per step of their maps."""
    strides = [min(2**number, MIN_FRAMES) for number in range(1, N_BLOCKS + 1)]
    return [
        (cnn14.get_submodule(f"conv_block{number}"), (stride, stride))
        for number, stride in enumerate(strides, start=1)
    ]
