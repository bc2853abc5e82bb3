"""Explain audio files of any length, window by window, in memory or to where you like.

A file goes through in blocks: mono, the model's rate, windows, masks, sounds that are
faded into each other, the file's rate. What is finished is handed to a sink, and the
sounds are heard once more by the classifier, as `classify_file` would hear them.
"""

import math
from dataclasses import dataclass
from statistics import fmean

import torch

from speechbrain_lmac.audio_streams import MonoFile, Resampler
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.explaining import (
    class_index,
    classify_waveforms,
    explain_windows,
    takes_target,
)
from speechbrain_lmac.explanations import (
    FileExplanation,
    FileScores,
    PromptExplanation,
    PromptScores,
    WindowScores,
)
from speechbrain_lmac.windows import Faded, Windows, window_length, window_starts

# Windows of a long file that are explained at once.
WINDOWS_AT_ONCE = 4
SOUNDS = ("explanation", "rest")
MAPS = ("magnitude", "mask", "masked_magnitude")


def explain_file(
    explainer, path, labels, device="cpu", target=None, window_seconds=None
):
    """Explain a class for an audio file of any rate, length and channels.

    The channels are averaged (`audio.choose_channel`), the rate is changed to the
    model's and the peak is brought to 1 for the model; what comes back has the file's
    rate, length and level, and nothing above the model's highest frequency. The phase
    is the input's (docs/methods.md, listening).

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
        The class to explain, among the labels; without: the one of the highest mean
        probability over all windows. The mask answers only if the explainer listens to
        its target: L-MAC's does so with a `ClassConditionedInterpreter`.
    window_seconds : float, optional
        A file that is longer than one and a half of these is explained in windows of
        this length, which overlap by half: each is brought to the model's level, and
        they are put together by fading (`windows.Faded`). Each explains the file's
        class if the explainer can be asked for one, else the class that is predicted in
        it. Without: the file as a whole.

    Returns
    -------
    explained : FileExplanation

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or not finite; for a target that
        is no class; for a domain that cannot be listened to; for logits that are not
        finite.
    """
    request = request_class(explainer, path, labels, device, target, window_seconds)
    sink = InMemory()
    scores = request.run(sink)
    return FileExplanation(**sink.whole(), **vars(scores))


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
    explained = []
    for request in request_prompts(explainer, path, device, window_seconds):
        sink = InMemory()
        scores = request.run(sink)
        explained.append(PromptExplanation(**sink.whole(), **vars(scores)))
    return explained


def request_class(
    explainer, path, labels, device="cpu", target=None, window_seconds=None
):
    """The `FileRequest` of `explain_file`, with the same arguments."""
    index = None if target is None else class_index(target, labels)
    return FileRequest(explainer, path, labels, device, index, window_seconds)


def request_prompts(explainer, path, device="cpu", window_seconds=None):
    """The `PromptRequest`s of `explain_prompts`, with the same arguments."""
    labels = explainer.classifier.labels
    return [
        PromptRequest(explainer, path, labels, device, index, window_seconds)
        for index in range(len(labels))
    ]


def classify_stream(domain, classifier, path, window_seconds, device="cpu"):
    """The mean probabilities of a file's windows, as `explain_file` cuts them.

    Returns
    -------
    probabilities : torch.Tensor
        Shape (C,), float64, on the CPU.
    """
    cut = _Cut(MonoFile(path), domain, window_seconds)
    parts = [
        classify_waveforms(domain, classifier, torch.stack(wavs).to(device))
        for wavs in _in_batches(cut.windows())
    ]
    return torch.cat(parts).cpu().double().softmax(1).mean(0)


