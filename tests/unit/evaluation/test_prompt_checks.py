"""The checks of zero-shot explanations, by explainers whose answers are known."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding, ClapClassifier
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain
from speechbrain_lmac.evaluation.prompt_checks import (
    OVERALL,
    RISES,
    SCORES,
    clip_scores,
    explain_prompts,
    overall_correlation,
)
from speechbrain_lmac.explainers import AllOnesExplainer, ZeroShotExplainer
from speechbrain_lmac.reporting.prompt_page import verdict, write_checks
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

RATE, N, DIM = 16000, 6000, 8
PROMPTS = ["dog", "rain", "clock", "siren"]


class Clap(torch.nn.Module):
    """Untrained towers; a sentence's embedding is a draw by its letters."""

    embedding_dim = DIM

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tower = CompactClassifier(DIM, channels=(3, 4))
        self.register_buffer("scale", torch.tensor(10.0))

    def audio(self, features):
        out = self.tower(features)
        embedding = torch.nn.functional.normalize(out.logits, dim=1)
        return AudioEmbedding(embedding, out.hidden)

    def text(self, sentences):
        draws = [torch.randn(DIM, generator=generator(s)) for s in sentences]
        return torch.nn.functional.normalize(torch.stack(draws), dim=1)


@pytest.fixture(scope="module")
def domain():
    return MagnitudeSTFTDomain(sample_rate=RATE)


@pytest.fixture(scope="module")
def classifier():
    return ClapClassifier(Clap(), PROMPTS)


def clips(*sizes, lens=None):
    """Batches of clips of noise whose classes are the prompts, one after another."""
    start = 0
    for size in sizes:
        places = range(start, start + size)
        wav = torch.stack([torch.randn(N, generator=generator("c", i)) for i in places])
        label = torch.tensor([i % len(PROMPTS) for i in places])
        lens_here = None if lens is None else torch.full((size,), lens)
        if lens is not None:
            wav[:, round(lens * N) :] = 0
        yield ClipBatch([f"clip{i}" for i in places], wav, label, lens_here)
        start += size


class Answer:
    """Explains with a mask that a function of (explanation, target) makes."""

    def __init__(self, domain, classifier, mask_of):
        self.ones = AllOnesExplainer(domain, classifier)
        self.mask_of = mask_of

    def explain(self, wav, target=None, lens=None):
        given = self.ones.explain(wav, target, lens)
        mask = self.mask_of(given, target)
        return replace(given, mask=mask.expand_as(given.mask).float().contiguous())


def same_for_all(given, target):
    """The input's own shape, whatever the prompt: what Grad-CAM++ is said to do."""
    return given.encoded.rep / given.encoded.rep.amax((1, 2), keepdim=True)


def own_bin(given, target):
    """A bin of its own for each prompt."""
    mask = torch.zeros_like(given.mask)
    mask[torch.arange(len(mask)), :, target] = 1
    return mask


def as_similar(given, target):
    """All cells alike: the similarity of the prompt, brought to 0..1."""
    cosine = given.logits.gather(1, target[:, None])[..., None] / 10
    return (1 + cosine) / 2


@pytest.fixture
def ask(domain, classifier):
    """`ask(mask_of, batches)`: rows of prompts, of swaps, and of clips."""

    def ask(mask_of, batches=None):
        explainer = Answer(domain, classifier, mask_of)
        batches = clips(3, 2) if batches is None else batches
        prompts, swaps = explain_prompts(explainer, batches, domain, classifier)
        return prompts, swaps, clip_scores(prompts, swaps)

    return ask


def test_a_map_that_ignores_its_prompt(ask):
    prompts, swaps, scores = ask(same_for_all)
    assert (swaps[["swap_distance", "shape_distance"]] == 0).all(axis=None)
    assert scores[RISES.name].isna().all() and scores["swap by text"].isna().all()
    assert scores["right less absent"].tolist() == pytest.approx([0] * 5)
    assert scores["right larger"].tolist() == [0] * 5
    assert (prompts["mask_mean"] > 0).all()


def test_maps_without_a_common_cell(ask):
    prompts, swaps, scores = ask(own_bin)
    assert (swaps[["swap_distance", "shape_distance"]] == 1).all(axis=None)
    assert scores["swap distance"].tolist() == [1] * 5


def test_a_planted_rise_has_the_correlation_one(ask):
    prompts, swaps, scores = ask(as_similar)
    assert scores[RISES.name].tolist() == pytest.approx([1] * 5)
    assert overall_correlation(prompts, 50) == pytest.approx((1, 1, 1))
    # Only the size changes with the prompt, not where the mask lies.
    assert scores["shape distance"].max() < 1e-6 < 1e-3 < scores["swap distance"].min()
    falls = ask(lambda *given: 1 - as_similar(*given))
    assert falls[2][RISES.name].tolist() == pytest.approx([-1] * 5)
    assert overall_correlation(falls[0], 50) == pytest.approx((-1, -1, -1))


