"""Cost of an explanation: L-MAC, the classifier, the gradient methods."""

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

# Settings of the speed comparison; those of the papers are in the YAML part.
FIFTY = {"IG": {"n_steps": 50}, "SmoothGrad": {"n_samples": 50}}
# Methods that run clip by clip: the cost of a batch is proportional to its size.
BY_CLIP = ("SmoothGrad", "IG", "SHAP")


def explain_and_decode(explainer, wav):
    """Compute the mask and the waveform of an explanation."""
    with torch.no_grad():
        explanation = explainer.explain(wav)
        domain = explainer.domain
        domain.decode(domain.apply_mask(explanation.encoded, explanation.mask))


def run_alone(case, settings):
    """Return seconds to load a shipped model and explain a clip."""
    started = time.perf_counter()
    model = AudioExplainer.from_hparams(case, run_opts={"device": "cpu"})
    model.explain_batch(clips(settings, 1))
    return {"load_and_explain": time.perf_counter() - started}


def cold_start(settings):
    """Return timings of `speechbrain-lmac explain` of a clip, and of its imports."""

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
            # A new folder each time: finished explanations are skipped.
            out = tempfile.mkdtemp(dir=folder)
            start(*explain, "--model", "esc10-lmac", "--output_folder", out, *options)

        cases = {
            "imports": lambda: start("-c", "import torch, speechbrain"),
            "explain": start_explaining,
            "explain, no picture": lambda: start_explaining("--no_pictures"),
        }
        return {"timings": race(cases, 2 * settings.rounds)}


def measure(settings):
    """Return timings of one clip, of a batch, and of a process that explains a clip.

    Returns
    -------
    result : dict
        "1" and the size of the batch: `timings`; "cold": seconds; "cold start":
        `timings` of the command.
    """
    domain, classifier = stft(), cnn14(settings)
    interpreter = conv_decoder(settings).eval()
    lmac = AmortizedExplainer(domain, classifier, interpreter)
    baselines = part("baselines/papers", methods=FIFTY).explainers(
        domain, classifier, lambda: clips(settings, 4)
    )
    result = {}
    for size in (1, settings.many):
        wav = clips(settings, size)
        features = domain.features(domain.encode(wav))
        cases = {
            "classifier": lambda f=features: _classify(classifier, f),
            "L-MAC": lambda w=wav: explain_and_decode(lmac, w),
        }
        for name, explainer in baselines.items():
            if size == 1 or name not in BY_CLIP:
                cases[name] = lambda e=explainer, w=wav: e.explain(w)
        rounds = settings.rounds if size == 1 else settings.slow_rounds
        result[str(size)] = {"timings": race(cases, rounds, warm_up=False)}
    command = ("explanation", "esc10-lmac", settings)
    result["cold"] = seconds_of(lambda: alone(*command))
    result["cold start"] = cold_start(settings)
    return result


@torch.no_grad()
def _classify(classifier, features):
    """Run a pass of the classifier."""
    classifier(features)