@dataclass(frozen=True)
class FileRequest:
    """One explanation of one file, to be made by `run`.

    Arguments
    ---------
    explainer, path, labels, device, window_seconds
        See `explain_file`.
    target : int or None
        The class that is asked for.
    """

    explainer: object
    path: str
    labels: list
    device: str
    target: int | None
    window_seconds: float | None

    def run(self, sink):
        """Explain the file, and hand what is finished to a sink.

        Arguments
        ---------
        sink : InMemory, or another one with its `begin`, `sounds` and `maps`

        Returns
        -------
        scores : FileScores
        """
        fields, _ = self._run(sink)
        return FileScores(**fields)

    def _run(self, sink):
        """The fields of `FileScores`, and what `_Listener` has of logits."""
        domain, classifier = self.explainer.domain, self.explainer.classifier
        if not domain.listenable:
            raise InputError(
                f"{type(domain).__name__} cannot be listened to: take an interpreter "
                "that was trained on the STFT"
            )
        source = MonoFile(self.path)
        cut = _Cut(source, domain, self.window_seconds)
        target = self.target
        if target is None and len(cut.starts) > 1 and _can_be_asked(self.explainer):
            heard = classify_stream(
                domain, classifier, self.path, self.window_seconds, self.device
            )
            target = int(heard.argmax())
        sink.begin(source.sample_rate, source.n_samples, cut.n_frames)
        ear = _Listener(classifier, cut, self.device)
        output = _Output(sink, cut, ear)
        logits = {"whole": [], "in": [], "out": []}
        labels, predicted, sizes, first = [], [], [], 0
        for wavs in _in_batches(cut.windows(output.heard)):
            batch = torch.stack(wavs).to(self.device)
            asked = None
            if target is not None:
                asked = torch.full((len(wavs),), target, device=self.device)
            fields = explain_windows(self.explainer, batch, self.labels, asked)
            output.add(first, fields)
            first += len(wavs)
            labels += fields["labels"]
            predicted += fields["predicted"]
            sizes += fields["mask_mean"].tolist()
            for part, name in zip(
                logits.values(), ("logits", "logits_in", "logits_out"), strict=True
            ):
                part.append(fields[name].cpu().double())
        logits = {name: torch.cat(parts) for name, parts in logits.items()}
        logits |= {f"heard {name}": part for name, part in ear.logits().items()}
        found = {name: part.softmax(1) for name, part in logits.items()}
        best = int(found["whole"].mean(0).argmax())
        index = best if self.target is None else self.target
        of_class = {name: part[:, index].tolist() for name, part in found.items()}
        windows = [
            WindowScores(start / cut.rate, (start + cut.length) / cut.rate, *scores)
            for start, *scores in zip(
                cut.starts, predicted, labels, *_in_order(of_class), strict=True
            )
        ]
        fields = {
            "path": str(self.path),
            "sample_rate": source.sample_rate,
            "n_samples": source.n_samples,
            "model_rate": cut.rate,
            "channel": source.channel,
            "silent": source.silent,
            "predicted": self.labels[best],
            "explained": self.labels[index],
            **dict(zip(_CONFIDENCES, map(fmean, _in_order(of_class)), strict=True)),
            "mask_mean": fmean(sizes),
            "windows": tuple(windows),
        }
        return fields, logits


_CONFIDENCES = (
    "confidence",
    *("heard_confidence_in", "heard_confidence_out"),
    *("confidence_in", "confidence_out"),
)


def _in_order(of_class):
    """What stands at each part, in the order of `_CONFIDENCES`."""
    parts = ("whole", "heard explanation", "heard rest", "in", "out")
    return [of_class[part] for part in parts]


class PromptRequest(FileRequest):
    """One explanation of one file for a prompt of a zero-shot classifier."""

    @property
    def prompt(self):
        """What is looked for, in words."""
        return self.labels[self.target]

    def run(self, sink):
        """As `FileRequest.run`; returns PromptScores."""
        fields, logits = self._run(sink)
        scale = self.explainer.classifier.clap.scale.double().item()
        near = {
            n: part[:, self.target].mean().item() / scale for n, part in logits.items()
        }
        return PromptScores(
            **fields,
            similarity=near["whole"],
            heard_similarity_in=near["heard explanation"],
            heard_similarity_out=near["heard rest"],
            similarity_in=near["in"],
            similarity_out=near["out"],
        )


class InMemory:
    """A sink that keeps everything."""

    def begin(self, sample_rate, n_samples, n_frames):
        """What will come: samples of each sound at a rate in Hz, frames of each map."""
        self.parts = {name: [] for name in ("input", *SOUNDS, *MAPS)}

    def sounds(self, **blocks):
        """Blocks (N,) of `input`, `explanation` and `rest`, at the file's rate."""
        for name, block in blocks.items():
            self.parts[name].append(block)

    def maps(self, **blocks):
        """Frames (T, F) of `magnitude`, `mask` and `masked_magnitude`."""
        self.sounds(**blocks)

    def whole(self):
        """The fields of `SoundsAndMaps`."""
        return {name: torch.cat(parts) for name, parts in self.parts.items()}


