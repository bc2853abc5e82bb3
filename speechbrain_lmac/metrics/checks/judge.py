"""EVAL-X and the encode-meter: judges of masked clips other than the classifier.

The explained classifier f has not been trained on masked clips, and a mask can be made
for its weaknesses there. A judge q is a copy of f, trained to match f(X) on X masked at
random: it knows masked clips, and no mask of its training encodes a class (EVAL-X,
Jethani et al. 2021, arXiv 2103.01890). A second judge q', trained as long on the masks
of an explainer, can also read its class from the shape of the mask. log q' - log q is
what the shape adds (the encode-meter of Puli et al. 2024, arXiv 2411.02664).
recipes/train_judge.py trains both.
"""

from collections.abc import Mapping
from pathlib import Path

import torch

from speechbrain_lmac.classifiers.frozen import Frozen, trainable_copy
from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.hub.weights import fetch, load_weights, save_weights
from speechbrain_lmac.interpreters.trained import check_trained_for
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.checks import ExplainedBatch
from speechbrain_lmac.types import Encoded, MaskDomain
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import fingerprint_of

JUDGE_FILE = "judge.ckpt"
ADVICE = """\
  Train a judge (python recipes/train_judge.py hparams/NAME.yaml), and set the source
  to its results folder (results/NAME/SEED), which contains {filename}."""

EVAL_X_EXPLANATION = Score(
    name="EVAL-X explanation",
    higher_is_better=True,
    unit="%",
    description="share of explanations that a judge, trained on randomly masked clips, "
    "assigns to the explained class",
)
EVAL_X_REST = Score(
    name="EVAL-X rest",
    higher_is_better=False,
    unit="%",
    description="the same share of the rests",
)
EVAL_X_P = Score(
    name="EVAL-X p",
    higher_is_better=True,
    description="the judge's probability of the explained class for the explanation",
)
ENCODE_METER = Score(
    name="encode-meter",
    unit="nats",
    partial=True,
    description="log q' - log q of the explained class for the explanation, q' a judge "
    "trained on the method's own masks, q one trained on random masks: what the shape "
    "of the mask adds; 0: no encoding; none for a method without a judge",
)


