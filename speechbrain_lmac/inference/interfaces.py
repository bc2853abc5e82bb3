"""Interfaces of trained models: explanation and classification in three lines.

    from speechbrain_lmac.inference import AudioExplainer
    explainer = AudioExplainer.from_hparams("esc10-lmac")
    explained = explainer.explain_file("dog.wav")

A model is a folder written by publish.py, an id on the Hugging Face hub, or the name of
a shipped model (`speechbrain_lmac.hub.registry`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from speechbrain.inference.interfaces import Pretrained

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.domains.stft import zero_padding
from speechbrain_lmac.dsp.audio_streams import MonoFile
from speechbrain_lmac.hub.registry import find_model, is_shipped
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
from speechbrain_lmac.inference.safe_loading import load_safely
from speechbrain_lmac.inference.trusted_loading import load_trusted
from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.tokenizer import TEMPLATE

# Probabilities (B, C), score (B,), index (B,), B class names.
Classification = tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str]]


class _Trained(Pretrained):
    """Base class of `AudioExplainer` and `AudioClassifier`."""

    HPARAMS_NEEDED = ["domain"]

    def __init__(
        self,
        modules: Mapping[str, torch.nn.Module] | None = None,
        hparams: Mapping[str, Any] | None = None,
        run_opts: dict[str, Any] | None = None,
        freeze_params: bool = True,
    ) -> None:
        hparams = hparams or {}
        missing = [name for name in self.HPARAMS_NEEDED if name not in hparams]
        if missing:
            raise InputError(
                f"{type(self).__name__} needs the key {missing[0]!r}, which the YAML "
                "of this model does not have. Only models with an interpreter explain; "
                "load others with AudioClassifier"
            )
        super().__init__(modules, hparams, run_opts, freeze_params)
        self.window_seconds = hparams.get("window_seconds")
        if self.window_seconds is not None and not self.window_seconds > 0:
            raise InputError(
                f"window_seconds must be above 0, got {self.window_seconds}"
            )
        self.classifier = self._classifier(hparams)

    def _classifier(self, hparams: Mapping[str, Any]) -> ClapClassifier | Frozen:
        """Return the frozen classifier, with its labels."""
        if "clap" in hparams:
            template = hparams.get("template", TEMPLATE)
            return ClapClassifier(self.mods.clap, hparams["prompts"], template)
        model, encoder = self.mods.model, hparams.get("label_encoder")
        if encoder is None:
            return Frozen(model, [f"class {i}" for i in range(model.n_classes)])
        encoder.ignore_len()
        n_named = len(encoder)
        if n_named != model.n_classes:
            raise InputError(
                f"label_encoder.ckpt must have the {model.n_classes} classes of the "
                f"model, got {n_named}"
            )
        return Frozen(model, [encoder.ind2lab[i] for i in range(n_named)])

    @classmethod
    def from_hparams(
        cls,
        source: Path | str,
        hparams_file: str = "hyperparams.yaml",
        overrides: dict[str, Any] | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        token: str | bool | None = None,
        savedir: str | Path | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a model, building only classes of an allow-list.

        Arguments
        ---------
        source : str or Path
            A folder written by publish.py, the name of a shipped model, or a hub id
            ("user/name"), tried in this order.
        hparams_file : str
            Name of the YAML file in `source`.
        overrides : dict, optional
            New values of keys of the YAML.
        trust_remote_code : bool
            Build any class named in the YAML, as SpeechBrain does, which can run
            arbitrary code on your computer. Default, and always for shipped models:
            `safe_loading.load_safely`.
        revision : str, optional
            Branch, tag or commit on the hub. Default: the newest.
        token : str, optional
            Access token of the hub, for private models. Default: `HF_TOKEN`, or the
            token of `hf auth login`.
        savedir : str or Path, optional
            Only with `trust_remote_code`: folder in which SpeechBrain collects the
            files.
        **kwargs
            `run_opts={"device": "cuda"}` and other arguments of `Pretrained`.

        Returns
        -------
        model : AudioExplainer or AudioClassifier
            In eval mode, frozen.

        Raises
        ------
        InputError
            If the model does not exist, its YAML uses a class that is not on the
            allow-list, or its files are inconsistent.
        """
        source = find_model(source)
        check_device((kwargs.get("run_opts") or {}).get("device"))
        if trust_remote_code and not is_shipped(source):
            return load_trusted(
                cls, source, hparams_file, overrides, revision, token, savedir, **kwargs
            )
        return load_safely(
            cls, source, hparams_file, overrides, revision, token, **kwargs
        )

    @property
    def labels(self) -> list[str]:
        """C class names, or prompts, in the order of the logits."""
        return list(self.classifier.labels or ())

    @property
    def sample_rate(self) -> int:
        """The sample rate of the model, Hz."""
        return self.hparams.domain.sample_rate

    @property
    def _place(self) -> torch.device:
        """The device of the model."""
        return next(self.mods.parameters()).device

    def _wavs(
        self, wavs: torch.Tensor, lens: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return waveforms (B, N) and lens (B,) on the model's device, checked."""
        wavs = torch.as_tensor(wavs, dtype=torch.float32)
        if wavs.dim() != 2 or wavs.shape[1] == 0:
            raise InputError(
                "wavs must have the shape (batch, samples) with at least one sample, "
                f"got {tuple(wavs.shape)}"
            )
        if not torch.isfinite(wavs).all():
            bad = (~torch.isfinite(wavs).all(1)).nonzero().flatten().tolist()
            raise InputError(f"waveforms {bad} have NaN or infinite samples")
        lens = None if lens is None else torch.as_tensor(lens).to(self._place)
        return wavs.to(self._place), lens


class AudioExplainer(_Trained):
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
        return explain_batch(self.explainer, wavs, self.labels, targets, lens)

    def explain_file(
        self,
        path: Path | str,
        target: str | None = None,
        prompts: Sequence[str] | str | None = None,
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
        requests = self.requests(target, prompts)
        source = MonoFile(path)
        explained = [explain_in_memory(request, source) for request in requests]
        return explained[0] if prompts is None else explained

    def requests(
        self, target: str | None = None, prompts: Sequence[str] | str | None = None
    ) -> Sequence[ClassRequest]:
        """Return explanation requests for `explain_files` and `write_request`.

        Arguments as for `explain_file`.

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
            return request_prompts(explainer, place, window)
        request = request_class(self.explainer, self.labels, place, target, window)
        if target is not None:
            check_target([target], self.mods.interpreter)
        return [request]


class AudioClassifier(_Trained):
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
