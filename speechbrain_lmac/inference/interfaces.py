"""Trained models in three lines: what made the classifier decide?

    from speechbrain_lmac.inference import AudioExplainer
    explainer = AudioExplainer.from_hparams("esc10-lmac")
    explained = explainer.explain_file("dog.wav")

A model is a folder as publish.py writes it, the id of one on the Hugging Face hub, or
the name of one that comes with the package (`speechbrain_lmac.hub.registry`).
"""

from pathlib import Path

import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from hyperpyyaml import load_hyperpyyaml
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.fetching import FetchConfig, LocalStrategy, fetch

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.domains.stft import silent_behind
from speechbrain_lmac.dsp.audio_streams import MonoFile
from speechbrain_lmac.hub.registry import find_model, is_shipped
from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.inference.explain_batch import classify_waveforms, explain_batch
from speechbrain_lmac.inference.explain_file import classify_source, explain_in_memory
from speechbrain_lmac.inference.requests import (
    check_prompts,
    check_target,
    class_index,
    request_class,
    request_prompts,
)
from speechbrain_lmac.inference.safe_loading import load_safely
from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.old_names import with_current_names
from speechbrain_lmac.utils.tokenizer import TEMPLATE


def _load_trusted(
    interface,
    source: Path | str,
    hparams_file: str,
    overrides,
    revision: str | None,
    token,
    savedir,
    **kwargs,
) -> "AudioClassifier | AudioExplainer":
    """Load a model as SpeechBrain does, whatever its YAML builds.

    Unlike SpeechBrain's `pretrained_from_hparams` it knows the names that classes had
    in version 0.2.
    """
    cached = only_cached(str(source), hparams_file, "a model", revision)
    options = {
        "local_strategy": LocalStrategy.COPY,
        "fetch_config": FetchConfig(
            allow_network=not cached, revision=revision, token=token
        ),
    }
    try:
        path = fetch(hparams_file, str(source), savedir, **options)
        text, _ = with_current_names(Path(path).read_text(encoding="utf-8"))
        hparams = load_hyperpyyaml(text, overrides or {})
        hparams["savedir"] = savedir
        pretrainer = hparams["pretrainer"]
        pretrainer.set_collect_in(savedir)
        pretrainer.collect_files(default_source=str(source), **options)
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"a file of {source} is not in the cache, and the hub cannot be "
            "reached: look at the network, or name a folder"
        ) from error
    pretrainer.load_collected()
    return interface(hparams["modules"], hparams, **kwargs)


