"""Cost of a training step: L-MAC, LMAC-TD and LMAC-ZS, relative to the classifier."""

import itertools
from functools import partial

import torch

from benchmarks import published
from benchmarks.settings import (
    RATE,
    STRIDES,
    WIDTHS,
    clips,
    cnn14,
    conv_decoder,
    folded,
    hidden_channels,
    part,
    published_decoder,
    stft,
)
from benchmarks.timing import alone, race, seconds_of
from speechbrain_lmac.domains.learned import LearnedDomain
from speechbrain_lmac.evidence import training_evidence
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.interpreters import MaskNetInterpreter, PublishedUpsampler
from speechbrain_lmac.losses.audio_text_pairs import gather_pairs
from speechbrain_lmac.training.prompts import PromptMemory

TD_BATCH = 2
PAIRS_AT_ONCE = 8
NOT_ALONE = ("floor", "published way")  # memory not reported
# glibc: freed memory stays with the process, or is released at once from 4 MB on.
# PyTorch: large pages.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "4000000000"}
SAVE_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4000000", "THP_MEM_ALLOC_ENABLE": "1"}
WORDS = "dog rain rooster sea waves clock helicopter chainsaw fire baby sneeze".split()


def floor(classifier, features):
    """Run the minimum: one pass, and one forward and backward for each part."""
    with torch.no_grad():
        classifier(features)
    for _ in range(2):
        part_features = features.clone().requires_grad_()
        classifier(part_features).logits.sum().backward()


def adam(model, fused):
    """Return the published optimizer."""
    return torch.optim.Adam(
        model.parameters(), lr=2e-4, weight_decay=2e-6, fused=fused, foreach=False
    )


def learn(objective, evidence, optimizer):
    """Run a step from evidence on, and remove the gradients, as SpeechBrain does."""
    objective.total(objective(evidence)).mean().backward()
    torch.nn.utils.clip_grad_norm_(
        [p for group in optimizer.param_groups for p in group["params"]], 5.0
    )
    optimizer.step()
    optimizer.zero_grad()


def train_step(domain, classifier, interpreter, optimizer, objective, wav, evidence):
    """Run one step of L-MAC or LMAC-TD."""
    explanation = AmortizedExplainer(domain, classifier, interpreter).explain(wav)
    learn(objective, evidence(domain, classifier, explanation), optimizer)


def lmac_case(name, settings, domain, classifier):
    """Return a step of one of the decoders, as a function."""
    wav = clips(settings, settings.batch_size)
    if name == "floor":
        features = domain.features(domain.encode(wav))
        return partial(floor, classifier, features)
    if name == "compact decoder":
        return lmac_step(conv_decoder(settings), settings, domain, classifier)
    if name == "published decoder":
        return lmac_step(published_decoder(settings), settings, domain, classifier)
    decoder = published.LayerByLayer(hidden_channels(settings), settings.width)
    return partial(
        train_step,
        domain,
        classifier,
        decoder,
        adam(decoder, fused=False),
        part("objective/lmac"),
        wav,
        published.evidence_in_two_passes,
    )


def lmac_step(decoder, settings, domain, classifier):
    """Return a step of L-MAC as in the recipe, as a function."""
    return partial(
        train_step,
        domain,
        folded(classifier, domain),
        decoder,
        adam(decoder, fused=True),
        part("objective/lmac"),
        clips(settings, settings.batch_size),
        training_evidence,
    )


def td_case(name, settings, classifier):
    """Return a step of LMAC-TD with one of the mask networks, as a function."""
    torch.manual_seed(0)
    domain = LearnedDomain(
        stft(), part("codec/sepformer", sample_rate=RATE).requires_grad_(False)
    )
    objective = part("objective/lmac_td")
    wav = clips(settings, TD_BATCH)
    if name == "floor":
        features = domain.features(domain.encode(wav))
        return partial(floor, classifier, features)
    evidence, fused, explained = training_evidence, True, None
    sizes = dict(settings.mask_net)
    if name == "published way":
        interpreter = MaskNetInterpreter(
            published.mask_net(**sizes),
            partial(PublishedUpsampler, hidden_channels(settings), settings.td_width),
            alpha=0.75,
        )
        evidence, fused = published.evidence_in_two_passes, False
        explained = classifier
    elif name == "published mask network":
        interpreter = part(
            "interpreter/masknet_published",
            alpha=0.75,
            mask_net=sizes,
            upsampler={
                "hidden_channels": hidden_channels(settings),
                "width": settings.td_width,
            },
        )
    else:
        interpreter = part(
            "interpreter/masknet",
            alpha=0.75,
            mask_net={"n_channels": 256},
            upsampler={
                "hidden_channels": hidden_channels(settings),
                "strides": STRIDES,
                "widths": WIDTHS,
                "n_channels": 256,
                "sample_rate": RATE,
                "hop_length_ms": 11.6099,
                "kernel_size": 16,
            },
        )
    explained = explained or folded(classifier, domain)
    optimizer = adam(interpreter, fused)
    return partial(
        train_step, domain, explained, interpreter, optimizer, objective, wav, evidence
    )