def test_who_hears_what_is_there_leaves_the_absent_empty(ask):
    def right_only(given, target):  # of the one batch of four clips
        return (target == torch.arange(4))[:, None, None]

    prompts, _, scores = ask(right_only, clips(4))
    assert scores["MM right"].tolist() == [1] * 4
    assert scores["right less absent"].tolist() == [1] * 4
    assert scores["right larger"].tolist() == [100] * 4
    assert prompts["empty_mask"].tolist() == (~prompts["right"]).tolist()
    assert prompts["right"].sum() == 4

    *_, scores = ask(lambda *given: ~right_only(*given), clips(4))
    assert scores["right less absent"].tolist() == [-1] * 4
    assert scores["right larger"].tolist() == [0] * 4


def test_similarities_are_cosines_of_whole_explanation_and_rest(
    ask, domain, classifier
):
    prompts, _, _ = ask(lambda given, target: torch.ones(1), clips(3))
    (batch,) = clips(3)
    features = domain.features(domain.encode(batch.wav))
    cosines = classifier.audio(features).embedding @ classifier.text.T
    silent = classifier.audio(torch.zeros_like(features)).embedding @ classifier.text.T
    for name, expected in (("", cosines), ("_in", cosines), ("_out", silent)):
        found = prompts.pivot(index="id", columns="prompt", values=f"similarity{name}")
        np.testing.assert_allclose(found[PROMPTS], expected.detach(), atol=1e-4)


def test_a_pair_of_prompts_knows_how_far_their_texts_are_apart(ask, classifier):
    _, swaps, _ = ask(own_bin, clips(1))
    apart = torch.cdist(classifier.text, classifier.text).square() / 2
    for row in swaps.itertuples():
        place = PROMPTS.index(row.first), PROMPTS.index(row.second)
        assert row.text_distance == pytest.approx(apart[place].item(), abs=1e-5)
    assert len(swaps) == 6 and not swaps.duplicated(["first", "second"]).any()


def test_a_clip_does_not_depend_on_its_batch(ask):
    together, apart = (ask(as_similar, clips(*s)) for s in ((3,), (1, 1, 1)))
    for found, expected in zip(together, apart, strict=True):
        keys = [c for c in ("id", "prompt", "first", "second") if c in found]
        found, expected = (
            t.sort_values(keys, ignore_index=True) for t in (found, expected)
        )
        pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-5)


def test_the_padding_of_a_mask_does_not_count(ask):
    def in_the_padding(given, target):
        mask = same_for_all(given, target).clone()
        for row, frames in zip(mask, given.encoded.frames.tolist(), strict=True):
            row[frames:] = target[0].item() / 4
        return mask

    prompts, swaps, _ = ask(in_the_padding, clips(2, lens=0.5))
    assert (swaps[["swap_distance", "shape_distance"]] == 0).all(axis=None)
    assert (prompts.groupby("id")["mask_mean"].nunique() == 1).all()


def test_a_trained_explainer_gets_the_prompt(domain, classifier):
    class Told(torch.nn.Module):
        def forward(self, hidden, encoded, condition):
            return condition[:, :1, None].abs().expand_as(encoded.rep)

    explainer = ZeroShotExplainer(domain, classifier, Told())
    prompts, _ = explain_prompts(explainer, clips(2), domain, classifier)
    expected = dict(zip(PROMPTS, classifier.text[:, 0].abs().tolist(), strict=True))
    for row in prompts.itertuples():
        assert row.mask_mean == pytest.approx(expected[row.prompt])


def test_few_prompts_and_no_clips_are_refused(domain, classifier):
    two = classifier.with_prompts(["dog", "rain"])
    ones = AllOnesExplainer(domain, two)
    with pytest.raises(InputError, match="3 prompts, got 2"):
        explain_prompts(ones, clips(1), domain, two)
    (batch,) = clips(1)
    with pytest.raises(InputError, match="labels"):
        explain_prompts(ones, [replace(batch, label=None)], domain, classifier)
    with pytest.raises(InputError, match="no clip"):
        explain_prompts(AllOnesExplainer(domain, classifier), [], domain, classifier)


