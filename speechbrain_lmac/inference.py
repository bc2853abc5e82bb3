"""Explain audio files: what is heard, what is left, and how sure the model was."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torchaudio
from speechbrain.dataio import audio_io

from speechbrain_lmac.dataio import fix_length, read_audio, to_model_level
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.files import write_atomically
from speechbrain_lmac.metrics import MM
from speechbrain_lmac.visualize import write_explanation_picture

# Characters of a prompt in a file name.
LONGEST_NAME = 60


@dataclass(frozen=True)
class FileExplanation:
    """One file, explained."""

    path: str
    sample_rate: int  # of the file and of the waveforms below, Hz
    input: torch.Tensor  # (N,) the file as the model heard it
    explanation: torch.Tensor  # (N,) what the mask keeps
    rest: torch.Tensor  # (N,) what it leaves
    model_rate: int  # of what the model heard, Hz
    magnitude: torch.Tensor  # (T, F) of the input, at the model's rate
    mask: torch.Tensor  # (T, F), in 0..1, on the bins of magnitude
    masked_magnitude: torch.Tensor  # (T, F) of the explanation
    predicted: str  # class
    explained: str  # class: the predicted one, or the one that was asked for
    confidence: float  # of the explained class for the input, 0 to 1
    confidence_in: float  # for the explanation
    confidence_out: float  # for the rest
    mask_mean: float  # 0 to 1

    def row(self):
        """The line of `explanations.csv`."""
        return {
            "file": self.path,
            "seconds": len(self.input) / self.sample_rate,
            "sample_rate": self.sample_rate,
            "predicted": self.predicted,
            "explained": self.explained,
            "confidence": self.confidence,
            "confidence_explanation": self.confidence_in,
            "confidence_rest": self.confidence_out,
            "mask_mean": self.mask_mean,
            "silent": not bool(self.input.any()),
        }

    def title(self):
        """What stands over its picture."""
        return (
            f"{Path(self.path).name}: {self.explained}, confidence "
            f"{self.confidence:.2f}, explanation alone "
            f"{self.confidence_in:.2f}, rest {self.confidence_out:.2f}"
        )


@dataclass(frozen=True)
class PromptExplanation(FileExplanation):
    """One file, explained for a prompt, which is `explained`.

    The confidences are among the prompts that were asked for; what tells of one of
    them alone is how near it is to the sound, by the CLAP.
    """

    similarity: float  # cosine of the input and the prompt, -1 to 1
    similarity_in: float  # of the explanation
    similarity_out: float  # of the rest

    def row(self):
        """The line of `explanations.csv`."""
        row = super().row()
        return {
            "file": row["file"],
            "seconds": row["seconds"],
            "sample_rate": row["sample_rate"],
            "prompt": self.explained,
            "similarity": self.similarity,
            "similarity_explanation": self.similarity_in,
            "similarity_rest": self.similarity_out,
            "mask_mean": row["mask_mean"],
            "silent": row["silent"],
        }

    def title(self):
        """What stands over its picture."""
        return (
            f"{Path(self.path).name}: {self.explained}, similarity "
            f"{self.similarity:.2f}, explanation alone "
            f"{self.similarity_in:.2f}, rest {self.similarity_out:.2f}"
        )


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


def explain_file(explainer, path, labels, device="cpu", target=None):
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

    Returns
    -------
    explained : FileExplanation

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or not finite; for a target that
        is no class.
    """
    if target is not None:
        target = torch.tensor([class_index(target, labels)], device=device)
    explained, _ = _explain(explainer, path, labels, device, target)
    return FileExplanation(**explained)


