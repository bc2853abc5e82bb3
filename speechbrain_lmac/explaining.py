"""Explain waveforms and audio files: what is heard, what is left, how sure it was."""

import difflib
from statistics import fmean

import torch

from speechbrain_lmac.audio import fix_length, read_audio, resample, to_model_level
from speechbrain_lmac.classifiers.zero_shot import ClapClassifier
from speechbrain_lmac.domains import check_lens, recorded_samples
from speechbrain_lmac.errors import InputError, some_of
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.explanations import (
    BatchExplanation,
    FileExplanation,
    PromptExplanation,
    WindowScores,
    join_batches,
)
from speechbrain_lmac.interpreters import (
    ClassConditionedInterpreter,
    L2IInterpreter,
    PresenceInterpreter,
    TextAttentionInterpreter,
    TextFiLMInterpreter,
    TrainedInterpreter,
)
from speechbrain_lmac.metrics import MM
from speechbrain_lmac.padding import by_length
from speechbrain_lmac.windows import Faded, window_starts

# Interpreters that are told in words what to look for, and all that answer for a class
# that is asked for (L2I's says what each component says for each class).
TOLD_IN_WORDS = (TextFiLMInterpreter, TextAttentionInterpreter, PresenceInterpreter)
TOLD = (ClassConditionedInterpreter, L2IInterpreter, *TOLD_IN_WORDS)

# Windows of a long file that are explained at once.
WINDOWS_AT_ONCE = 4
# So many windows long a file may be and is still heard as a whole.
LONGEST = 1.5


def class_index(name, labels):
    """The index of a class that is asked for by its name.

    Raises
    ------
    InputError
        For a name that is none of the labels, with the closest ones and all there are.

    Example
    -------
    >>> class_index("dog", ["cat", "dog"])
    1
    """
    if name in labels:
        return labels.index(name)
    close = difflib.get_close_matches(name, labels)
    meant = f"; did you mean {' or '.join(close)}?" if close else "."
    raise InputError(
        f"no class is called {name!r}{meant} The classes are {', '.join(labels)}"
    )


def check_target(names, interpreter):
    """Refuse to ask an interpreter for a class that it would not listen to."""
    if not isinstance(_untrained(interpreter), TOLD):
        raise InputError(
            f"target {some_of(sorted(set(names)))}: the interpreter is not told which "
            "class to explain, so its mask would be that of the predicted class; take "
            "one that was trained for any class, as by "
            "hparams/esc10_lmac_conditional.yaml"
        )


def check_prompts(classifier, interpreter, target=None):
    """Refuse prompts that nothing would read."""
    if target is not None:
        raise InputError(
            "a target names a class, a prompt asks for anything: give one of them"
        )
    if not isinstance(classifier, ClapClassifier):
        raise InputError(
            "prompts: this classifier reads no text; take a model with a CLAP, as "
            "esc10-lmac-zs or hparams/esc10_lmac_zs_stft.yaml, or name a target"
        )
    if not isinstance(_untrained(interpreter), TOLD_IN_WORDS):
        raise InputError(
            "prompts: the interpreter is not told the prompt, so its mask would be the "
            "same for all; take one that train_lmac_zs.py trained"
        )


def _untrained(interpreter):
    """What is in a `TrainedInterpreter`."""
    trained = isinstance(interpreter, TrainedInterpreter)
    return interpreter.interpreter if trained else interpreter


