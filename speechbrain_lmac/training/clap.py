"""What a CLAP's training needs beside the method: embeddings, and what is found."""

import json
import math
from pathlib import Path

import speechbrain as sb
import torch

from speechbrain_lmac.classifiers.clap.miniclap import load_trunk, save_clap
from speechbrain_lmac.classifiers.padding import embed, lengths_of
from speechbrain_lmac.evaluation.retrieval import Prompts
from speechbrain_lmac.training.base_brain import NOISE_PARTS, RecordingBrain
from speechbrain_lmac.training.training_record import write_record
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.distributed import one_process_only
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

FORGOTTEN = 0.05  # share of the words that a training reads as unknown
SILENT_DB = (-100.0, -50.0)  # of a clip that shall be like no caption


class CaptionBrain(RecordingBrain):
    """What the training of a CLAP needs: embeddings, and what prompts find.

    `record_found` records, but in training,

    - `accuracy`: of the class among the standard prompts of all classes,
    - `template_seen`, `template_unseen`: the same with each template, the mean over
      those that the clip's class was trained with, or was not,
    - `pair_seen`, `pair_unseen`: with another clip mixed in, whether the caption that
      names both classes is the best among those of all pairs,
    - `attribute_seen`, `attribute_unseen`: whether the right value is better than its
      opposite, the mean over the attributes that are clear. Unseen: no training caption
      said one of the two of this class,
    - `nonsense`: accuracy with made-up names for the classes.

    A value that a clip does not have is NaN, and left out of the means.
    """

    def read(self, captions: list, stage) -> torch.Tensor:
        """Captions to embeddings (B, D), in training with some words forgotten."""
        clap = self.modules.clap
        tokens = clap.vocabulary([caption.text for caption in captions])
        forget = None
        if stage == sb.Stage.TRAIN:
            forget = torch.rand(tokens.ids.shape) < FORGOTTEN
        return clap.read(tokens.ids, forget)

    def embed(self, batch, stage) -> torch.Tensor:
        """Clips to embeddings (B, D), with noise and in training with augmentation."""
        batch = self.noisy(batch, stage)
        augment = self.augment_of(stage)
        if augment is None:
            return self.hear(batch.wav, batch.lens)
        domain, clips = self.modules.domain, torch.arange(len(batch.wav))
        wav, lens, places = augment.waveforms(batch.wav, batch.lens, clips)
        encoded = domain.encode(wav, lens)
        features, lengths, places = augment.features(
            domain.features(encoded), lengths_of(domain, encoded), places
        )
        if not torch.equal(places, clips):
            raise InputError(
                f"the augmentation makes {len(places)} clips of {len(clips)}, and each "
                "has one caption: let it concatenate and repeat nothing"
            )
        return self.modules.clap.audio(features, lengths).embedding.float()

    def hear(self, wav: torch.Tensor, lens=None) -> torch.Tensor:
        """Waveforms (B, N) as they are, of relative lengths `lens` (B,), to embeddings
        (B, D)."""
        encoded = self.modules.domain.encode(wav, lens)
        return embed(self.modules.domain, self.modules.clap, encoded).embedding.float()

    def record_found(self, batch, stage) -> None:
        """Record what is found with the prompts, but in training."""
        if stage != sb.Stage.TRAIN:
            for name, values in self.retrieval(batch, stage).items():
                self.record(name, torch.tensor(values))

    def on_stage_start(self, stage, epoch: int | None = None) -> None:
        """Forget the prompts, whose embeddings the training has changed."""
        super().on_stage_start(stage, epoch)
        self.prompts = None

    def retrieval(self, batch, stage) -> dict:
        """What is found with the prompts: name to B values, 0 to 1 or NaN."""
        captioned, labels = self.hparams.captioned, self.hparams.labels
        if (
            self.prompts is None
        ):  # not at the start of the stage: in eval mode only here
            self.prompts = Prompts(captioned.captions, self.modules.clap)
        categories = [labels[label] for label in batch.label.tolist()]
        mixtures, pairs = captioned.pairs(
            batch.wav, self.keys(batch, stage), NOISE_PARTS[stage]
        )
        attributes = [captioned.captions.attributes(clip) for clip in batch.ids]
        sounds = self.embed(batch, stage)
        mixed = batch.with_wav(mixtures, [True] * len(pairs))
        return {
            **self.prompts.classes(sounds, categories),
            **self.prompts.attributes(sounds, categories, attributes),
            **self.prompts.pairs(self.embed(mixed, stage), pairs),
        }


def nearly_silent(wav: torch.Tensor, keys: list) -> torch.Tensor:
    """Clips (B, N) turned down by 50 to 100 dB, drawn for each key."""
    low, high = SILENT_DB
    draws = [torch.rand((), generator=generator("silence", *key)) for key in keys]
    return wav * 10 ** ((low + (high - low) * torch.stack(draws)[:, None]) / 20)


def prepare_clap(hparams: dict[str, int | str]) -> None:
    """Give a `MiniClap` the words of its captions and the trunk that the YAML names.

    Raises
    ------
    InputError
        After `torchrun`, and for an augmentation that mixes targets.
    """
    one_process_only("a CLAP")
    check_augment(hparams.get("augment"))
    clap, captions = hparams["clap"], hparams["captioned"].captions
    clap.learn_words(captions.words(), hparams["seed"])
    if hparams.get("trunk_source") is not None:
        load_trunk(clap, hparams["trunk_source"])


def write_clap(brain, hparams: dict[str, int | str], argv: list[str]) -> None:
    """Save what was trained, and write and print what it finds beside chance."""
    found = {n: v for n, v in brain.test_means.items() if not math.isnan(v)}
    brain.test_means = {**found, **hparams["captioned"].captions.chance()}
    clap, folder = hparams["clap"], Path(hparams["output_folder"])

    def save() -> None:
        save_clap(clap, folder / "clap")

    if write_record(brain, folder, clap, argv, save):
        show(json.dumps(brain.test_means, indent=2))


def check_augment(augment) -> None:
    """Refuse transforms of targets: captions cannot be mixed as those are."""
    if getattr(augment, "mixup", None) or getattr(augment, "blank", None):
        raise InputError(
            "captions cannot be mixed as shares of classes are: set mixup and blank of "
            "the augmentation to null (mixtures are made by `captioned`)"
        )
