"""Faithfulness of explanations: the classifier's confidence in their parts.

One score per clip, from logits, in float64. Functions with a `target` score the softmax
probability of that class; L-MAC scores the predicted class (Paissan, Ravanelli,
Subakan, ICML 2024, arXiv 2403.13086). p is the probability for the whole input, p_in
for the masked-in part, p_out for the masked-out part.

All computations are on log-probabilities, and log(1 - p) is computed from the logits of
the other classes: for a confident classifier p == 1.0 in float32, and `1 - p` would be
0 although the logits distinguish 1e-9 from 1e-12.

NaN and +inf logits give NaN scores, which the caller counts; a logit of -inf is a
probability of 0.
"""

import math

import torch

# Smaller gains count as rounding error, not as an increase. With the strict p_in > p of
# the papers, rounding gives an all-ones mask an AI of 31 to 44 %.
AI_TOLERANCE = 1e-6

# Probability of the other classes, 1 - p, below which the gain is set to 0.
SATURATION = 1e-10


def check_same_shape(
    name: str, tensor: torch.Tensor, of: str, reference: torch.Tensor
) -> None:
    """Raise ValueError unless `tensor` has the shape of `reference`.

    Arguments
    ---------
    name, of : str
        Names of the two tensors, for the message.
    tensor, reference : torch.Tensor
        Any shape.
    """
    if tensor.shape != reference.shape:
        raise ValueError(
            f"{name} must have the shape of {of} {tuple(reference.shape)}, "
            f"got {tuple(tensor.shape)}"
        )