def explain_prompts(explainer, path, device="cpu"):
    """Explain an audio file for each prompt of a zero-shot classifier.

    Arguments
    ---------
    explainer : ZeroShotExplainer
        Its classifier has the prompts: `ClapClassifier.asked` gives it other ones.
    path, device
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
        target = torch.tensor([index], device=device)
        fields, evidence = _explain(explainer, path, classifier.labels, device, target)
        whole, kept, left = (
            (logits.double()[0, index] / classifier.clap.scale.double()).item()
            for logits in (evidence.logits, evidence.logits_in, evidence.logits_out)
        )
        explained.append(
            PromptExplanation(
                **fields, similarity=whole, similarity_in=kept, similarity_out=left
            )
        )
    return explained


def _explain(explainer, path, labels, device, target):
    """The fields of a `FileExplanation` of a file, and the evidence."""
    domain = explainer.domain
    channels, file_rate = read_audio(path)
    mono = channels.mean(0)
    heard = torchaudio.functional.resample(mono, file_rate, domain.sample_rate)
    level = heard.abs().max()
    with torch.no_grad():
        explanation = explainer.explain(to_model_level(heard)[None].to(device), target)
        evidence = gather_evidence(domain, explainer.classifier, explanation)
        encoded, mask = explanation.encoded, explanation.mask
        masked = domain.apply(encoded, mask)
        rest = domain.apply(encoded, 1 - mask)
        waves = torch.cat([domain.decode(part) for part in (masked, rest)]).cpu()
    waves = torch.stack([heard, *(waves * level)])
    waves = torchaudio.functional.resample(waves, domain.sample_rate, file_rate)
    waves = [fix_length(wave, len(mono)) for wave in waves]
    p, p_in, p_out = (
        logits.double().softmax(1)[0, evidence.target[0]].item()
        for logits in (evidence.logits, evidence.logits_in, evidence.logits_out)
    )
    explained = {
        "path": str(path),
        "sample_rate": file_rate,
        "input": waves[0],
        "explanation": waves[1],
        "rest": waves[2],
        "model_rate": domain.sample_rate,
        "magnitude": domain.magnitude(encoded)[0].cpu(),
        "mask": domain.on_bins(encoded, mask)[0].cpu(),
        "masked_magnitude": domain.magnitude(masked)[0].cpu(),
        "predicted": labels[int(evidence.logits[0].argmax())],
        "explained": labels[int(evidence.target[0])],
        "confidence": p,
        "confidence_in": p_in,
        "confidence_out": p_out,
        "mask_mean": MM(evidence).item(),
    }
    return explained, evidence


def write_explanation(explained, folder, name):
    """Write `NAME_input.wav`, `NAME_explanation.wav`, `NAME_rest.wav`, `NAME.png`.

    The audio is 32-bit float WAV, mono: nothing is clipped.
    """
    folder = Path(folder)
    for part in ("input", "explanation", "rest"):
        wav = getattr(explained, part)[None]
        write_atomically(
            folder / f"{name}_{part}.wav",
            lambda path, wav=wav: audio_io.save(
                str(path), wav, explained.sample_rate, subtype="FLOAT"
            ),
        )
    write_explanation_picture(
        folder / f"{name}.png",
        {
            "input": explained.magnitude,
            "mask": explained.mask,
            "explanation": explained.masked_magnitude,
        },
        extent=(
            len(explained.input) / explained.sample_rate,
            explained.model_rate / 2,
        ),
        title=explained.title(),
    )


def unique_names(paths):
    """A name for each file: its stem, numbered where stems are equal.

    Example
    -------
    >>> unique_names(["a/dog.wav", "b/dog.wav", "cat.flac"])
    ['dog', 'dog_2', 'cat']
    """
    names = []
    for path in paths:
        stem = Path(path).stem
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}_{number}", number + 1
        names.append(name)
    return names


def prompt_names(prompts):
    """A piece of a file name for each prompt: safe on any system, and distinct.

    Letters, digits and hyphens of ASCII, at most `LONGEST_NAME` of them; numbered where
    prompts would be called alike. There is no underscore, so that a file's name and a
    prompt's, with one between them, can be told apart again.

    Example
    -------
    >>> prompt_names(["A dog, barking", "a dog/barking", "雨"])
    ['a-dog-barking', 'a-dog-barking-2', 'prompt']
    """
    names = []
    for prompt in prompts:
        words = re.sub("[^a-z0-9]+", "-", prompt.lower())[:LONGEST_NAME].strip("-")
        stem = words or "prompt"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names