def sizes(n_clips, times=1, seed=0):
    """Random rows of prompts; each clip has its rows so many times."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "id": np.repeat([f"c{i:02}" for i in range(n_clips)], 5),
            "similarity": rng.random(5 * n_clips),
            "mask_mean": rng.random(5 * n_clips),
        }
    )
    return pd.concat([table] * times, ignore_index=True)


def test_the_overall_interval_is_of_clips_not_of_prompts():
    # More prompts of the same clips tell nothing new; more clips do.
    once, often = (overall_correlation(sizes(12, times), 200) for times in (1, 20))
    assert often == pytest.approx(once)
    widths = [
        high - low
        for _, low, high in (overall_correlation(sizes(n), 200) for n in (8, 128))
    ]
    assert widths[1] < widths[0] / 2
    assert once[1] < once[0] < once[2]


def test_the_overall_interval_is_of_clips_not_of_their_mixtures():
    table = sizes(12)
    twice = pd.concat(
        [table.assign(clip=table["id"], id=table["id"] + f"+{k}") for k in range(2)]
    )
    found = overall_correlation(twice, 200)
    assert found == pytest.approx(overall_correlation(table, 200))


def test_a_clip_with_a_nan_is_left_out_of_the_overall_correlation():
    table = sizes(6)
    with_nan = table.copy()
    with_nan.loc[0, "mask_mean"] = math.nan
    found = overall_correlation(with_nan, 100)
    assert found == overall_correlation(table.iloc[5:], 100)
    assert all(map(math.isnan, overall_correlation(with_nan.iloc[:5], 100)))


@pytest.fixture
def page(ask, tmp_path):
    """The folder with all that is written of two methods."""
    tables = []
    for method, mask_of in {"follows": as_similar, "deaf": same_for_all}.items():
        where = {"condition": "clean", "block": "STFT", "method": method}
        tables.append([table.assign(**where) for table in ask(mask_of)[:2]])
    prompts, swaps = (
        pd.concat(t, ignore_index=True) for t in zip(*tables, strict=True)
    )
    sanity = pd.DataFrame(
        {
            "block": "STFT",
            "method": np.repeat(["follows", "deaf"], 4),
            "id": ["clip0", "clip1"] * 4,
            "step": [0, 0, 1, 1] * 2,
            "layer": ["trained", "trained", "linear", "linear"] * 2,
            "Spearman": [1, 1, 0.2, 0.4, 1, 1, 0.9, 0.7],
            "SSIM": [1, 1, 0.1, 0.3, 1, 1, 0.9, 1.0],
        }
    )
    write_checks(tmp_path, prompts, swaps, sanity, ["command: `x`"], 1, "follows")
    return tmp_path


def test_the_page_says_who_follows(page):
    text = (page / "summary.md").read_text(encoding="utf-8")
    assert "clean, STFT: 5 clips, 4 prompts" in text
    assert "size by similarity, interval above 0: follows." in text
    # No clip of it has a correlation, which is counted. Clips differ in size, so that
    # there is one over all of them.
    assert re.search(r"\| deaf \| – \| -?0\.\d+ \[.*\] \| 5 \| 0 \|", text)
    assert "| deaf | 0.000 [0.000, 0.000] | 0.000 [0.000, 0.000] | – | 5 |" in text
    assert "| follows | 0.30 [0.20, 0.40] | 0.30 [0.20, 0.40] |" in text
    for name in ("size_clean_STFT", "swap_clean_STFT", "sanity_STFT"):
        assert (page / f"{name}.png").stat().st_size > 5000
        assert f"({name}.png)" in text


def test_the_tables_hold_what_the_page_has(page):
    summary = pd.read_csv(page / "summary.csv").set_index(["method", "score"])
    assert len(summary) == 2 * (len(SCORES) + 1)
    per_clip = pd.read_csv(page / "per_clip.csv")
    own = per_clip[per_clip["method"] == "follows"]["swap distance"]
    found = summary.loc[("follows", "swap distance"), "mean"]
    assert found == pytest.approx(own.mean())
    assert summary.loc[("follows", OVERALL.name), "mean"] == pytest.approx(1)
    compared = pd.read_csv(page / "comparison.csv").set_index("metric")
    assert compared.loc["swap distance", "difference"] == pytest.approx(own.mean())
    assert len(pd.read_csv(page / "prompts.csv")) == 2 * 5 * 4
    assert len(pd.read_csv(page / "swaps.csv")) == 2 * 5 * 6


def test_a_verdict_wants_the_whole_interval():
    rows = {"method": list("abc"), "score": RISES.name}
    rows |= {"low": [0.1, -0.1, math.nan], "high": [0.9, 0.5, math.nan]}
    table = pd.DataFrame(rows)
    assert verdict(table, RISES).endswith("above 0: a.")
    assert verdict(table[1:], RISES).endswith("above 0: no method.")
