"""Remove and retrain (ROAR, Hooker et al. 2019).

Is what a method marks what the classes are told by? The cells that it ranks highest
are taken out of every clip, in training, validation and test alike, and a classifier
is trained anew on what is left. The more it loses, the better the ranking. Since it
has been trained on clips with holes, it does not lose by the holes themselves.
"""

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from speechbrain_lmac.evaluation.randomisation import reinitialise
from speechbrain_lmac.evaluation.roar_inputs import (
    mean_of_bins,
    remaining_inputs,
    whole_inputs,
)
from speechbrain_lmac.evaluation.row_store import RowStore
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import content_hash
from speechbrain_lmac.utils.seeding import generator, seed_of

WHOLE = "nothing removed"  # the method of the clips as they are, with the share 0
SPLITS = ("train", "valid", "test")
COLUMNS = ["method", "share", "repeat", "accuracy", "n_test", "epoch", "seconds"]


@dataclass(frozen=True)
class Learning:
    """How a classifier is retrained.

    Arguments
    ---------
    number_of_epochs : int
    batch_size : int
        Clips per step.
    opt_class : callable
        Parameters to optimizer.
    annealing : training.schedules.Annealing
        A fresh one: each retraining has a copy.
    """

    number_of_epochs: int
    batch_size: int
    opt_class: object
    annealing: object


def retrain(model, splits: dict, learning, key: tuple) -> tuple[float, int]:
    """Train a classifier from random weights, and test it.

    The weights with the lowest validation loss are tested. Initial weights, order of
    the clips and dropout depend on the key alone: retrainings with the same key differ
    by their inputs only. There is no augmentation, and no checkpoint: the loop is not
    that of a Brain, since the features are in memory and a retraining takes seconds.

    Arguments
    ---------
    model : torch.nn.Module
        Features to `ClassifierOutput`. Its weights are replaced.
    splits : dict
        "train", "valid" and "test" to `Inputs`.
    learning : Learning
    key : tuple
        Of strings and numbers.

    Returns
    -------
    accuracy : float
        On the test split, 0 to 1.
    epoch : int
        Whose weights were tested.
    """
    reinitialise(model, *key, "weights")
    optimizer = learning.opt_class(model.parameters())
    annealing = copy.deepcopy(learning.annealing)  # some have a state
    train = splits["train"]
    steps = math.ceil(len(train.labels) / learning.batch_size)
    best, best_epoch, weights = math.inf, None, None
    for epoch in range(1, learning.number_of_epochs + 1):
        model.train()
        draw = generator(*key, "order", epoch)
        order = torch.randperm(len(train.labels), generator=draw)
        for step, places in enumerate(order.split(learning.batch_size)):
            done = (epoch - 1) * steps + step
            annealing.before_step(optimizer, done, steps)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(*key, "dropout", epoch, step))
                logits = train.logits(model, places)
            loss = F.cross_entropy(logits, train.labels[places])
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
        raise InputError("no epoch has a finite validation loss: choose a lower lr")
    model.load_state_dict(weights)
    return _test(model, splits["test"], learning.batch_size)[1], best_epoch


def _test(model, inputs, batch_size: int) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    model.eval()
    with torch.no_grad():
        every = torch.arange(len(inputs.labels)).split(batch_size)
        parts = [inputs.logits(model, places) for places in every]
    logits = torch.cat(parts)
    loss = F.cross_entropy(logits, inputs.labels).item()
    return loss, (logits.argmax(1) == inputs.labels).double().mean().item()


def remove_and_retrain(
    explainers: dict,
    domain,
    splits: dict,
    model,
    learning,
    shares: tuple[float],
    repeats: int,
    seed: int,
    path: Path,
    settings: str,
    progress: bool = True,
) -> pd.DataFrame:
    """Retrain for each method, share and repeat; one row of a csv file for each.

    The file is written after every retraining, and rows that it has are not computed
    again.

    Arguments
    ---------
    explainers : dict
        Name of the method to Explainer.
    domain : MaskDomain
    splits : dict
        "train", "valid" and "test" to an iterable of ClipBatch, gone through again for
        each method.
    model : torch.nn.Module
        The classifier that is retrained; not the one that is explained.
    learning : Learning
    shares : sequence
        Removed shares of the cells.
    repeats : int
        Retrainings with other initial weights.
    seed : int
    path : Path
        The csv file.
    settings : str
        Of `settings_of`: rows of other settings are refused.
    progress : bool
        Show a bar.

    Returns
    -------
    rows : pandas.DataFrame
        One row per method, share and repeat with `COLUMNS` and `settings`. The method
        "nothing removed" has the share 0.
    """
    store = Retrainings(path, settings)
    repeated = range(1, repeats + 1)
    wanted = {WHOLE: [0.0], **{method: list(shares) for method in explainers}}
    todo = {
        method: [
            (share, repeat)
            for share in shares_of
            for repeat in repeated
            if (method, share, repeat) not in store
        ]
        for method, shares_of in wanted.items()
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
        for method, shares_of in wanted.items()
        for share in sorted(shares_of)
        for repeat in repeated
    ]
    return store.rows(keys).assign(settings=settings)


class Retrainings(RowStore):
    """The retrainings that are finished, in a csv file of one experiment.

    Arguments
    ---------
    path : Path
    settings : str
        Of `settings_of`: a file with rows of others is refused.
    """

    keys = ("method", "share", "repeat")
    about = "settings"
    text = ("method", "settings")
    exact = ("share", "accuracy", "seconds")

    def __init__(self, path: Path, settings: str):
        self.settings = settings
        super().__init__(path)

    def prints(self, rows: pd.DataFrame) -> str:
        """The settings, of every row."""
        return self.settings

    def taken(self, rows: pd.DataFrame, file: Path) -> pd.DataFrame:
        """All rows; refused if they are of something else."""
        if list(rows.columns) != [*COLUMNS, self.about]:
            raise InputError(f"{file} is no table of this recipe: remove it")
        if (rows[self.about] != self.settings).any():
            raise InputError(
                f"{file} holds rows of other settings (data, classifier, interpreter, "
                "learner, seed or training): remove it, or name another --output_folder"
            )
        return rows


def settings_of(modules: list, *values) -> str:
    """A fingerprint of what the rows of a csv file depend on.

    Arguments
    ---------
    modules : sequence
        Of torch.nn.Module, whose weights count.
    values : object
        Whatever else counts, with a stable `repr`.

    Returns
    -------
    settings : str
        12 hexadecimal digits.
    """
    parts = [repr(values)]
    for module in modules:
        for name, tensor in module.state_dict().items():
            parts += [name, np.ascontiguousarray(tensor.cpu().numpy()).tobytes()]
    return content_hash(*parts, n_bytes=6)
