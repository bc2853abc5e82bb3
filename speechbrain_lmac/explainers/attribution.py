"""Attribution methods as explainers.

A method has `attribute(inputs)`, which returns one signed number for each cell of the
representation, and `to_mask`, which maps these numbers to a mask. Its result depends
only on the `AttributionInputs`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.domains.stft import recorded_samples
from speechbrain_lmac.dsp.pad_crop import join_recordings, recordings
from speechbrain_lmac.explainers.gradient_check import check_gradient_once
from speechbrain_lmac.explainers.to_mask import ToMask
from speechbrain_lmac.types import Classifier, Encoded, Explanation, MaskDomain
from speechbrain_lmac.utils.errors import InputError

Background = Callable[[], torch.Tensor]  # () to waveforms (K, N')


@dataclass(frozen=True)
class AttributionInputs:
    """Clips, and the target classes whose logits are attributed to cells of rep."""

    wav: torch.Tensor  # (B, N); also seeds the random draws of each clip
    encoded: Encoded  # wav, encoded; its rep is (B, T, F)
    target: torch.Tensor  # (B,)
    domain: MaskDomain
    classifier: Classifier
    background: Background | None

    @property
    def rep(self) -> torch.Tensor:
        """The representation (B, T, F), with `requires_grad`."""
        return self.encoded.rep.detach().requires_grad_()

    def logits(self, rep: torch.Tensor) -> torch.Tensor:
        """Return the classifier's logits (B', C) of representations (B', T, F).

        Either one representation per clip (B' = B), or many for a single clip (B = 1),
        all with its phase.
        """
        encoded = self.encoded.with_rep(rep)
        return classify(self.domain, self.classifier, encoded).logits

    def clips(self) -> "Iterator[AttributionInputs]":
        """Yield the inputs of each clip, B = 1."""
        tensors = {n: v for n, v in vars(self.encoded).items() if torch.is_tensor(v)}
        for item in range(len(self.target)):
            only = slice(item, item + 1)
            own: dict[str, Any] = {name: v[only] for name, v in tensors.items()}
            encoded = replace(self.encoded, **own)
            yield replace(
                self, wav=self.wav[only], encoded=encoded, target=self.target[only]
            )

    def recordings(self) -> "Iterator[AttributionInputs]":
        """Yield the inputs of each clip, B = 1, without padding."""
        lens = self.encoded.lens
        if lens is None:
            yield from self.clips()
            return
        recorded = recorded_samples(lens, self.encoded.length)
        for n, clip in zip(recorded.clamp(min=1).tolist(), self.clips(), strict=True):
            wav = clip.wav[:, :n]
            with torch.no_grad():
                encoded = self.domain.encode(wav)
            yield replace(clip, wav=wav, encoded=encoded)

    def background_reps(self) -> torch.Tensor:
        """Return background representations (K, T, F), of the length of the clips.

        Longer waveforms are cropped at their end, shorter ones padded with silence.
        """
        if self.background is None:
            raise InputError(
                "this method needs background clips: set the explainer's background "
                "(speechbrain_lmac.data.background.TrainingClips)"
            )
        wav = self.background().to(self.wav)
        n_samples = self.encoded.length
        missing = max(0, n_samples - wav.shape[1])
        wav = torch.nn.functional.pad(wav, (0, missing))[:, :n_samples]
        with torch.no_grad():
            return self.domain.encode(wav).rep


class AttributionMethod(Protocol):
    """An attribution method, and its mapping from attributions to masks."""

    to_mask: ToMask

    def attribute(self, inputs: AttributionInputs, /) -> torch.Tensor:
        """Return attributions (B, T, F) of any sign."""


class AttributionExplainer:
    """Masks from the attributions of a method to the cells of the representation.

    The target's logit is attributed to rep, through
    ``classifier(domain.features(rep))``, for any domain and classifier; neither is
    modified. Padded clips are explained one at a time and without their padding, where
    the mask is 0; `to_mask` is applied to the frames before the padding only.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    method : AttributionMethod
        For example `speechbrain_lmac.explainers.Saliency`.
    background : callable, optional
        ``() -> waveforms (K, N')``, for methods that compare with other clips.

    Raises
    ------
    InputError
        From `explain`, on its first clips, if no gradient passes through the
        classifier (`gradient_check.check_gradient`).
    """

    def __init__(
        self,
        domain: MaskDomain,
        classifier: Classifier,
        method: AttributionMethod,
        background: Background | None = None,
    ) -> None:
        self.domain = domain
        self.classifier = classifier
        self.method = method
        self.background = background

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Explain waveforms with the attribution method.

        Arguments and returns are those of `types.Explainer.explain`: waveforms (B, N),
        and a mask (B, T, F) in 0..1.
        """
        check_gradient_once(self.domain, self.classifier, wav)
        with torch.no_grad():
            encoded = self.domain.encode(wav, lens)
            logits = classify(self.domain, self.classifier, encoded).logits
        inputs = AttributionInputs(
            wav=wav,
            encoded=encoded,
            target=logits.argmax(1) if target is None else target,
            domain=self.domain,
            classifier=self.classifier,
            background=self.background,
        )
        with torch.enable_grad():
            attribution = self.attribution(inputs).detach()
        parts = map(self.method.to_mask, recordings(encoded.frames, attribution))
        mask = join_recordings(parts, attribution.shape[1])
        return Explanation(mask, inputs.target, encoded, logits)

    def attribution(self, inputs: AttributionInputs) -> torch.Tensor:
        """Return the attributions (B, T, F) of the method, 0 in the padding."""
        if inputs.encoded.lens is None:
            return self.method.attribute(inputs)
        parts = map(self.method.attribute, inputs.recordings())
        return join_recordings(parts, inputs.encoded.rep.shape[1])


class Baselines:
    """The methods of a table, by the names of its rows.

    Arguments
    ---------
    methods : dict
        Name to `AttributionMethod`; None removes a method.

    Raises
    ------
    InputError
        When a value is not a method: the name may be misspelt in the YAML.
    """

    def __init__(self, methods: Mapping[str, AttributionMethod | None]) -> None:
        self.methods = {n: m for n, m in methods.items() if m is not None}
        for name, method in self.methods.items():
            if not hasattr(method, "attribute"):
                known = [n for n, m in self.methods.items() if hasattr(m, "attribute")]
                raise InputError(
                    f"'{name}' must be an attribution method, got {method!r}; the "
                    f"methods are {', '.join(known)}"
                )

    def explainers(
        self,
        domain: MaskDomain,
        classifier: Classifier,
        background: Background | None = None,
    ) -> dict[str, AttributionExplainer]:
        """Return an explainer for each method.

        Arguments
        ---------
        domain, classifier, background
            As `AttributionExplainer`; background waveforms have the shape (K, N').

        Returns
        -------
        explainers : dict
            Name to `AttributionExplainer`, in the order of the methods.
        """
        return {
            name: AttributionExplainer(domain, classifier, method, background)
            for name, method in self.methods.items()
        }
