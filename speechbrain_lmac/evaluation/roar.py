"""Remove and retrain (ROAR, Hooker et al. 2019).

The top-ranked cells of a method are removed from all clips of the training, validation
and test splits, and a classifier is retrained on the rest. The larger the loss of
accuracy, the better the ranking. Because it is trained on such clips, the classifier
does not lose accuracy from the distribution shift of the removal itself.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.evaluation.randomisation import reinitialise
from speechbrain_lmac.evaluation.roar_inputs import (
    Inputs,
    mean_of_bins,
    remaining_inputs,
    whole_inputs,
)
from speechbrain_lmac.evaluation.row_store import RowStore
from speechbrain_lmac.types import Explainer, MaskDomain
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import content_hash
from speechbrain_lmac.utils.seeding import generator, seed_of

if TYPE_CHECKING:
    from speechbrain_lmac.training.schedules import Annealing

WHOLE = "nothing removed"  # method name of the unmodified clips, share 0
SPLITS = ("train", "valid", "test")
COLUMNS = ["method", "share", "repeat", "accuracy", "n_test", "epoch", "seconds"]


@dataclass(frozen=True)
class Learning:
    """Settings of a retraining.

    Arguments
    ---------
    number_of_epochs : int
    batch_size : int
        Clips per step.
    opt_class : callable
        Maps parameters to an optimizer.
    annealing : training.schedules.Annealing
        In its initial state; each retraining uses a copy.
    """

    number_of_epochs: int
    batch_size: int
    opt_class: Callable[..., torch.optim.Optimizer]
    annealing: "Annealing"


def retrain(
    model: torch.nn.Module,
    splits: Mapping[str, Inputs],
    learning: Learning,
    key: tuple[str | int, ...],
) -> tuple[float, int]:
    """Train a classifier from random weights, and test it.

    The weights with the lowest validation loss are tested. Initial weights, the order
    of clips and dropout depend only on the key: with equal keys, only the inputs
    differ. A plain loop instead of a Brain, without augmentation and checkpoints, since
    features are in memory and a retraining takes seconds.

    Arguments
    ---------
    model : torch.nn.Module
        Maps features (B, T, n_mels) to `ClassifierOutput`. Its weights are overwritten.
    splits : dict
        "train", "valid" and "test" to `Inputs`.
    learning : Learning
    key : tuple
        Strings and integers that seed the retraining.

    Returns
    -------
    accuracy : float
        Accuracy on the test split, 0 to 1.
    epoch : int
        Epoch of the tested weights, starting at 1.

    Raises
    ------
    InputError
        When the validation loss is not finite in any epoch.
    """
    reinitialise(model, *key, "weights")
    optimizer = learning.opt_class(model.parameters())
    annealing = copy.deepcopy(learning.annealing)  # may be stateful
    train = splits["train"]
    steps = math.ceil(len(train.labels) / learning.batch_size)
    best, best_epoch, weights = math.inf, 0, None
    for epoch in range(1, learning.number_of_epochs + 1):
        model.train()
        draw = generator(*key, "order", epoch)
        order = torch.randperm(len(train.labels), generator=draw)
        for step, indices in enumerate(order.split(learning.batch_size)):
            done = (epoch - 1) * steps + step
            annealing.before_step(optimizer, done, steps)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(*key, "dropout", epoch, step))
                logits = train.logits(model, indices)
            loss = F.cross_entropy(logits, train.labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            annealing.after_step(optimizer, done + 1)
        valid_loss = _test(model, splits["valid"], learning.batch_size)[0]
        annealing.after_epoch(optimizer, epoch, valid_loss)
        if valid_loss < best:
            best, best_epoch = valid_loss, epoch
            weights = copy.deepcopy(model.state_dict())
    if weights is None:
        raise InputError("no finite validation loss in any epoch: lower lr")
    model.load_state_dict(weights)
    return _test(model, splits["test"], learning.batch_size)[1], best_epoch


def _test(
    model: torch.nn.Module, inputs: Inputs, batch_size: int
) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy, 0 to 1."""
    model.eval()
    with torch.no_grad():
        every = torch.arange(len(inputs.labels)).split(batch_size)
        parts = [inputs.logits(model, indices) for indices in every]
    logits = torch.cat(parts)
    loss = F.cross_entropy(logits, inputs.labels).item()
    return loss, (logits.argmax(1) == inputs.labels).double().mean().item()


