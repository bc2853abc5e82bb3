"""One explanation: L-MAC next to the classifier and to each gradient method."""

import time

import torch

from benchmarks.settings import clips, cnn14, conv_decoder, part, stft
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


def measure(settings):
    """Timings of one clip and of a batch, and of a process that explains one clip.

    Returns
    -------
    answer : dict
        "1" and the size of the batch: `timings`; "measured": how many clips stand for
        the batch with the methods that go clip by clip; "cold": seconds.
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
    return answer


@torch.no_grad()
def _hear(classifier, features):
    """A pass of the classifier."""
    classifier(features)
