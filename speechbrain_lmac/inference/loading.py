"""Explainers from trained interpreters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from speechbrain_lmac.config.loading import require_keys
from speechbrain_lmac.domains.codec import check_codec_of
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.interpreters import TrainedInterpreter
from speechbrain_lmac.utils.devices import check_device

EXPLAINER_PARTS = ("domain", "classifier", "interpreter", "interpreter_checkpoint")


def open_explainer(
    hparams: Mapping[str, Any],
    run_opts: Any,
    path: str | Path,
    classifier: Any = None,
) -> tuple[Any, torch.device]:
    """Return a trained interpreter as an explainer, on its device.

    Arguments
    ---------
    hparams : dict
        The experiment of a training.
    run_opts : RunOptions
        SpeechBrain's; `device` counts.
    path : str or Path
        Its YAML file, for errors.
    classifier : Classifier, optional
        Replaces the experiment's.

    Returns
    -------
    explainer : Explainer
    device : torch.device
    """
    require_keys(hparams, EXPLAINER_PARTS, path)
    if "codec" in hparams:
        check_codec_of(hparams["codec"], hparams["interpreter_checkpoint"])
    classifier = classifier or hparams["classifier"]
    interpreter = TrainedInterpreter(
        hparams["interpreter"], hparams["interpreter_checkpoint"]
    )
    device = check_device(run_opts.device)
    explainer = hparams.get("explainer", AmortizedExplainer)(
        hparams["domain"].to(device), classifier.to(device), interpreter.to(device)
    )
    return explainer, device


def class_names(classifier: Any) -> list[str]:
    """Return the names of a classifier's classes, or their numbers."""
    return classifier.labels or [f"class {i}" for i in range(classifier.n_classes)]
