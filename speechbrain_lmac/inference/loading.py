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
    """Return the explainer of a trained interpreter, and its device.

    Arguments
    ---------
    hparams : dict
        The experiment of a training run.
    run_opts : RunOptions
        SpeechBrain's run options; only `device` is used.
    path : str or Path
        The YAML file of the experiment, for error messages.
    classifier : Classifier, optional
        Overrides the classifier of the experiment.

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
    """Return the labels of a classifier; "class 0", "class 1", ... if it has none."""
    return classifier.labels or [f"class {i}" for i in range(classifier.n_classes)]
