"""The decoded file: does the classifier find the class in the audio that is written?

The papers' scores classify the masked representation. A listener gets its waveform,
which is decoded with the phase of the input, at its own level: the explanation and the
rest are brought to a peak of 1, as the files of `explain` are when they are classified.
"""

import torch

from speechbrain_lmac.classifiers.padding import classify_waveforms
from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.domains.stft import zero_padding
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.checks import ExplainedBatch
from speechbrain_lmac.metrics.checks.listeners import SILENT_PEAK
from speechbrain_lmac.metrics.faithfulness import target_probability
from speechbrain_lmac.types import Classifier, MaskDomain

P_EXPLANATION = Score(
    name="p heard explanation",
    higher_is_better=True,
    unit="",
    description="probability of the explained class for the decoded explanation at a "
    "peak of 1, as its file is classified",
)
P_REST = Score(
    name="p heard rest",
    higher_is_better=False,
    unit="",
    description="the same for the rest: p_out does not have its level",
)
REST_AS_TARGET = Score(
    name="rest heard as y",
    higher_is_better=False,
    unit="%",
    description="share of decoded rests at a peak of 1 that are classified as the "
    "explained class",
)
DECODED_SCORES = (P_EXPLANATION, P_REST, REST_AS_TARGET)


@torch.no_grad()
def decoded_logits(
    domain: MaskDomain,
    classifier: Classifier,
    wav: torch.Tensor,
    lens: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the logits of decoded waveforms, each brought to a peak of 1.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    wav : torch.Tensor
        Shape (B, N).
    lens : torch.Tensor, optional
        Shape (B,): share of each waveform that is recording; the rest is cut off.

    Returns
    -------
    logits : torch.Tensor
        Shape (B, C); NaN for a silent waveform (`SILENT_PEAK`), and for one that is not
        finite.
    """
    if lens is not None:
        wav = zero_padding(wav, lens)
    peak = wav.abs().amax(1)
    # Comparisons with NaN are false.
    audible = (peak > SILENT_PEAK) & (peak < torch.inf)
    finite = wav.masked_fill(~audible[:, None], 0.0)
    logits = classify_waveforms(domain, classifier, finite, lens)
    return logits.masked_fill(~audible[:, None], torch.nan)


class DecodedCheck:
    """Scores of the explanation and the rest as audio files, by the same classifier.

    A check of `evaluation.evaluate` for domains that are `listenable`.
    """

    def scores(self, domain: MaskDomain, truth: GroundTruth) -> tuple[Score, ...]:
        """Return the columns.

        Without audio, there is no column.
        Arguments and returns are those of `Check.scores`.
        """
        return DECODED_SCORES if domain.listenable else ()

    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Of B clips.

        Returns
        -------
        scores : dict
            Name of each of `scores` to its values, (B,), float64; NaN for a silent
            part.
        """
        if not batch.domain.listenable:
            return {}
        audio, target = batch.masked_audio, batch.evidence.target
        lens = batch.explanation.encoded.lens
        of_explanation, of_rest = (
            decoded_logits(batch.domain, batch.classifier, wav, lens)
            for wav in (audio.explanation, audio.rest)
        )
        same = 100 * (of_rest.argmax(1) == target).double()
        return {
            P_EXPLANATION.name: target_probability(of_explanation, target),
            P_REST.name: target_probability(of_rest, target),
            REST_AS_TARGET.name: same.masked_fill(of_rest.isnan().any(1), torch.nan),
        }
