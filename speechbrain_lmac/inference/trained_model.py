"""The base class of trained models: loading, labels, rate and checked waveforms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from speechbrain.inference.interfaces import Pretrained

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.hub.registry import find_model, is_shipped
from speechbrain_lmac.inference.safe_loading import load_safely
from speechbrain_lmac.inference.trusted_loading import load_trusted
from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.tokenizer import TEMPLATE


class TrainedModel(Pretrained):
    """Base class of `AudioExplainer` and `AudioClassifier`.

    Arguments
    ---------
    modules : dict
        `domain` and the classifier (`model` or `clap`).
    hparams : dict
        The built YAML.
    run_opts : dict, optional
        SpeechBrain's run options, e.g. {"device": "cuda"}.
    freeze_params : bool
        Use eval mode, without gradients for the weights.
    """

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
            advice = (
                "give a folder written by publish.py"
                if missing[0] in TrainedModel.HPARAMS_NEEDED
                else "only models with an interpreter explain; load others with "
                "AudioClassifier"
            )
            raise InputError(
                f"{type(self).__name__} needs the key {missing[0]!r}, which the YAML "
                f"of this model does not have: {advice}"
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
        token : str or bool, optional
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