def eval_x(
    judged_in: torch.Tensor, judged_out: torch.Tensor, target: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the EVAL-X scores of explanations.

    [argmax q(M * X) = y], [argmax q((1 - M) * X) = y] and q(y | M * X)
    (Jethani et al. 2021, arXiv 2103.01890).

    Arguments
    ---------
    judged_in, judged_out : torch.Tensor
        Logits of the judge for the masked-in and masked-out parts, (B, C).
    target : torch.Tensor
        y, the explained classes (B,), int64.

    Returns
    -------
    scores : dict
        Name to values (B,), float64: the first two 0 or 100, the last in 0..1. NaN
        where the logits have a NaN.

    Example
    -------
    >>> judged_in, judged_out = torch.tensor([[3.0, 3.0]]).log(), torch.zeros(1, 2)
    >>> scores = eval_x(torch.tensor([[3.0, 1.0]]).log(), judged_out, torch.tensor([0]))
    >>> [round(value.item(), 2) for value in scores.values()]
    [100.0, 100.0, 0.75]
    """
    undefined = judged_in.isnan().any(1) | judged_out.isnan().any(1)
    same_in, same_out = (
        100 * (judged.argmax(1) == target).double()
        for judged in (judged_in, judged_out)
    )
    p = judged_in.double().softmax(1).gather(1, target[:, None])[:, 0]
    scores = {
        EVAL_X_EXPLANATION.name: same_in,
        EVAL_X_REST.name: same_out,
        EVAL_X_P.name: p,
    }
    return {
        name: value.masked_fill(undefined, torch.nan) for name, value in scores.items()
    }


def encode_meter(
    judged: torch.Tensor, encoding: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Return log q'(y | M * X) - log q(y | M * X), in nats.

    The encode-meter of STRIPE-X (Puli et al. 2024, arXiv 2411.02664).

    Arguments
    ---------
    judged : torch.Tensor
        Logits of q, the judge trained on random masks, (B, C).
    encoding : torch.Tensor
        Logits of q', the judge trained on the explainer's masks, (B, C).
    target : torch.Tensor
        y, the explained classes (B,), int64.

    Returns
    -------
    nats : torch.Tensor
        Shape (B,), float64; NaN where the logits have a NaN.

    Example
    -------
    >>> q, encoding = torch.tensor([[1.0, 1.0]]).log(), torch.tensor([[3.0, 1.0]]).log()
    >>> encode_meter(q, encoding, torch.tensor([0]))  # ln(0.75 / 0.5)
    tensor([0.4055], dtype=torch.float64)
    """
    log_q, log_encoding = (
        logits.double().log_softmax(1).gather(1, target[:, None])[:, 0]
        for logits in (judged, encoding)
    )
    return log_encoding - log_q


def save_judge(
    judge: torch.nn.Module, path: Path | str, classifier: str, domain: MaskDomain
) -> None:
    """Write the weights of a judge, with the hashes of its classifier and domain.

    Arguments
    ---------
    judge : torch.nn.Module
        From `trainable_copy`.
    path : str or Path
        The file to write.
    classifier : str
        `hash_of_classifier` of the classifier that it was trained to match.
    domain : MaskDomain
        The domain of the masks that it was trained on.
    """
    save_weights(judge, path, classifier=classifier, domain=fingerprint_of(domain))


class TrainedJudge:
    """A judge of a classifier, with its weights, frozen.

    It can be built before the judge is trained: a missing file is an error of `judges`,
    which is to be called before `logits`.

    Arguments
    ---------
    classifier : Frozen
        As loaded. The judge has its architecture.
    source : str or Path
        `judge.ckpt`, a folder that contains one (the results folder of
        train_judge.py), the name of a shipped model, or a hub id.

    Raises
    ------
    InputError
        When the file does not fit the classifier's model, or was trained for another
        classifier.
    """

    def __init__(self, classifier: Frozen, source: Path | str) -> None:
        model = trainable_copy(classifier)
        self.model = Frozen(model)
        self._domain: str | None = None
        self._missing: InputError | None = None
        path = Path(source)
        try:
            path = path if path.is_file() else fetch(source, JUDGE_FILE, ADVICE)
        except InputError as error:
            self._missing = error
            return
        stored = load_weights(model, path)
        check_trained_for(getattr(stored, "classifier", None), path, classifier)
        self._domain = getattr(stored, "domain", None)

    def judges(self, domain: MaskDomain) -> bool:
        """Return whether it was trained in this domain; True if its own is unknown.

        Raises
        ------
        InputError
            When its file is missing.
        """
        if self._missing is not None:
            raise self._missing
        return self._domain in (None, fingerprint_of(domain))

    @torch.no_grad()
    def logits(self, domain: MaskDomain, masked: Encoded) -> torch.Tensor:
        """Return its logits for masked clips.

        Arguments
        ---------
        domain : MaskDomain
            One that it `judges`.
        masked : Encoded
            Of B clips.

        Returns
        -------
        logits : torch.Tensor
            Shape (B, C).
        """
        return classify(domain, self.model.to(masked.rep.device), masked).logits


class Judge:
    """EVAL-X: a judge's class for explanation and rest (`eval_x`).

    A check of `evaluation.evaluate`. It has no columns in a domain that its judge was
    not trained in.

    Arguments
    ---------
    classifier : Frozen
        The explained classifier, as loaded.
    source : str or Path
        Of the judge, see `TrainedJudge`.
    """

    def __init__(self, classifier: Frozen, source: Path | str) -> None:
        self.judge = TrainedJudge(classifier, source)

    def scores(
        self, domain: MaskDomain, truth: GroundTruth | None = None
    ) -> tuple[Score, ...]:
        """Return the columns; none in a domain that the judge does not know.

        Arguments and returns are those of `Check.scores`.
        """
        known = self.judge.judges(domain)
        return (EVAL_X_EXPLANATION, EVAL_X_REST, EVAL_X_P) if known else ()

    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Of B clips.

        Returns
        -------
        scores : dict
            Name of each of `scores` to its values, (B,), float64.
        """
        if not self.scores(batch.domain):
            return {}
        parts, target = batch.masked_audio, batch.explanation.target
        judged_in, judged_out = (
            self.judge.logits(batch.domain, part)
            for part in (parts.masked_in, parts.masked_out)
        )
        return eval_x(judged_in, judged_out, target)


class EncodeMeter:
    """What the shape of a method's masks adds to the selected values (`encode_meter`).

    A check of `evaluation.evaluate`, for the methods that have a judge of their own.

    Arguments
    ---------
    classifier : Frozen
        The explained classifier, as loaded.
    source : str or Path
        Of q, the judge trained on random masks, see `TrainedJudge`.
    encoding : dict
        Row of the table to the source of q', the judge trained on its masks.
    """

    def __init__(
        self,
        classifier: Frozen,
        source: Path | str,
        encoding: Mapping[str, Path | str],
    ) -> None:
        self.judge = TrainedJudge(classifier, source)
        self.encoding = {
            method: TrainedJudge(classifier, own) for method, own in encoding.items()
        }

    def scores(
        self, domain: MaskDomain, truth: GroundTruth | None = None
    ) -> tuple[Score, ...]:
        """Return the column; none in a domain that the judges do not know.

        Arguments and returns are those of `Check.scores`.
        """
        judges = (self.judge, *self.encoding.values())
        return (ENCODE_METER,) if all(j.judges(domain) for j in judges) else ()

    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Of B clips, with `method`.

        Returns
        -------
        scores : dict
            "encode-meter" to its values in nats, (B,), float64; NaN for a method
            without a judge of its own.
        """
        if not self.scores(batch.domain):
            return {}
        target, masked = batch.explanation.target, batch.masked_audio.masked_in
        own = self.encoding.get(batch.method or "")
        if own is None:
            nats = torch.full(target.shape, torch.nan, dtype=torch.float64)
        else:
            judged, encoding = (
                judge.logits(batch.domain, masked) for judge in (self.judge, own)
            )
            nats = encode_meter(judged, encoding, target)
        return {ENCODE_METER.name: nats}
