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

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from speechbrain_lmac.console import progress_bar
from speechbrain_lmac.draws import generator, seed_of
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.evidence import check_mask
from speechbrain_lmac.fingerprints import content_hash
from speechbrain_lmac.masks import join_recordings, recordings
from speechbrain_lmac.metrics.curves import ranking, top_cells
from speechbrain_lmac.padding import lengths_of, masks_padding, on_recordings
from speechbrain_lmac.row_store import RowStore
from speechbrain_lmac.sanity import reinitialise

WHOLE = "nothing removed"  # the method of the clips as they are, with the share 0
SPLITS = ("train", "valid", "test")
COLUMNS = ["method", "share", "repeat", "accuracy", "n_test", "epoch", "seconds"]


@dataclass(frozen=True)
class Inputs:
    """What a classifier is retrained on: one split."""

    features: torch.Tensor  # (n, T, n_mels)
    labels: torch.Tensor  # (n,) class indices
    # (n,) int64, steps of the features that hold recording; None: nothing is padded.
    lengths: torch.Tensor | None = None

    def logits(self, model, places):
        """Logits of a classifier for some clips, (len(places), C)."""
        masks = self.lengths is not None and masks_padding(model)
        lengths = self.lengths[places] if masks else None
        return on_recordings(model, self.features[places], lengths, masks).logits


def mean_of_bins(domain, batches):
    """The mean of the representation in each bin, over clips and recorded frames.

    Returns
    -------
    means : torch.Tensor
        Shape (F,), float32.
    """
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            encoded = domain.encode(batch.wav, batch.lens)
            for rep in recordings(encoded.frames, encoded.rep.double()):
                total = total + rep.sum((0, 1))
                count += rep.shape[0] * rep.shape[1]
    if not count:
        raise InputError("nothing to retrain on: no clip in the training data")
    return (total / count).float()


def without_top(rep, cells, share, fill):
    """A representation whose highest cells say nothing any more.

    Arguments
    ---------
    rep : torch.Tensor
        Shape (B, T, F).
    cells : torch.Tensor
        From `metrics.curves.ranking`, shape (B, T F).
    share : float
        Of the cells, 0 to 1.
    fill : torch.Tensor
        What stands for a removed cell in each bin, shape (F,).

    Returns
    -------
    rep : torch.Tensor
        Shape (B, T, F).

    Example
    -------
    >>> rep = torch.tensor([[[5.0, 6.0], [7.0, 8.0]]])
    >>> without_top(rep, torch.tensor([[3, 0, 1, 2]]), 0.5, torch.tensor([1.0, 2.0]))
    tensor([[[1., 6.],
             [7., 2.]]])
    """
    removed = top_cells(cells, share, rep.shape[1:]).bool()
    return torch.where(removed, fill.expand_as(rep), rep)


def whole_inputs(domain, batches):
    """The features of the clips as they are: `Inputs`."""
    with torch.no_grad():
        whole = [domain.encode(batch.wav, batch.lens) for batch in batches]
        features = [domain.features(encoded) for encoded in whole]
    labels = torch.cat([batch.label for batch in batches])
    return Inputs(torch.cat(features), labels, joined_lengths(domain, whole, features))


def joined_lengths(domain, whole, features):
    """Lengths (n,) of the clips of some batches, or None where nothing is padded.

    Arguments
    ---------
    domain : MaskDomain
    whole : list
        Of Encoded.
    features : list
        What the classifier hears of each, (B, T, n_mels).
    """
    if all(encoded.lens is None for encoded in whole):
        return None
    lengths = []
    for encoded, heard in zip(whole, features, strict=True):
        full = torch.full((len(heard),), heard.shape[1])
        own = lengths_of(domain, encoded)
        lengths.append(full if own is None else own)
    return torch.cat(lengths)