class _Cut:
    """How a file is cut into windows at the model's rate."""

    def __init__(self, source, domain, window_seconds):
        self.source = source
        self.domain = domain
        self.rate = domain.sample_rate
        self.n_samples = math.ceil(source.n_samples * self.rate / source.sample_rate)
        step = domain.hop_length
        self.length = window_length(self.n_samples, window_seconds, self.rate, step)
        self.starts = window_starts(self.n_samples, self.length, step)
        self.n_frames = self.n_samples // step + 1

    def windows(self, also=None):
        """Each window (length,); `also` is given the blocks that they are cut from."""
        windows = Windows(self.starts, self.length)
        resampler = self.resampler(self.source.sample_rate, self.rate)
        for block in self.source:
            block = resampler.push(block)
            if not torch.isfinite(block).all():
                raise InputError(
                    f"{self.source.path} is beyond the largest number when it is "
                    f"resampled to {self.rate} Hz: make it quieter"
                )
            if also is not None:
                also(block)
            yield from windows.push(block)

    def resampler(self, from_rate, to_rate):
        """From the file's rate to the model's, or back."""
        there = from_rate == self.source.sample_rate
        n_samples = self.source.n_samples if there else self.n_samples
        return Resampler(from_rate, to_rate, n_samples)


def _in_batches(windows):
    """Lists of up to `WINDOWS_AT_ONCE` windows."""
    some = []
    for window in windows:
        some.append(window)
        if len(some) == WINDOWS_AT_ONCE:
            yield some
            some = []
    if some:
        yield some


class _Output:
    """What is finished of an explanation, on its way to the sink.

    Arguments
    ---------
    sink : InMemory or another one
    cut : _Cut
    listener : _Listener
        Hears the sounds of the explanation and of the rest.
    """

    def __init__(self, sink, cut, listener):
        self.sink, self.cut, self.listener = sink, cut, listener
        hop = cut.domain.hop_length
        self.faded = {name: Faded(cut.n_samples) for name in SOUNDS}
        self.faded |= {name: Faded(cut.n_frames, hop) for name in MAPS}
        self.waiting = torch.zeros(0)  # of the input, until the sounds are as far
        file_rate = cut.source.sample_rate
        self.back = {
            name: cut.resampler(cut.rate, file_rate) for name in ("input", *SOUNDS)
        }
        self.left = cut.source.n_samples

    def heard(self, block):
        """Take a block of the input, at the model's rate."""
        self.waiting = torch.cat([self.waiting, block])

    def add(self, first, fields):
        """Take some windows, from number `first` on."""
        n_windows = len(fields["labels"])
        for place in range(n_windows):
            start = self.cut.starts[first + place]
            for name, faded in self.faded.items():
                faded.add(start, fields[name][place].float().cpu())
        after = self.cut.starts[first + n_windows : first + n_windows + 1]
        self._hand_over(*after)

    def _hand_over(self, until=None):
        """Give the sink what no window will change any more."""
        done = {name: faded.take(until) for name, faded in self.faded.items()}
        self.sink.maps(**{name: done[name] for name in MAPS})
        n_samples = len(done["rest"])
        sounds = {"input": self.waiting[:n_samples], **{n: done[n] for n in SOUNDS}}
        self.waiting = self.waiting[n_samples:].clone()
        sounds = {
            name: self.back[name].push(wav)[: self.left] for name, wav in sounds.items()
        }
        self.left -= len(sounds["input"])
        self.sink.sounds(**sounds)
        self.listener.push({name: sounds[name] for name in SOUNDS})


class _Listener:
    """Hears the sounds that are handed out, as `classify_stream` hears a file."""

    def __init__(self, classifier, cut, device):
        self.classifier, self.cut, self.device = classifier, cut, device
        file_rate = cut.source.sample_rate
        self.to_model = {n: cut.resampler(file_rate, cut.rate) for n in SOUNDS}
        self.windows = {name: Windows(cut.starts, cut.length) for name in SOUNDS}
        self.heard = []

    def push(self, sounds):
        """Take blocks of the sounds, at the file's rate."""
        whole = [
            self.windows[name].push(self.to_model[name].push(sounds[name]))
            for name in SOUNDS
        ]
        for pairs in _in_batches(zip(*whole, strict=True)):
            wavs = torch.stack([wav for pair in pairs for wav in pair]).to(self.device)
            logits = classify_waveforms(self.cut.domain, self.classifier, wavs)
            self.heard.append(logits.cpu().double().unflatten(0, (-1, len(SOUNDS))))

    def logits(self):
        """Of each sound the logits (W, C) of its windows."""
        return dict(zip(SOUNDS, torch.cat(self.heard).unbind(1), strict=True))


def _can_be_asked(explainer):
    """Whether the mask of an explainer depends on the class that is asked for."""
    interpreter = getattr(explainer, "interpreter", None)
    return interpreter is None or takes_target(interpreter)
