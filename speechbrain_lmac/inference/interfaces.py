"""Interfaces of trained models: explanation and classification in three lines.

    from speechbrain_lmac.inference import AudioExplainer
    explainer = AudioExplainer.from_hparams("esc10-lmac")
    explained = explainer.explain_file("dog.wav")

A model is a folder written by publish.py, an id on the Hugging Face hub, or the name of
a shipped model (`speechbrain_lmac.hub.registry`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.domains.stft import zero_padding
from speechbrain_lmac.dsp.audio_streams import MonoFile
from speechbrain_lmac.inference.explain_batch import (
    BoundExplainer,
    classify_waveforms,
    explain_batch,
)
from speechbrain_lmac.inference.explain_file import classify_source, explain_in_memory
from speechbrain_lmac.inference.requests import (
    ClassRequest,
    check_prompts,
    check_target,
    class_index,
    request_class,
    request_prompts,
)
from speechbrain_lmac.inference.results import (
    BatchExplanation,
    Explained,
)
from speechbrain_lmac.inference.trained_model import TrainedModel
from speechbrain_lmac.metrics.checks.encoding import EncodingCheck
from speechbrain_lmac.utils.errors import InputError

# Probabilities (B, C), score (B,), index (B,), B class names.
Classification = tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str]]


class AudioExplainer(TrainedModel):
    """Explanations of a classifier's decisions.

    Arguments
    ---------
    modules : dict
        `domain`, the classifier (`model` or `clap`) and `interpreter`.
    hparams : dict
        The built YAML.
    run_opts : dict, optional
        SpeechBrain's run options, e.g. {"device": "cuda"}.
    freeze_params : bool
        Use eval mode, without gradients for the weights.

    Example
    -------
    >>> explainer = AudioExplainer.from_hparams("esc10-lmac")
    >>> explained = explainer.explain_batch(torch.randn(1, 16000))
    >>> explained.explanation.shape, explained.mask.shape
    (torch.Size([1, 16000]), torch.Size([1, 87, 513]))
    """

    HPARAMS_NEEDED = ["domain", "interpreter", "explainer"]
    MODULES_NEEDED = ["domain", "interpreter"]

    def __init__(
        self,
        modules: Mapping[str, torch.nn.Module] | None = None,
        hparams: Mapping[str, Any] | None = None,
        run_opts: dict[str, Any] | None = None,
        freeze_params: bool = True,
    ) -> None:
        super().__init__(modules, hparams, run_opts, freeze_params)
        self.explainer: BoundExplainer = self.hparams.explainer(
            self.mods.domain, self.classifier, self.mods.interpreter
        )
        self.check = EncodingCheck(self.mods.domain, self.classifier)

    def forward(
        self, wavs: torch.Tensor, lens: torch.Tensor | None = None
    ) -> BatchExplanation:
        """Call `explain_batch` on waveforms (B, N)."""
        return self.explain_batch(wavs, lens)

    def explain_batch(
        self,
        wavs: torch.Tensor,
        lens: torch.Tensor | None = None,
        target: Sequence[str] | str | None = None,
        check: bool = False,
    ) -> BatchExplanation:
        """Explain waveforms at the model's rate, `sample_rate`.

        Arguments
        ---------
        wavs : torch.Tensor
            Shape (B, N), of any level.
        lens : torch.Tensor, optional
            Shape (B,): relative length of each recording, above 0, at most 1. The
            explanation of each is independent of its padding and of the others.
        target : str or sequence of str, optional
            The class to explain, from `labels`: one for all waveforms, or B of them.
            Default: the predicted classes.
        check : bool
            Compute `encoding`.

        Returns
        -------
        explained : speechbrain_lmac.inference.results.BatchExplanation

        Raises
        ------
        InputError
            For waveforms of a wrong shape or with non-finite samples, for an unknown
            target, and for an interpreter whose mask does not depend on the target.
        """
        wavs, lens = self._wavs(wavs, lens)
        targets = None
        if target is not None:
            names = [target] * len(wavs) if isinstance(target, str) else list(target)
            if len(names) != len(wavs):
                raise InputError(f"{len(names)} targets for {len(wavs)} waveforms")
            check_target(names, self.mods.interpreter)
            indices = [class_index(name, self.labels) for name in names]
            targets = torch.tensor(indices, device=self._place)
        return explain_batch(
            self.explainer,
            wavs,
            self.labels,
            targets,
            lens,
            self.check if check else None,
        )

    def explain_file(
        self,
        path: Path | str,
        target: str | None = None,
        prompts: Sequence[str] | str | None = None,
        check: bool = True,
    ) -> Explained | list[Explained]:
        """Explain an audio file of any rate, length and number of channels.

        A file longer than 1.5 times `window_seconds` is explained in overlapping
        windows. The result is in memory; for long files see `requests`.

        Arguments
        ---------
        path : str or Path
            WAV, FLAC, Ogg, MP3 or another format of libsndfile.
        target : str, optional
            The class to explain, from `labels`. Default: the predicted class.
        prompts : sequence of str, optional
            Text prompts, for zero-shot models.
        check : bool
            Compute `encoding`; without it explaining is faster.

        Returns
        -------
        explained : FileExplanation, or list of PromptExplanation
            See `speechbrain_lmac.inference.results`. With prompts a list, one item per
            prompt.

        Raises
        ------
        InputError
            If the file cannot be read, the target is unknown, or the mask does not
            depend on the target or prompts.
        """
        requests = self.requests(target, prompts, check)
        source = MonoFile(path)
        explained = [explain_in_memory(request, source) for request in requests]
        return explained[0] if prompts is None else explained

    def requests(
        self,
        target: str | None = None,
        prompts: Sequence[str] | str | None = None,
        check: bool = True,
    ) -> Sequence[ClassRequest]:
        """Return explanation requests for `explain_files` and `write_request`.

        Arguments
        ---------
        target, prompts, check
            As for `explain_file`.

        Returns
        -------
        requests : list of speechbrain_lmac.inference.requests.ClassRequest
            One request, or a PromptRequest for each prompt.
        """
        place, window = self._place, self.window_seconds
        if prompts is not None:
            check_prompts(self.classifier, self.mods.interpreter, target)
            assert isinstance(self.classifier, ClapClassifier)  # see check_prompts
            explainer = self.hparams.explainer(
                self.mods.domain,
                self.classifier.with_prompts(prompts),
                self.mods.interpreter,
            )
            of_prompts = EncodingCheck(self.mods.domain, explainer.classifier)
            return request_prompts(
                explainer, place, window, of_prompts if check else None
            )
        request = request_class(
            self.explainer,
            self.labels,
            place,
            target,
            window,
            self.check if check else None,
        )
        if target is not None:
            check_target([target], self.mods.interpreter)
        return [request]


class AudioClassifier(TrainedModel):
    """A classifier, published alone or as part of an explainer."""

    MODULES_NEEDED = ["domain"]

    def forward(
        self, wavs: torch.Tensor, lens: torch.Tensor | None = None
    ) -> Classification:
        """Call `classify_batch` on waveforms (B, N)."""
        return self.classify_batch(wavs, lens)

    @torch.no_grad()
    def classify_batch(
        self, wavs: torch.Tensor, lens: torch.Tensor | None = None
    ) -> Classification:
        """Classify waveforms at the model's rate, as SpeechBrain's EncoderClassifier.

        Arguments
        ---------
        wavs : torch.Tensor
            Shape (B, N), of any level.
        lens : torch.Tensor, optional
            Shape (B,): relative length of each recording, above 0, at most 1. The
            probabilities are independent of the padding.

        Returns
        -------
        probabilities : torch.Tensor
            Shape (B, C), 0 to 1.
        score, index : torch.Tensor
            Shape (B,): the highest probability, and its class index.
        labels : list of str
            B class names.
        """
        wavs, lens = self._wavs(wavs, lens)
        if lens is not None:
            wavs = zero_padding(wavs, lens)
        logits = classify_waveforms(self.mods.domain, self.classifier, wavs, lens)
        return self._decision(logits.softmax(1))

    def classify_file(self, path: str | Path) -> Classification:
        """Classify a file of any length by the mean over the windows of `explain_file`.

        Returns
        -------
        probabilities, score, index, labels
            As `classify_batch`, with B = 1.
        """
        probabilities = classify_source(
            self.mods.domain,
            self.classifier,
            MonoFile(path),
            self.window_seconds,
            self._place,
        )
        return self._decision(probabilities[None].float())

    def _decision(self, probabilities: torch.Tensor) -> Classification:
        """Return probabilities (B, C), and score, index and label of the top class."""
        score, index = probabilities.max(1)
        return probabilities, score, index, [self.labels[i] for i in index.tolist()]