def remove_and_retrain(
    explainers: Mapping[str, Explainer],
    domain: MaskDomain,
    splits: Mapping[str, Iterable[ClipBatch]],
    model: torch.nn.Module,
    learning: Learning,
    shares: Sequence[float],
    repeats: int,
    seed: int,
    path: Path | str,
    settings: str,
    progress: bool = True,
) -> pd.DataFrame:
    """Retrain for each method, share and repeat; return the accuracies.

    Each retraining is a row of a CSV file, which is written after each of them; rows
    already in the file are reused.

    Arguments
    ---------
    explainers : dict
        Name of the method to Explainer.
    domain : MaskDomain
    splits : dict
        "train", "valid" and "test" to an iterable of ClipBatch, iterated once per
        method (twice for "nothing removed"), and "train" once more for the mean that
        replaces removed cells.
    model : torch.nn.Module
        The classifier to retrain, not the explained one.
    learning : Learning
    shares : sequence
        Shares of removed cells, 0 to 1.
    repeats : int
        Number of retrainings with different initial weights.
    seed : int
        Seed of the retrainings.
    path : Path
        The CSV file.
    settings : str
        From `settings_of`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    rows : pandas.DataFrame
        One row per method, share and repeat with `COLUMNS` and `settings`. The method
        "nothing removed" has the share 0.

    Raises
    ------
    InputError
        When the file has rows with different settings.
    """
    store = Retrainings(path, settings)
    repeated = range(1, repeats + 1)
    shares_by_method = {WHOLE: [0.0], **{name: list(shares) for name in explainers}}
    todo = {
        method: [
            (share, repeat)
            for share in own_shares
            for repeat in repeated
            if (method, share, repeat) not in store
        ]
        for method, own_shares in shares_by_method.items()
    }
    total = sum(map(len, todo.values()))
    bar = progress_bar(
        total=total, desc="retrain", unit="training", disable=not progress
    )
    fill = None
    for method, runs in todo.items():
        if not runs:
            continue
        bar.set_postfix_str(method)
        missing = list(dict.fromkeys(share for share, _ in runs))
        if method == WHOLE:
            inputs = {s: {0.0: whole_inputs(domain, splits[s])} for s in SPLITS}
        else:
            fill = mean_of_bins(domain, splits["train"]) if fill is None else fill
            explainer = explainers[method]
            inputs = {
                s: remaining_inputs(explainer, domain, splits[s], missing, fill)
                for s in SPLITS
            }
        for share, repeat in runs:
            start = time.perf_counter()
            data = {s: inputs[s][share] for s in SPLITS}
            accuracy, epoch = retrain(model, data, learning, ("roar", seed, repeat))
            row = {
                "method": method,
                "share": share,
                "repeat": repeat,
                "accuracy": accuracy,
                "n_test": len(data["test"].labels),
                "epoch": epoch,
                "seconds": time.perf_counter() - start,
            }
            store.add(pd.DataFrame([row]))
            store.save()
            bar.update()
    bar.close()
    keys = [
        (method, share, repeat)
        for method, own_shares in shares_by_method.items()
        for share in sorted(own_shares)
        for repeat in repeated
    ]
    return store.rows(keys).assign(settings=settings)


class Retrainings(RowStore):
    """The finished retrainings of one experiment, in a CSV file.

    Arguments
    ---------
    path : Path
    settings : str
        From `settings_of`.

    Raises
    ------
    InputError
        When the file is not such a table, or has rows with different settings.
    """

    keys = ("method", "share", "repeat")
    about = "settings"
    text = ("method", "settings")
    exact = ("share", "accuracy", "seconds")

    def __init__(self, path: Path | str, settings: str) -> None:
        self.settings = settings
        super().__init__(path)

    def expected(self, rows: pd.DataFrame) -> str:
        """Return the settings, the same for all rows."""
        return self.settings

    def valid(self, rows: pd.DataFrame, file: Path) -> pd.DataFrame:
        """Return all rows; raise InputError if their settings differ."""
        if list(rows.columns) != [*COLUMNS, self.about]:
            raise InputError(f"{file} was not written by this recipe: remove it")
        if (rows[self.about] != self.settings).any():
            raise InputError(
                f"{file} has rows with different settings (data, classifier, "
                "interpreter, learner, seed or training): remove it, or set another "
                "--output_folder"
            )
        return rows


def settings_of(modules: Iterable[torch.nn.Module], *values: object) -> str:
    """Return a fingerprint of everything that the rows of a CSV file depend on.

    Arguments
    ---------
    modules : iterable of torch.nn.Module
        Modules whose weights are hashed.
    values : object
        Other dependencies, with a stable `repr`.

    Returns
    -------
    settings : str
        12 hexadecimal digits.
    """
    parts: list[str | bytes] = [repr(values)]
    for module in modules:
        for name, tensor in module.state_dict().items():
            parts += [name, np.ascontiguousarray(tensor.cpu().numpy()).tobytes()]
    return content_hash(*parts, n_bytes=6)
