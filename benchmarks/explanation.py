"""One explanation: L-MAC next to the classifier and to each gradient method."""

import subprocess
import sys
import tempfile
import time

import soundfile
import torch

from benchmarks.settings import RATE, clips, cnn14, conv_decoder, part, stft
from benchmarks.timing import alone, race, seconds_of
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.inference import AudioExplainer

# What the issue of speed is measured with; the papers' numbers are in the part.
FIFTY = {"IG": {"n_steps": 50}, "SmoothGrad": {"n_samples": 50}}
# These go clip by clip, so that a batch costs as many times one clip.
BY_CLIP = ("SmoothGrad", "IG", "SHAP")


def listen(explainer, wav):
    """What a user waits for: the mask, and how it sounds."""
    with torch.no_grad():
        explanation = explainer.explain(wav)
        domain = explainer.domain
        domain.decode(domain.apply_mask(explanation.encoded, explanation.mask))


def run_alone(case, settings):
    """Cold: from nothing imported to an explanation of a clip by a model of ours."""
    started = time.perf_counter()
    model = AudioExplainer.from_hparams(case, run_opts={"device": "cpu"})
    model.explain_batch(clips(settings, 1))
    return {"load_and_explain": time.perf_counter() - started}


def cold_start(settings):
    """Timings of `speechbrain-lmac explain` of a clip, and of its imports alone."""

    def start(*command):
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/clip.wav"
        soundfile.write(path, clips(settings, 1)[0].numpy(), RATE)
        explain = ["-m", "speechbrain_lmac.cli", "explain", path]

        def start_explaining(*options):
            # Each time into another folder: what is there is not explained again.
            out = tempfile.mkdtemp(dir=folder)
            start(*explain, "--model", "esc10-lmac", "--output_folder", out, *options)

        cases = {
            "imports": lambda: start("-c", "import torch, speechbrain"),
            "explain": start_explaining,
            "explain, no picture": lambda: start_explaining("--no_pictures"),
        }
        return {"timings": race(cases, 2 * settings.rounds)}


def measure(settings):
    """Timings of one clip and of a batch, and of a process that explains one clip.

    Returns
    -------
    answer : dict
        "1" and the size of the batch: `timings`; "measured": how many clips stand for
        the batch with the methods that go clip by clip; "cold": seconds; "cold start":
        `timings` of the command.
    """
    domain, classifier = stft(), cnn14(settings)
    interpreter = conv_decoder(settings).eval()
    lmac = AmortizedExplainer(domain, classifier, interpreter)
    baselines = part("baselines/papers", methods=FIFTY).explainers(
        domain, classifier, lambda: clips(settings, 4)
    )
    answer = {}
    for size in (1, settings.many):
        wav = clips(settings, size)
        features = domain.features(domain.encode(wav))
        cases = {
            "classifier": lambda f=features: _hear(classifier, f),
            "L-MAC": lambda w=wav: listen(lmac, w),
        }
        for name, explainer in baselines.items():
            if size == 1 or name not in BY_CLIP:
                cases[name] = lambda e=explainer, w=wav: e.explain(w)
        rounds = settings.rounds if size == 1 else settings.slow_rounds
        answer[str(size)] = {"timings": race(cases, rounds, warm_up=False)}
    command = ("explanation", "esc10-lmac", settings)
    answer["cold"] = seconds_of(lambda: alone(*command))
    answer["cold start"] = cold_start(settings)
    return answer


@torch.no_grad()
def _hear(classifier, features):
    """A pass of the classifier."""
    classifier(features)
