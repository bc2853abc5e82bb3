"""Localisation in time: whether an explanation lies where its event is.

The saliency of a frame is the sum of the masked representation over its bins. A mask of
ones has the loudness of the clip as saliency: the level that a method has to exceed.
"""

import torch

from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.checks import ExplainedBatch
from speechbrain_lmac.metrics.faithfulness import check_same_shape
from speechbrain_lmac.types import MaskDomain

EVENT_IOU = Score(
    name="event IoU",
    higher_is_better=True,
    unit="",
    description="intersection over union of the event's frames and as many frames with "
    "the highest saliency; baseline: the row of all-ones masks; undefined where the "
    "classifier does not predict the event's class",
)
EVENT_F1 = Score(
    name="event F1",
    higher_is_better=True,
    unit="",
    description="F1 of the frames with at least half of the highest saliency as a "
    "detection of the event's frames; baseline and undefined as for event IoU",
)
POINTING_GAME = Score(
    name="pointing game",
    higher_is_better=True,
    unit="%",
    description="share of clips whose frame with the highest saliency is in the event; "
    "baseline and undefined as for event IoU",
)
EVENT_SCORES = (EVENT_IOU, EVENT_F1, POINTING_GAME)


def frame_saliency(
    masked: torch.Tensor, step: int, hop: int, n_frames: int
) -> torch.Tensor:
    """Return the sum of a masked representation over its bins, per frame of a hop.

    Frames of another step are added to the nearest frame, so that domains with other
    steps have scores on the same frames.

    Arguments
    ---------
    masked : torch.Tensor
        M * X, shape (B, T, F), at least 0; frame t lies at sample t * step.
    step, hop : int
        Samples from frame to frame, of the representation and of the result.
    n_frames : int
        Frames T' of the result; later ones are added to the last.

    Returns
    -------
    saliency : torch.Tensor
        Shape (B, T'), float64.

    Example
    -------
    >>> masked = torch.tensor([[[1.0, 2.0], [4.0, 0.0], [0.0, 0.5]]])
    >>> frame_saliency(masked, 2, 2, 3)
    tensor([[3.0000, 4.0000, 0.5000]], dtype=torch.float64)
    >>> frame_saliency(masked, 2, 4, 2)
    tensor([[3.0000, 4.5000]], dtype=torch.float64)
    """
    own = masked.double().sum(2)
    places = torch.arange(own.shape[1], device=own.device) * step
    nearest = ((places + hop // 2) // hop).clamp(max=n_frames - 1)
    return own.new_zeros(len(own), n_frames).index_add(1, nearest, own)


def event_frames(
    start: torch.Tensor, end: torch.Tensor, n_frames: int, hop: int, sample_rate: int
) -> torch.Tensor:
    """Return which frames lie in an event: start <= t hop / sample_rate < end.

    Arguments
    ---------
    start, end : torch.Tensor
        Of B events, shape (B,), seconds.
    n_frames : int
        Frames T.
    hop : int
        Samples from the centre of a frame to that of the next; the first is at 0.
    sample_rate : int
        Hz.

    Returns
    -------
    event : torch.Tensor
        Shape (B, T), bool.

    Example
    -------
    >>> event_frames(torch.tensor([0.1]), torch.tensor([0.3]), 5, 10, 100).int()
    tensor([[0, 1, 1, 0, 0]], dtype=torch.int32)
    """
    # In samples, to the nearest: 0.3 s times a rate may miss a whole number.
    first, last = (
        (side.double() * sample_rate).round()[:, None] for side in (start, end)
    )
    centres = torch.arange(n_frames, device=start.device) * hop
    return (centres >= first) & (centres < last)


def top_frames(saliency: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """Return the n frames with the highest saliency, as weights.

    Arguments
    ---------
    saliency : torch.Tensor
        Shape (B, T).
    n : torch.Tensor
        Frames to select in each row, shape (B,), int64, from 1 to T.

    Returns
    -------
    weights : torch.Tensor
        Shape (B, T), float64: 1 for a selected frame, 0 for others; frames that are
        equal at the threshold have equal weights, so that the sum is n.

    Example
    -------
    >>> top_frames(torch.tensor([[3.0, 1.0, 1.0, 0.0]]), torch.tensor([2]))
    tensor([[1.0000, 0.5000, 0.5000, 0.0000]], dtype=torch.float64)
    """
    ordered = saliency.sort(1, descending=True).values
    threshold = ordered.gather(1, n[:, None] - 1)
    above, equal = saliency > threshold, saliency == threshold
    missing = n - above.sum(1)
    return above + equal * (missing / equal.sum(1).double())[:, None]


def event_iou(saliency: torch.Tensor, event: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union of the event and as many salient frames.

    With n frames of the event and i of them among the n frames with the highest
    saliency: i / (2 n - i). For equal saliencies i is its expectation under a random
    order. n frames chosen at random out of T have i = n^2 / T on average.

    Arguments
    ---------
    saliency : torch.Tensor
        Shape (B, T); -inf for frames of padding.
    event : torch.Tensor
        Which frames lie in the event, shape (B, T), bool.

    Returns
    -------
    iou : torch.Tensor
        Shape (B,), 0 to 1, float64; NaN for an event without a frame, and where a
        saliency is NaN. Higher is better.

    Example
    -------
    >>> event = torch.tensor([[True, True, False, False]])
    >>> event_iou(torch.tensor([[0.9, 0.1, 0.5, 0.2]]), event)
    tensor([0.3333], dtype=torch.float64)
    """
    check_same_shape("event", event, "saliency", saliency)
    n = event.sum(1)
    shared = (top_frames(saliency, n.clamp(min=1)) * event).sum(1)
    return _defined(shared / (2 * n - shared), saliency, event)


def event_f1(saliency: torch.Tensor, event: torch.Tensor) -> torch.Tensor:
    """Return the F1 of the frames with at least half of the highest saliency.

    With i of the m selected frames among the n frames of the event: 2 i / (m + n).
    All frames selected: 2 n / (T + n).

    Arguments
    ---------
    saliency, event : torch.Tensor
        As in `event_iou`.

    Returns
    -------
    f1 : torch.Tensor
        Shape (B,), 0 to 1, float64; NaN as in `event_iou`. Higher is better.

    Example
    -------
    >>> event = torch.tensor([[True, True, False, False]])
    >>> event_f1(torch.tensor([[0.9, 0.1, 0.5, 0.2]]), event)
    tensor([0.5000], dtype=torch.float64)
    """
    check_same_shape("event", event, "saliency", saliency)
    selected = saliency >= saliency.amax(1, keepdim=True) / 2
    shared = (selected & event).sum(1).double()
    return _defined(2 * shared / (selected.sum(1) + event.sum(1)), saliency, event)


def pointing_game(saliency: torch.Tensor, event: torch.Tensor) -> torch.Tensor:
    """Return whether the frame with the highest saliency lies in the event, in percent.

    Of equal frames, the share in the event. The pointing game of images (Zhang et al.
    2016, arXiv 1608.00507) on time, without its tolerance.

    Arguments
    ---------
    saliency, event : torch.Tensor
        As in `event_iou`.

    Returns
    -------
    hit : torch.Tensor
        Shape (B,), 0 to 100, float64; NaN as in `event_iou`. Higher is better.

    Example
    -------
    >>> event = torch.tensor([[True, True, False, False]])
    >>> pointing_game(torch.tensor([[0.9, 0.1, 0.9, 0.2]]), event)
    tensor([50.], dtype=torch.float64)
    """
    check_same_shape("event", event, "saliency", saliency)
    highest = saliency == saliency.amax(1, keepdim=True)
    share = (highest & event).sum(1).double() / highest.sum(1)
    return _defined(100 * share, saliency, event)


def _defined(
    scores: torch.Tensor, saliency: torch.Tensor, event: torch.Tensor
) -> torch.Tensor:
    """Return scores (B,), NaN without a frame of the event or with a NaN saliency."""
    return scores.masked_fill(~event.any(1) | saliency.isnan().any(1), torch.nan)


class EventLocalisation:
    """Localisation of events at known times, per clip.

    A check of `evaluation.evaluate`, with columns where the condition knows the times
    (`data.events`). Clips whose class the classifier does not predict have NaN, for
    every method alike.
    """

    def scores(self, domain: MaskDomain, truth: GroundTruth) -> tuple[Score, ...]:
        """Return the columns: none without known events.

        Arguments and returns are those of `Check.scores`.
        """
        return EVENT_SCORES if truth.events is not None else ()

    @torch.no_grad()
    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Of B clips.

        Returns
        -------
        scores : dict
            Name of each of `EVENT_SCORES` to its values, (B,), float64; empty without
            events.
        """
        if batch.events is None:
            return {}
        domain, encoded = batch.domain, batch.explanation.encoded
        hop = domain.hop_length
        n_frames = encoded.length // hop + 1
        masked = batch.masked_audio.masked_in.rep
        saliency = frame_saliency(masked, domain.rep_step, hop, n_frames)
        event = event_frames(*batch.events, n_frames, hop, domain.sample_rate)
        if encoded.bin_frames is not None:
            frames = torch.arange(n_frames, device=saliency.device)
            padding = frames >= encoded.bin_frames[:, None]
            saliency = saliency.masked_fill(padding, -torch.inf)
            event = event & ~padding
        values = [f(saliency, event) for f in (event_iou, event_f1, pointing_game)]
        if batch.label is not None:
            wrong = batch.evidence.logits.argmax(1) != batch.label
            values = [value.masked_fill(wrong, torch.nan) for value in values]
        return {s.name: value for s, value in zip(EVENT_SCORES, values, strict=True)}