def explain_batch(explainer, wavs, labels, target=None, lens=None):
    """Explain a class for each of some waveforms at the model's rate.

    The peak of each is brought to 1 for the model, as in the training; what comes back
    has the input's level. The phase is the input's (docs/methods.md, listening).

    Arguments
    ---------
    explainer : Explainer
        With `domain` and `classifier`; the domain can decode.
    wavs : torch.Tensor
        Shape (B, N), on the device of the explainer.
    labels : list
        Class names in the order of the logits.
    target : torch.Tensor, optional
        The class to explain, shape (B,), int64; without: the predicted one.
    lens : torch.Tensor, optional
        Shape (B,): the share of each waveform that is recording, above 0, at most 1.
        Waveforms of one length are explained by themselves, cut to it: none depends on
        its neighbours. Waveforms, masks and magnitudes are 0 behind it. Without: all.

    Returns
    -------
    explained : BatchExplanation
    """
    if lens is None:
        return _explain_batch(explainer, wavs, labels, target)
    check_lens(lens, len(wavs))
    recorded = recorded_samples(lens, wavs.shape[1]).clamp(min=1)
    places, parts = [], []
    for own, length in by_length(recorded):
        asked = None if target is None else target[own]
        parts.append(_explain_batch(explainer, wavs[own, :length], labels, asked))
        places.append(own)
    n_frames = wavs.shape[1] // explainer.domain.hop_length + 1
    order = torch.cat(places).argsort()
    return join_batches(parts, order, wavs.shape[1], n_frames)


def _explain_batch(explainer, wavs, labels, target):
    """`explain_batch` of waveforms without padding."""
    domain = explainer.domain
    level = wavs.abs().amax(1, keepdim=True)
    heard = torch.stack([to_model_level(wav) for wav in wavs])
    with torch.no_grad():
        explanation = explainer.explain(heard, target)
        evidence = gather_evidence(domain, explainer.classifier, explanation)
        encoded, mask = explanation.encoded, explanation.mask
        masked = domain.apply_mask(encoded, mask)
        rest = domain.apply_mask(encoded, 1 - mask)
        everyone = torch.arange(len(wavs), device=wavs.device)
        confidence = [
            logits.double().softmax(1)[everyone, evidence.target]
            for logits in (evidence.logits, evidence.logits_in, evidence.logits_out)
        ]
        return BatchExplanation(
            labels=[labels[index] for index in evidence.target.tolist()],
            predicted=[labels[index] for index in evidence.logits.argmax(1).tolist()],
            confidence=confidence[0],
            confidence_in=confidence[1],
            confidence_out=confidence[2],
            explanation=domain.decode(masked) * level,
            rest=domain.decode(rest) * level,
            mask=domain.on_bins(encoded, mask),
            mask_mean=MM(evidence),
            magnitude=domain.magnitude(encoded),
            masked_magnitude=domain.magnitude(masked),
            logits=evidence.logits,
            logits_in=evidence.logits_in,
            logits_out=evidence.logits_out,
        )


def explain_file(
    explainer, path, labels, device="cpu", target=None, window_seconds=None
):
    """Explain a class for an audio file of any rate, length and channels.

    The channels are averaged, the rate is changed to the model's and the peak is
    brought to 1 for the model; what comes back has the file's rate, length and
    level, and nothing above the model's highest frequency. The phase is the input's
    (docs/methods.md, listening).

    Arguments
    ---------
    explainer : Explainer
        With `domain` and `classifier`; the domain can decode.
    path : str or Path
        The file.
    labels : list
        Class names in the order of the logits.
    device : str or torch.device
        Where the explainer is.
    target : str, optional
        The class to explain, among the labels; without: the predicted one. The mask
        answers only if the explainer listens to its target: L-MAC's does so with a
        `ClassConditionedInterpreter`.
    window_seconds : float, optional
        A file that is longer than one and a half of these is explained in windows of
        this length, which overlap by half: each is brought to the model's level, each
        explains the class that is predicted in it (unless there is a target), and they
        are put together by fading (`windows.Faded`). Without: the file as a whole.

    Returns
    -------
    explained : FileExplanation

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or not finite; for a target that
        is no class; for a domain that cannot be listened to.
    """
    if target is not None:
        target = class_index(target, labels)
    fields, _ = _explain(explainer, path, labels, device, target, window_seconds)
    return FileExplanation(**fields)