def zs_case(n_clips, n_prompts, settings):
    """Return a step of LMAC-ZS with all pairs of clips and prompts of a batch.

    With the shipped small CLAP and interpreter.
    """
    model = AudioExplainer.from_hparams("esc10-lmac-zs", run_opts={"device": "cpu"})
    explainer = model.explainer
    domain, classifier = explainer.domain, explainer.classifier
    interpreter = explainer.interpreter.interpreter.train()
    interpreter.requires_grad_(True)
    objective = part("objective/lmac_zs")
    optimizer = adam(interpreter, fused=True)
    pairs = itertools.product(WORDS, WORDS)
    sentences = [f"{one} and {other}" for one, other in pairs if one < other]
    prompts = PromptMemory(classifier).embed(
        [sentences[clip % n_prompts] for clip in range(n_clips)]
    )
    wav = clips(settings, n_clips)

    def step():
        evidence = gather_pairs(
            domain, classifier, interpreter, wav, prompts, None, PAIRS_AT_ONCE
        )
        learn(objective, evidence, optimizer)

    return step


LMAC = ("floor", "compact decoder", "published decoder", "published way")
TD = ("floor", "compact mask network", "published mask network", "published way")


def run_alone(case, settings):
    """Run two steps of one case, and return the seconds of the second."""
    method, name = case.split(": ")
    if method == "L-MAC":
        step = lmac_case(name, settings, stft(), cnn14(settings))
    elif method == "LMAC-TD":
        step = td_case(name, settings, cnn14(settings))
    else:
        step = zs_case(*map(int, name.split(" x ")), settings)
    step()
    return {"seconds": seconds_of(step)}


def measure(settings):
    """Return timings and memory of steps.

    Returns
    -------
    result : dict
        "L-MAC", "LMAC-TD" and "LMAC-ZS": `timings` of `timing.race`, and `peak_mib` of
        each case alone; of LMAC-ZS also of "few prompts", as many as the smallest
        batch has, for the clips of the largest. "kept memory": pairs of a step of L-MAC
        without and with `KEEP_MEMORY`. "saved memory": the same of LMAC-TD with
        `SAVE_MEMORY`.
    """
    domain, classifier = stft(), cnn14(settings)
    result = {}
    for method, names in (("L-MAC", LMAC), ("LMAC-TD", TD)):
        cases = {
            name: lmac_case(name, settings, domain, classifier)
            if method == "L-MAC"
            else td_case(name, settings, classifier)
            for name in names
        }
        timings = race(cases, settings.slow_rounds, warm_up=False)
        result[method] = {"timings": timings}
        del cases
        result[method]["peak_mib"] = {
            name: alone("training", f"{method}: {name}", settings)["peak_mib"]
            for name in names
            if name not in NOT_ALONE
        }
    for name, case, environment in (
        ("kept memory", "L-MAC: compact decoder", KEEP_MEMORY),
        ("saved memory", "LMAC-TD: published mask network", SAVE_MEMORY),
    ):
        result[name] = [
            [alone("training", case, settings, e) for e in (None, environment)]
            for _ in range(settings.slow_rounds)
        ]
    sizes = settings.zs_batch_sizes
    cases = {str(size): zs_case(size, size, settings) for size in sizes}
    shapes = {str(size): (size, size) for size in sizes}
    shapes["few prompts"] = (sizes[-1], sizes[0])
    result["LMAC-ZS"] = {
        "timings": race(cases, settings.rounds),
        "peak_mib": {
            name: alone("training", "LMAC-ZS: {} x {}".format(*shape), settings)[
                "peak_mib"
            ]
            for name, shape in shapes.items()
        },
    }
    return result