def remaining_inputs(explainer, domain, batches, shares, fill):
    """The features of what is left of each clip, for each removed share.

    The explained class is the one that the frozen classifier predicts. A cell without
    a rank of its own, as in the zeros of a sparse mask, is drawn at random.

    Arguments
    ---------
    explainer : Explainer
    domain : MaskDomain
    batches : iterable
        Of ClipBatch, with labels.
    shares : sequence
        Removed shares of the cells.
    fill : torch.Tensor
        From `mean_of_bins`, shape (F,).

    Returns
    -------
    inputs : dict
        Share to `Inputs`.
    """
    features, labels, whole = {share: [] for share in shares}, [], []
    for batch in batches:
        explanation = explainer.explain(batch.wav, lens=batch.lens)
        encoded, mask = explanation.encoded, explanation.mask.detach()
        check_mask(mask, encoded.rep)
        broken = [
            clip
            for clip, m in zip(batch.ids, mask, strict=True)
            if not m.isfinite().all()
        ]
        if broken:
            raise InputError(f"the mask of clip {', '.join(broken)} holds NaN")
        reps = recordings(encoded.frames, encoded.rep)
        cells = [ranking(part) for part in recordings(encoded.frames, mask)]
        with torch.no_grad():
            for share in shares:
                left = [
                    without_top(rep, ranked, share, fill)
                    for rep, ranked in zip(reps, cells, strict=True)
                ]
                rep = join_recordings(left, mask.shape[1])
                features[share].append(domain.features(encoded.with_rep(rep)))
        labels.append(batch.label)
        whole.append(encoded)
    return {
        share: Inputs(
            torch.cat(parts), torch.cat(labels), joined_lengths(domain, whole, parts)
        )
        for share, parts in features.items()
    }


def retrain(model, splits, training, key):
    """Train a classifier from random weights, and test it.

    The weights with the lowest validation loss are tested. Initial weights, order of
    the clips and dropout depend on the key alone: retrainings with the same key differ
    by their inputs only. There is no augmentation.

    Arguments
    ---------
    model : torch.nn.Module
        Features to `ClassifierOutput`. Its weights are replaced.
    splits : dict
        "train", "valid" and "test" to `Inputs`.
    training : Training
        Epochs, batch size, optimizer and schedule.
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
    optimizer = training.opt_class(model.parameters())
    schedule = copy.deepcopy(training.schedule)  # some have a state
    train = splits["train"]
    steps = math.ceil(len(train.labels) / training.batch_size)
    best, best_epoch, weights = math.inf, None, None
    for epoch in range(1, training.number_of_epochs + 1):
        model.train()
        draw = generator(*key, "order", epoch)
        order = torch.randperm(len(train.labels), generator=draw)
        for step, places in enumerate(order.split(training.batch_size)):
            schedule.on_step(optimizer, (epoch - 1) * steps + step, steps)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(*key, "dropout", epoch, step))
                logits = train.logits(model, places)
            loss = F.cross_entropy(logits, train.labels[places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        valid_loss = _test(model, splits["valid"], training.batch_size)[0]
        schedule.on_epoch(optimizer, epoch, valid_loss)
        if valid_loss < best:
            best, best_epoch = valid_loss, epoch
            weights = copy.deepcopy(model.state_dict())
    if weights is None:
        raise InputError("no epoch has a finite validation loss: choose a lower lr")
    model.load_state_dict(weights)
    return _test(model, splits["test"], training.batch_size)[1], best_epoch


def _test(model, inputs, batch_size):
    """Mean cross-entropy and accuracy."""
    model.eval()
    with torch.no_grad():
        every = torch.arange(len(inputs.labels)).split(batch_size)
        parts = [inputs.logits(model, places) for places in every]
    logits = torch.cat(parts)
    loss = F.cross_entropy(logits, inputs.labels).item()
    return loss, (logits.argmax(1) == inputs.labels).double().mean().item()


def remove_and_retrain(
    explainers,
    domain,
    splits,
    model,
    training,
    shares,
    repeats,
    seed,
    path,
    settings,
    progress=True,
):
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
    training : Training
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
            accuracy, epoch = retrain(model, data, training, ("roar", seed, repeat))
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

    def __init__(self, path, settings):
        self.settings = settings
        super().__init__(path)

    def prints(self, rows):
        """The settings, of every row."""
        return self.settings

    def taken(self, rows, file):
        """All rows; refused if they are of something else."""
        if list(rows.columns) != [*COLUMNS, self.about]:
            raise InputError(f"{file} is no table of this recipe: remove it")
        if (rows[self.about] != self.settings).any():
            raise InputError(
                f"{file} holds rows of other settings (data, classifier, interpreter, "
                "learner, seed or training): remove it, or name another --output_folder"
            )
        return rows


def settings_of(modules, *values):
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