def explain_prompts(explainer, path, device="cpu", window_seconds=None):
    """Explain an audio file for each prompt of a zero-shot classifier.

    Arguments
    ---------
    explainer : ZeroShotExplainer
        Its classifier has the prompts: `ClapClassifier.asked` gives it other ones.
    path, device, window_seconds
        As `explain_file`.

    Returns
    -------
    explained : list
        A PromptExplanation for each prompt, in their order.

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or not finite.
    """
    classifier, explained = explainer.classifier, []
    for index in range(classifier.n_classes):
        fields, logits = _explain(
            explainer, path, classifier.labels, device, index, window_seconds
        )
        whole, kept, left = (
            (part.double()[:, index].mean() / classifier.clap.scale.double()).item()
            for part in logits
        )
        explained.append(
            PromptExplanation(
                **fields, similarity=whole, similarity_in=kept, similarity_out=left
            )
        )
    return explained


def _explain(explainer, path, labels, device, target, window_seconds):
    """The fields of a `FileExplanation`, and the logits of its windows.

    The logits are of the input, of the explanation and of the rest, (W, C) each.
    """
    domain = explainer.domain
    if not domain.listenable:
        raise InputError(
            f"{type(domain).__name__} cannot be listened to: take an interpreter that "
            "was trained on the STFT"
        )
    channels, file_rate = read_audio(path)
    n_samples = channels.shape[1]
    rate, hop = domain.sample_rate, domain.hop_length
    heard = resample(channels.mean(0), file_rate, rate)
    del channels  # a long file's
    length = len(heard)
    if window_seconds is not None and length > LONGEST * window_seconds * rate:
        length = max(hop, round(window_seconds * rate) // hop * hop)
    starts = window_starts(len(heard), length, hop)
    n_frames = len(heard) // hop + 1
    faded = {
        "explanation": Faded(len(heard)),
        "rest": Faded(len(heard)),
        "magnitude": Faded(n_frames, hop),
        "mask": Faded(n_frames, hop),
        "masked_magnitude": Faded(n_frames, hop),
    }
    windows, logits, sizes = [], [], []
    for some in _chunks(starts):
        wavs = torch.stack([heard[s : s + length] for s in some]).to(device)
        asked = None if target is None else torch.full((len(some),), target).to(device)
        answer = explain_batch(explainer, wavs, labels, asked)
        for name, parts in faded.items():
            for start, part in zip(some, getattr(answer, name).cpu(), strict=True):
                parts.add(start, part)
        windows += _windows(answer, some, length, rate)
        logits.append([answer.logits, answer.logits_in, answer.logits_out])
        sizes += answer.mask_mean.tolist()
    logits = [torch.cat(parts).cpu() for parts in zip(*logits, strict=True)]
    whole = {name: parts.whole() for name, parts in faded.items()}

    def as_the_file(wave):
        resampled = resample(wave, rate, file_rate)
        return fix_length(resampled, n_samples)

    predicted = labels[int(logits[0].double().softmax(1).mean(0).argmax())]
    fields = {
        "path": str(path),
        "sample_rate": file_rate,
        "input": as_the_file(heard),
        "explanation": as_the_file(whole.pop("explanation")),
        "rest": as_the_file(whole.pop("rest")),
        "model_rate": rate,
        **whole,
        "predicted": predicted,
        "explained": predicted if target is None else labels[target],
        "confidence": fmean(window.confidence for window in windows),
        "confidence_in": fmean(window.confidence_in for window in windows),
        "confidence_out": fmean(window.confidence_out for window in windows),
        "mask_mean": fmean(sizes),
        "windows": tuple(windows),
    }
    return fields, logits


def _chunks(starts):
    """The windows that are explained at once."""
    for first in range(0, len(starts), WINDOWS_AT_ONCE):
        yield starts[first : first + WINDOWS_AT_ONCE]


def _windows(answer, starts, length, rate):
    """`WindowScores` of some windows, of `length` samples at `rate`."""
    scores = zip(
        answer.predicted,
        answer.labels,
        answer.confidence.tolist(),
        answer.confidence_in.tolist(),
        answer.confidence_out.tolist(),
        strict=True,
    )
    return [
        WindowScores(start / rate, (start + length) / rate, *score)
        for start, score in zip(starts, scores, strict=True)
    ]