def target_probability(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the softmax probability of the target class.

    Arguments
    ---------
    logits : torch.Tensor
        Shape (B, C).
    target : torch.Tensor
        Class index of each item, shape (B,).

    Returns
    -------
    p : torch.Tensor
        Shape (B,), float64, 0 to 1.

    Example
    -------
    >>> target_probability(
    ...     torch.tensor([[0.0, 0.0], [0.0, 80.0]]), torch.tensor([1, 1])
    ... )
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    return _log_p(logits, target)[0].exp()


def saturated(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return whether the classifier is too confident for a gain: 1 - p < SATURATION.

    Such clips score an average gain of 0 and are counted.

    Arguments
    ---------
    logits : torch.Tensor
        Logits of the whole input, shape (B, C).
    target : torch.Tensor
        Shape (B,).

    Returns
    -------
    saturated : torch.Tensor
        Shape (B,), bool. False for NaN logits.

    Example
    -------
    >>> saturated(torch.tensor([[22.0, 0.0], [24.0, 0.0]]), torch.tensor([0, 0]))
    tensor([False,  True])
    """
    return _log_p(logits, target)[1].exp() < SATURATION


def average_increase(
    logits: torch.Tensor, logits_in: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Return whether the explanation alone raises the confidence, in percent.

    100 * [p_in - p > AI_TOLERANCE]   (Grad-CAM++, Chattopadhay et al. 2018, with a
    tolerance)

    Arguments
    ---------
    logits : torch.Tensor
        Logits of the whole input, shape (B, C).
    logits_in : torch.Tensor
        Logits of the masked-in part, shape (B, C).
    target : torch.Tensor
        Class index of each item, shape (B,).

    Returns
    -------
    increase : torch.Tensor
        Shape (B,), 0 or 100. Higher is better.

    Example
    -------
    >>> p = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.5, 0.5]])
    >>> p_in = torch.tensor([[0.4, 0.6], [0.9, 0.1], [0.5, 0.5]])
    >>> average_increase(p.log(), p_in.log(), torch.tensor([0, 0, 0]))
    tensor([  0., 100.,   0.], dtype=torch.float64)
    """
    check_same_shape("logits_in", logits_in, "logits", logits)
    change = _change(logits, logits_in, target)
    return _nan_where_nan(100 * (change > AI_TOLERANCE).double(), change)


def average_drop(
    logits: torch.Tensor, logits_in: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Return the relative loss of confidence for the explanation alone, in percent.

    100 * max(0, p - p_in) / p   (Grad-CAM++, Chattopadhay et al. 2018)

    Arguments
    ---------
    logits : torch.Tensor
        Logits of the whole input, shape (B, C).
    logits_in : torch.Tensor
        Logits of the masked-in part, shape (B, C).
    target : torch.Tensor
        Class index of each item, shape (B,).

    Returns
    -------
    drop : torch.Tensor
        Shape (B,), 0 to 100. Lower is better.

    Example
    -------
    >>> p = torch.tensor([[0.8, 0.2], [0.5, 0.5]], dtype=torch.float64)
    >>> p_in = torch.tensor([[0.4, 0.6], [0.9, 0.1]], dtype=torch.float64)
    >>> average_drop(p.log(), p_in.log(), torch.tensor([0, 0]))
    tensor([50.0000,  0.0000], dtype=torch.float64)
    """
    check_same_shape("logits_in", logits_in, "logits", logits)
    log_p, _ = _log_p(logits, target)
    log_p_in, _ = _log_p(logits_in, target)
    return _relative_loss(log_p, log_p_in)


def average_drop_double_softmax(
    logits: torch.Tensor, logits_in: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Return the average drop as the public code of L-MAC computes it, in percent.

    That code applies the softmax to probabilities: with many classes the result is
    close to 100 * (1 - exp(p_in - p)), an absolute drop of at most 100 * (1 - 1/e) =
    63.2. The AD of the published tables is this score; `average_drop` follows the
    definition.

    Arguments
    ---------
    logits : torch.Tensor
        Logits of the whole input, shape (B, C).
    logits_in : torch.Tensor
        Logits of the masked-in part, shape (B, C).
    target : torch.Tensor
        Class index of each item, shape (B,).

    Returns
    -------
    drop : torch.Tensor
        Shape (B,), 0 to 63.2. Lower is better.

    Example
    -------
    >>> sure, of_another = torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]])
    >>> average_drop_double_softmax(sure, of_another, torch.tensor([0]))
    tensor([63.2121], dtype=torch.float64)
    >>> average_drop(sure, of_another, torch.tensor([0]))
    tensor([100.], dtype=torch.float64)
    """
    p = logits.double().softmax(1)
    p_in = logits_in.double().softmax(1)
    return average_drop(p, p_in, target)


def average_gain(
    logits: torch.Tensor, logits_in: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Return the relative gain of confidence for the explanation alone, in percent.

    100 * max(0, p_in - p) / (1 - p)   (Opti-CAM, Zhang et al. 2023)

    A `saturated` item scores 0.

    Arguments
    ---------
    logits : torch.Tensor
        Logits of the whole input, shape (B, C).
    logits_in : torch.Tensor
        Logits of the masked-in part, shape (B, C).
    target : torch.Tensor
        Class index of each item, shape (B,).

    Returns
    -------
    gain : torch.Tensor
        Shape (B,), 0 to 100. Higher is better.

    Example
    -------
    >>> p = torch.tensor([[0.8, 0.2], [0.5, 0.5]], dtype=torch.float64)
    >>> p_in = torch.tensor([[0.4, 0.6], [0.9, 0.1]], dtype=torch.float64)
    >>> average_gain(p.log(), p_in.log(), torch.tensor([0, 0]))
    tensor([ 0., 80.], dtype=torch.float64)
    """
    check_same_shape("logits_in", logits_in, "logits", logits)
    _, log_rest = _log_p(logits, target)
    _, log_rest_in = _log_p(logits_in, target)
    # (p_in - p) / (1 - p) is the relative loss of the other classes, which avoids a
    # 1 - p that rounds to 0.
    gain = _relative_loss(log_rest, log_rest_in)
    gain = gain.masked_fill(saturated(logits, target), 0.0)
    return _nan_where_nan(gain, log_rest_in)


def faithfulness(
    logits: torch.Tensor, logits_out: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Return the drop of confidence without the explanation.

    p - p_out   (L-MAC; the "FF" of the tables)

    Arguments
    ---------
    logits : torch.Tensor
        Logits of the whole input, shape (B, C).
    logits_out : torch.Tensor
        Logits of the masked-out part, shape (B, C).
    target : torch.Tensor
        Class index of each item, shape (B,).

    Returns
    -------
    faithfulness : torch.Tensor
        Shape (B,), -1 to 1. Higher is better.

    Example
    -------
    >>> p = torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    >>> p_out = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    >>> faithfulness(p.log(), p_out.log(), torch.tensor([0]))
    tensor([0.5000], dtype=torch.float64)
    """
    check_same_shape("logits_out", logits_out, "logits", logits)
    return -_change(logits, logits_out, target)


def input_fidelity(logits: torch.Tensor, logits_in: torch.Tensor) -> torch.Tensor:
    """Return whether the explanation alone is classified as the whole input.

    [argmax p(X) = argmax p(M.X)]   (L-MAC; the "Fid-In" of the tables)

    Arguments
    ---------
    logits : torch.Tensor
        Logits of the whole input, shape (B, C).
    logits_in : torch.Tensor
        Logits of the masked-in part, shape (B, C).

    Returns
    -------
    fidelity : torch.Tensor
        Shape (B,), 0 or 1. Higher is better.

    Example
    -------
    >>> logits = torch.tensor([[2.0, 1.0], [2.0, 1.0]])
    >>> input_fidelity(logits, torch.tensor([[9.0, 1.0], [0.0, 1.0]]))
    tensor([1., 0.], dtype=torch.float64)
    """
    check_same_shape("logits_in", logits_in, "logits", logits)
    same = (logits.argmax(1) == logits_in.argmax(1)).double()
    # The softmax sums to 1 over classes, or to NaN where it is undefined.
    defined = logits.double().softmax(1).sum(1) + logits_in.double().softmax(1).sum(1)
    return _nan_where_nan(same, defined)


def target_fidelity(logits_in: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return whether the explanation alone is classified as the target.

    [argmax p(M.X) = target]   (ours; input fidelity where the target is the prediction)

    Arguments
    ---------
    logits_in : torch.Tensor
        Logits of the masked-in part, shape (B, C).
    target : torch.Tensor
        Explained class of each item, shape (B,).

    Returns
    -------
    fidelity : torch.Tensor
        Shape (B,), 0 or 1. Higher is better, if the class is present.

    Example
    -------
    >>> target_fidelity(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1]))
    tensor([1., 0.], dtype=torch.float64)
    """
    own, _ = _log_p(logits_in, target)
    return _nan_where_nan((logits_in.argmax(1) == target).double(), own)


def _log_p(
    logits: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log p (B,) of the target and log (1 - p) (B,) of the other classes."""
    if target.shape != logits.shape[:1]:
        raise ValueError(
            f"target must have shape ({logits.shape[0]},), one class per item, "
            f"got {tuple(target.shape)}"
        )
    logits = logits.double()
    target = target.unsqueeze(1)
    total = logits.logsumexp(1)
    # The softmax is undefined for a logit of +inf, and if all are -inf: make both
    # results NaN, not just one.
    total = total.masked_fill(total.isinf(), math.nan)
    own = logits.gather(1, target).squeeze(1)
    rest = logits.scatter(1, target, -math.inf).logsumexp(1)
    return own - total, rest - total


def _change(
    logits: torch.Tensor, logits_after: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Return p_after - p (B,), computed from the smaller of p and 1 - p."""
    log_p, log_rest = _log_p(logits, target)
    log_p_after, log_rest_after = _log_p(logits_after, target)
    rise = log_p_after.exp() - log_p.exp()
    fall_of_rest = log_rest.exp() - log_rest_after.exp()
    return torch.where(log_p > log_rest, fall_of_rest, rise)


def _relative_loss(log_before: torch.Tensor, log_after: torch.Tensor) -> torch.Tensor:
    """Return 100 * max(0, before - after) / before (B,), also where both underflow."""
    return 100 * (1 - (log_after - log_before).clamp(max=0).exp())


def _nan_where_nan(score: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Return the score (B,), NaN where its source (B,) is NaN."""
    return score.masked_fill(source.isnan(), math.nan)
