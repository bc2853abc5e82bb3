"""Cost of an evaluation, relative to the passes that it needs at least."""

from functools import partial

import torch

from benchmarks.published import LayerByLayer, evaluate_again_and_again
from benchmarks.settings import clips, cnn14, conv_decoder, hidden_channels, stft
from benchmarks.timing import race
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.evaluation.evaluate import evaluate
from speechbrain_lmac.explainers import AmortizedExplainer

N_CLIPS = 8


def floor(domain, classifier, interpreter, wav):
    """Run three passes of the classifier and one of the decoder."""
    with torch.no_grad():
        encoded = domain.encode(wav)
        features = domain.features(encoded)
        hidden = classifier(features).hidden
        interpreter(hidden, encoded)
        for _ in range(2):
            classifier(features)


def measure(settings):
    """Return timings of a batch of `N_CLIPS` clips with the metrics of the papers.

    Returns
    -------
    result : dict
        `timings` of `timing.race`; `n_clips`.
    """
    domain, classifier = stft(), cnn14(settings)
    wav = clips(settings, N_CLIPS)
    batch = ClipBatch([str(i) for i in range(N_CLIPS)], wav)
    cases = {}
    decoders = {
        "compact decoder": conv_decoder(settings),
        "published decoder": LayerByLayer(hidden_channels(settings), settings.width),
    }
    for name, interpreter in decoders.items():
        interpreter.eval()
        explainer = AmortizedExplainer(domain, classifier, interpreter)
        cases[f"floor, {name}"] = partial(floor, domain, classifier, interpreter, wav)
        cases[f"ours, {name}"] = partial(
            evaluate, {"L-MAC": explainer}, [batch], domain, classifier
        )
    cases["published way"] = partial(evaluate_again_and_again, explainer, wav)
    return {"timings": race(cases, settings.rounds), "n_clips": N_CLIPS}
