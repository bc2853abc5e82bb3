"""Attribution methods as explainers: the seam between a method and a mask.

A method has `attribute(question)`, which answers one number of any sign for each cell
of the representation, and `to_mask`, the rule that makes a mask of them. Everything it
may look at is in the `Question`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.domains.stft import recorded_samples
from speechbrain_lmac.dsp.pad_crop import join_recordings, recordings
from speechbrain_lmac.explainers.gradient_check import check_gradient_once
from speechbrain_lmac.types import Encoded, Explanation
from speechbrain_lmac.utils.errors import InputError


@dataclass(frozen=True)
class Question:
    """Why does the classifier give these clips the logit of their target?"""

    wav: torch.Tensor  # (B, N), what draws for a clip depend on
    encoded: Encoded  # of wav, rep (B, T, F)
    target: torch.Tensor  # (B,)
    domain: object
    classifier: object
    background: object  # () -> waveforms (K, N'), or None

    @property
    def rep(self) -> torch.Tensor:
        """The representation (B, T, F), ready to be differentiated by."""
        return self.encoded.rep.detach().requires_grad_()

    def logits(self, rep: torch.Tensor) -> torch.Tensor:
        """What the classifier says, (B', C), of representations (B', T, F).

        These are the clips of the question (B' = B), or many points for its only clip
        (B = 1), whose phase they share.
        """
        encoded = self.encoded.with_rep(rep)
        return classify(self.domain, self.classifier, encoded).logits

    def clips(self) -> "Iterator[Question]":
        """A question about each clip alone."""
        tensors = {n: v for n, v in vars(self.encoded).items() if torch.is_tensor(v)}
        for item in range(len(self.target)):
            only = slice(item, item + 1)
            encoded = replace(
                self.encoded, **{name: value[only] for name, value in tensors.items()}
            )
            yield replace(
                self, wav=self.wav[only], encoded=encoded, target=self.target[only]
            )

    def recordings(self) -> "Iterator[Question]":
        """A question about each clip cut to its recording, as if it were alone."""
        recorded = recorded_samples(self.encoded.lens, self.encoded.length)
        for n, clip in zip(recorded.clamp(min=1).tolist(), self.clips(), strict=True):
            wav = clip.wav[:, :n]
            with torch.no_grad():
                encoded = self.domain.encode(wav)
            yield replace(clip, wav=wav, encoded=encoded)

    def background_reps(self) -> torch.Tensor:
        """Representations (K, T, F) of the background, at the length of the clips.

        Longer waveforms are cut at their end, shorter ones followed by silence.
        """
        if self.background is None:
            raise InputError(
                "this method compares with background clips: give the explainer a "
                "background (speechbrain_lmac.data.background.TrainingClips)"
            )
        wav = self.background().to(self.wav)
        n_samples = self.encoded.length
        missing = max(0, n_samples - wav.shape[1])
        wav = torch.nn.functional.pad(wav, (0, missing))[:, :n_samples]
        with torch.no_grad():
            return self.domain.encode(wav).rep


class AttributionExplainer:
    """A method that takes the classifier's output apart into its input's cells.

    The logit of the target is explained, in the domain's representation: what is
    differentiated is ``classifier(domain.features(rep))``, on any domain and
    classifier, which are left as they are. A padded clip is explained by itself, cut to
    its recording; `to_mask` sees the frames that hold recording only, and the mask is 0
    in the padding.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    method : object
        ``attribute(question) -> (B, T, F)`` and ``to_mask(attribution)``, for example
        `speechbrain_lmac.explainers.Saliency`.
    background : callable
        ``() -> waveforms (K, N')``, for methods that compare with other clips.

    Raises
    ------
    InputError
        By `explain`, on its first clips: when no gradient passes through the
        classifier (`gradient_check.check_gradient`).
    """

    def __init__(self, domain, classifier, method, background=None):
        self.domain = domain
        self.classifier = classifier
        self.method = method
        self.background = background

    def explain(
        self, wav: torch.Tensor, target: torch.Tensor | None = None, lens=None
    ) -> Explanation:
        """Explain class `target` (default: the predicted one) of wav (B, N)."""
        check_gradient_once(self.domain, self.classifier, wav)
        with torch.no_grad():
            encoded = self.domain.encode(wav, lens)
            logits = classify(self.domain, self.classifier, encoded).logits
        question = Question(
            wav=wav,
            encoded=encoded,
            target=logits.argmax(1) if target is None else target,
            domain=self.domain,
            classifier=self.classifier,
            background=self.background,
        )
        with torch.enable_grad():
            attribution = self.attribution(question).detach()
        parts = map(self.method.to_mask, recordings(encoded.frames, attribution))
        mask = join_recordings(parts, attribution.shape[1])
        return Explanation(mask, question.target, encoded, logits)

    def attribution(self, question: Question) -> torch.Tensor:
        """What the method says of each cell, (B, T, F): in padded clips 0 behind."""
        if question.encoded.lens is None:
            return self.method.attribute(question)
        parts = map(self.method.attribute, question.recordings())
        return join_recordings(parts, question.encoded.rep.shape[1])


class Baselines:
    """The methods of a table, by the names of its rows.

    Arguments
    ---------
    methods : dict
        Name to method; None leaves a method out.

    Raises
    ------
    InputError
        When a name has no method: it may be misspelt in the YAML.
    """

    def __init__(self, methods: dict):
        self.methods = {n: m for n, m in methods.items() if m is not None}
        for name, method in self.methods.items():
            if not hasattr(method, "attribute"):
                known = [n for n, m in self.methods.items() if hasattr(m, "attribute")]
                raise InputError(
                    f"'{name}' is no method but {method!r}; the methods are "
                    f"{', '.join(known)}"
                )

    def explainers(
        self, domain, classifier, background=None
    ) -> dict[str, AttributionExplainer]:
        """Name to `AttributionExplainer`, in the order of the methods."""
        return {
            name: AttributionExplainer(domain, classifier, method, background)
            for name, method in self.methods.items()
        }
