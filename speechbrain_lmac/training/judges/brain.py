"""The base of the Brain that trains a judge."""

from typing import Any

import torch

from speechbrain_lmac.training.base_brain import RecordingBrain


def divergence(logits: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """Return the divergence of a judge from the classifier's probabilities, in nats.

    KL(f(X) || q(M * X)) = sum f(X) (log f(X) - log q(M * X)), the loss of EVAL-X
    (Jethani et al. 2021, arXiv 2103.01890) with f's probabilities as labels.

    Arguments
    ---------
    logits : torch.Tensor
        Of the classifier for the whole clips, (B, C).
    judged : torch.Tensor
        Of the judge for the masked clips, (B, C).

    Returns
    -------
    kl : torch.Tensor
        Shape (B,), not negative; with gradient.

    Example
    -------
    >>> certain, undecided = torch.tensor([[0.0, -100.0]]), torch.zeros(1, 2)
    >>> divergence(certain, undecided)  # ln 2
    tensor([0.6931])
    """
    expected, log_q = (x.float().log_softmax(1) for x in (logits, judged))
    return (expected.exp() * (expected - log_q)).sum(1)


class JudgeBrain(RecordingBrain):
    """A Brain whose last weights are tested, not those of the lowest loss.

    Judges that are compared, q and q' of the encode-meter, must have taken equally many
    steps.
    """

    def on_evaluate_start(
        self, max_key: str | None = None, min_key: str | None = None
    ) -> None:
        """Load the newest checkpoint."""
        super().on_evaluate_start()

    def loaded_epoch(self) -> int | None:
        """Return the epoch of the newest checkpoint."""
        found: Any = self.checkpointer.find_checkpoint()
        return None if found is None else found.meta["epoch"]

    def record_agreement(self, logits: torch.Tensor, **judged: torch.Tensor) -> None:
        """Record how often masked clips keep the class of the whole clip.

        Arguments
        ---------
        logits : torch.Tensor
            Of the classifier for the whole clips, (B, C).
        **judged : torch.Tensor
            Name of the record to logits (B, C) for the masked clips.
        """
        for name, other in judged.items():
            self.record(name, (other.argmax(1) == logits.argmax(1)).float())