class _Trained(Pretrained):
    """What `AudioExplainer` and `AudioClassifier` share."""

    HPARAMS_NEEDED = ["domain"]

    def __init__(
        self,
        modules: dict | None = None,
        hparams: dict[str, int | str] | None = None,
        run_opts: dict[str, str] | None = None,
        freeze_params: bool = True,
    ):
        missing = [name for name in self.HPARAMS_NEEDED if name not in (hparams or {})]
        if missing:
            raise InputError(
                f"{type(self).__name__} needs {missing[0]!r} in a model; this has "
                f"{', '.join(hparams or {})}. A classifier alone is read by "
                "AudioClassifier, one with an interpreter by AudioExplainer"
            )
        super().__init__(modules, hparams, run_opts, freeze_params)
        self.window_seconds = hparams.get("window_seconds")
        if self.window_seconds is not None and not self.window_seconds > 0:
            raise InputError(
                f"window_seconds must be above 0, got {self.window_seconds}"
            )
        self.classifier = self._classifier(hparams)

    def _classifier(self, hparams: dict[str, int | str]) -> ClapClassifier | Frozen:
        """The frozen classifier, with its labels."""
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
                f"label_encoder.ckpt names {n_named} classes, but the model has "
                f"{model.n_classes}: they do not belong together"
            )
        return Frozen(model, [encoder.ind2lab[i] for i in range(n_named)])

    @classmethod
    def from_hparams(
        cls,
        source: Path | str,
        hparams_file: str = "hyperparams.yaml",
        overrides=None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        token=None,
        savedir=None,
        **kwargs,
    ) -> "AudioClassifier | AudioExplainer":
        """Load a model. Nothing of it is run but the classes of an allow-list.

        Arguments
        ---------
        source : str or Path
            A folder as publish.py writes it, a hub id ("user/name"), or the name of a
            shipped model; they are looked for in this order.
        hparams_file : str
            The YAML file in it.
        overrides : dict, optional
            Of keys of the YAML.
        trust_remote_code : bool
            Build whatever the YAML says, as SpeechBrain does. It can then do anything
            that you can do on this computer. Without, and for a model of the package:
            `safe_loading.load_safely`.
        revision : str, optional
            Branch, tag or commit on the hub. Without: the newest.
        token : str, optional
            Of the hub, for a private model. Without: `HF_TOKEN` or that of
            `hf auth login`.
        savedir : str or Path, optional
            Only with `trust_remote_code`: where SpeechBrain collects the files.
        **kwargs
            `run_opts={"device": "cuda"}` and what else `Pretrained` takes.

        Returns
        -------
        model : AudioExplainer or AudioClassifier
            In eval mode, frozen.

        Raises
        ------
        InputError
            When there is no such model, when its YAML asks for something that is not on
            the allow-list, or when a file of it does not fit.
        """
        source = find_model(source)
        check_device((kwargs.get("run_opts") or {}).get("device"))
        if trust_remote_code and not is_shipped(source):
            return _load_trusted(
                cls, source, hparams_file, overrides, revision, token, savedir, **kwargs
            )
        return load_safely(
            cls, source, hparams_file, overrides, revision, token, **kwargs
        )

    @property
    def labels(self) -> list[str]:
        """C class names, or prompts, in the order of the logits."""
        return self.classifier.labels

    @property
    def sample_rate(self) -> int:
        """Of what the model hears, Hz."""
        return self.hparams.domain.sample_rate

    @property
    def _place(self) -> torch.device:
        """The device that the model is on."""
        return next(self.mods.parameters()).device

    def _wavs(self, wavs: torch.Tensor, lens: torch.Tensor | None) -> tuple:
        """Waveforms (B, N) on the model's device, silent where there is padding."""
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
    """Which part of a sound made the classifier decide?

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
        modules: dict | None = None,
        hparams: dict[str, int | str] | None = None,
        run_opts: dict[str, str] | None = None,
        freeze_params: bool = True,
    ):
        super().__init__(modules, hparams, run_opts, freeze_params)
        self.explainer = hparams["explainer"](
            self.mods.domain, self.classifier, self.mods.interpreter
        )

    def forward(self, wavs: torch.Tensor, lens: torch.Tensor | None = None):
        """`explain_batch`."""
        return self.explain_batch(wavs, lens)

    def explain_batch(
        self,
        wavs: torch.Tensor,
        lens: torch.Tensor | None = None,
        target: list[str] | str | None = None,
    ):
        """Explain waveforms at the model's rate, `sample_rate`.

        Arguments
        ---------
        wavs : torch.Tensor
            Shape (B, N), of any level.
        lens : torch.Tensor, optional
            Shape (B,): the share of each that is recording, above 0, at most 1. Each is
            explained as it is alone, whatever stands behind it and beside it.
        target : str or sequence, optional
            The class to explain, of `labels`: one for all, or B of them. Without: the
            predicted ones.

        Returns
        -------
        explained : speechbrain_lmac.inference.results.BatchExplanation

        Raises
        ------
        InputError
            For another shape, samples that are not finite, or a target that is no class
            or that the interpreter would not listen to.
        """
        wavs, lens = self._wavs(wavs, lens)
        if target is not None:
            names = [target] * len(wavs) if isinstance(target, str) else list(target)
            if len(names) != len(wavs):
                raise InputError(f"{len(names)} targets for {len(wavs)} waveforms")
            check_target(names, self.mods.interpreter)
            indices = [class_index(name, self.labels) for name in names]
            target = torch.tensor(indices, device=self._place)
        return explain_batch(self.explainer, wavs, self.labels, target, lens)

    def explain_file(
        self,
        path: Path | str,
        target: str | None = None,
        prompts: list[str] | str | None = None,
    ):
        """Explain an audio file of any rate, length and number of channels.

        A file that is longer than one and a half times `window_seconds` is explained in
        overlapping windows; what is returned grows with it (`requests` does not).

        Arguments
        ---------
        path : str or Path
            WAV, FLAC, Ogg, MP3 or what else libsndfile reads.
        target : str, optional
            The class to explain, of `labels`. Without: the predicted one.
        prompts : sequence of str, optional
            Of a zero-shot model: what to look for, in words.

        Returns
        -------
        explained : FileExplanation, or list of PromptExplanation
            Of `speechbrain_lmac.inference.results`; with prompts a list, one for each.

        Raises
        ------
        InputError
            When the file cannot be read, for a target that is no class, and for a
            target or prompts that the model would not listen to.
        """
        requests = self.requests(target, prompts)
        source = MonoFile(path)
        explained = [explain_in_memory(request, source) for request in requests]
        return explained[0] if prompts is None else explained

    def requests(
        self, target: str | None = None, prompts: list[str] | str | None = None
    ) -> list:
        """What `explain_file` asks of a file, for `explain_files` and `write_request`.

        Arguments are those of `explain_file`.

        Returns
        -------
        requests : list of speechbrain_lmac.inference.requests.ClassRequest
            One, or a PromptRequest for each prompt.
        """
        place, window = self._place, self.window_seconds
        if prompts is not None:
            check_prompts(self.classifier, self.mods.interpreter, target)
            asked = self.hparams.explainer(
                self.mods.domain,
                self.classifier.with_prompts(prompts),
                self.mods.interpreter,
            )
            return request_prompts(asked, place, window)
        request = request_class(self.explainer, self.labels, place, target, window)
        if target is not None:
            check_target([target], self.mods.interpreter)
        return [request]


class AudioClassifier(_Trained):
    """What is heard? The classifier alone, or that of an explainer."""

    MODULES_NEEDED = ["domain"]

    def forward(self, wavs: torch.Tensor, lens=None) -> tuple:
        """`classify_batch`."""
        return self.classify_batch(wavs, lens)

    @torch.no_grad()
    def classify_batch(
        self, wavs: torch.Tensor, lens: torch.Tensor | None = None
    ) -> tuple:
        """Classify waveforms at the model's rate, as SpeechBrain's EncoderClassifier.

        Arguments
        ---------
        wavs : torch.Tensor
            Shape (B, N), of any level.
        lens : torch.Tensor, optional
            Shape (B,): the share of each that is recording, above 0, at most 1. Each
            gets the probabilities that it has alone.

        Returns
        -------
        probabilities : torch.Tensor
            Shape (B, C), 0 to 1.
        score, index : torch.Tensor
            Shape (B,): the highest of them, and which it is.
        labels : list
            B class names.
        """
        wavs, lens = self._wavs(wavs, lens)
        if lens is not None:
            wavs = silent_behind(wavs, lens)
        logits = classify_waveforms(self.mods.domain, self.classifier, wavs, lens)
        return self._answer(logits.softmax(1))

    def classify_file(self, path: Path) -> tuple | None:
        """Classify a file of any length: the mean of its windows, as `explain_file`
        cuts them.

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
        return self._answer(probabilities[None].float())

    def _answer(self, probabilities: torch.Tensor) -> tuple:
        """What is returned of probabilities (B, C)."""
        score, index = probabilities.max(1)
        return probabilities, score, index, [self.labels[i] for i in index.tolist()]
