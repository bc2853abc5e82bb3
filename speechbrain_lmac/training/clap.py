"""The base Brain of CLAP: embeddings, and retrieval with prompts."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch

from speechbrain_lmac.classifiers.clap.miniclap import load_trunk, save_clap
from speechbrain_lmac.classifiers.padding import embed, lengths_of
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.evaluation.retrieval import Prompts
from speechbrain_lmac.training.base_brain import NOISE_PARTS, RecordingBrain
from speechbrain_lmac.training.training_record import write_record
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.distributed import one_process_only
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

WORD_DROPOUT = 0.05  # share of words replaced by the unknown word in training
SILENT_DB = (-100.0, -50.0)  # gains of a clip that should match no caption


class CaptionBrain(RecordingBrain):
    """A Brain for the training of a CLAP: embeddings, and retrieval with prompts.

    `record_retrieval` records, except in training,

    - `accuracy`: of the class among the standard prompts of all classes,
    - `template_seen`, `template_unseen`: the same with each prompt template; means over
      those in the training captions of the clip's class, and over the others,
    - `pair_seen`, `pair_unseen`: with another clip mixed in, whether the caption of
      both classes has the highest similarity among those of all pairs,
    - `attribute_seen`, `attribute_unseen`: whether the right value has a higher
      similarity than its opposite; mean over the attributes that are clear. Unseen: no
      training caption of this class has one of the two,
    - `nonsense`: accuracy with made-up names for the classes.

    A value that a clip does not have is NaN, and left out of the means.
    """

    def embed_captions(self, captions: Sequence[Any], stage: sb.Stage) -> torch.Tensor:
        """Return the embeddings (B, D) of captions, with word dropout in training."""
        clap = self.modules.clap
        tokens = clap.vocabulary([caption.text for caption in captions])
        dropped = None
        if stage == sb.Stage.TRAIN:
            dropped = torch.rand(tokens.ids.shape) < WORD_DROPOUT
        return clap.read(tokens.ids, dropped)

    def embed(self, batch: ClipBatch, stage: sb.Stage) -> torch.Tensor:
        """Return the embeddings (B, D) of noisy clips, augmented in training."""
        batch = self.noisy(batch, stage)
        augment = self.augment_of(stage)
        if augment is None:
            return self.embed_audio(batch.wav, batch.lens)
        domain, clips = self.modules.domain, torch.arange(len(batch.wav))
        wav, lens, clip_indices = augment.waveforms(batch.wav, batch.lens, clips)
        encoded = domain.encode(wav, lens)
        features, lengths, clip_indices = augment.features(
            domain.features(encoded), lengths_of(domain, encoded), clip_indices
        )
        if not torch.equal(clip_indices, clips):
            raise InputError(
                f"augment must keep the number of clips, got {len(clip_indices)} from "
                f"{len(clips)}: each has one caption. Do not concatenate or repeat"
            )
        return self.modules.clap.audio(features, lengths).embedding.float()

    def embed_audio(
        self, wav: torch.Tensor, lens: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the embeddings (B, D) of waveforms (B, N), relative lengths (B,)."""
        encoded = self.modules.domain.encode(wav, lens)
        return embed(self.modules.domain, self.modules.clap, encoded).embedding.float()

    def record_retrieval(self, batch: ClipBatch, stage: sb.Stage) -> None:
        """Record the scores of `retrieval`, except in training."""
        if stage != sb.Stage.TRAIN:
            for name, values in self.retrieval(batch, stage).items():
                self.record(name, torch.tensor(values))

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Reset the prompt embeddings, which the training has changed."""
        super().on_stage_start(stage, epoch)
        self.prompts: Prompts | None = None

    def retrieval(
        self, batch: ClipBatch, stage: sb.Stage
    ) -> dict[str, Sequence[float]]:
        """Return the scores with the prompts: name to B values, 0 to 1 or NaN."""
        captioned, labels = self.hparams.captioned, self.hparams.labels
        assert batch.label is not None
        if self.prompts is None:  # the modules are in eval mode only from here on
            self.prompts = Prompts(captioned.captions, self.modules.clap)
        categories = [labels[label] for label in batch.label.tolist()]
        mixtures, pairs = captioned.pairs(
            batch.wav, self.keys(batch, stage), NOISE_PARTS[stage]
        )
        attributes = [captioned.captions.attributes(clip) for clip in batch.ids]
        audio = self.embed(batch, stage)
        mixed = batch.with_wav(mixtures, [True] * len(pairs))
        return {
            **self.prompts.classes(audio, categories),
            **self.prompts.attributes(audio, categories, attributes),
            **self.prompts.pairs(self.embed(mixed, stage), pairs),
        }


def nearly_silent(wav: torch.Tensor, keys: Sequence[tuple]) -> torch.Tensor:
    """Return clips (B, N) attenuated by 50 to 100 dB, drawn for each key."""
    low, high = SILENT_DB
    draws = [torch.rand((), generator=generator("silence", *key)) for key in keys]
    return wav * 10 ** ((low + (high - low) * torch.stack(draws)[:, None]) / 20)


def prepare_clap(hparams: dict[str, Any]) -> None:
    """Set the vocabulary of a `MiniClap`, and load the trunk of `trunk_source`.

    Raises
    ------
    InputError
        With several processes (`torchrun`), and for an augmentation that mixes targets.
    """
    one_process_only("a CLAP")
    check_augment(hparams.get("augment"))
    clap, captions = hparams["clap"], hparams["captioned"].captions
    clap.learn_words(captions.words(), hparams["seed"])
    if hparams.get("trunk_source") is not None:
        load_trunk(clap, hparams["trunk_source"])


def write_clap(brain: RecordingBrain, hparams: dict[str, Any], argv: list[str]) -> None:
    """Save the trained CLAP, and write and print its scores and the chance levels.

    Arguments
    ---------
    brain : RecordingBrain
        After its test.
    hparams : dict
        The experiment: `clap`, `captioned`, `output_folder`.
    argv : list of str
        The arguments of the command.
    """
    scores = {n: v for n, v in brain.test_means.items() if not math.isnan(v)}
    brain.test_means = {**scores, **hparams["captioned"].captions.chance()}
    clap, folder = hparams["clap"], Path(hparams["output_folder"])

    def save() -> None:
        save_clap(clap, folder / "clap")

    if write_record(brain, folder, clap, argv, save):
        show(json.dumps(brain.test_means, indent=2))


def check_augment(augment: Any) -> None:
    """Raise if an augmentation mixes targets: captions cannot be mixed."""
    if getattr(augment, "mixup", None) or getattr(augment, "blank", None):
        raise InputError(
            "captions cannot be mixed: set mixup and blank of augment to null "
            "(`captioned` makes mixtures)"
        )
