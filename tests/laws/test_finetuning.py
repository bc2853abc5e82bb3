"""What holds for the finetuning stage: who is guided, and towards what."""

import dataclasses

import pytest
import torch

from speechbrain_lmac.losses.lmac import mask_in, mask_l1, mask_out
from speechbrain_lmac.losses.lmac_finetuning import (
    CleanRepresentation,
    GuidedEvidence,
    GuidedObjective,
    OracleMask,
    SimilarExplanations,
    cosine_similarity,
)
from speechbrain_lmac.utils.errors import InputError

TERMS = {"mask_in": mask_in, "mask_out": mask_out, "mask_l1": mask_l1}
WEIGHTS = {"mask_in": 4.0, "mask_out": 0.2, "mask_l1": 6.4, "guidance": 4.0}
GUIDANCE = [OracleMask(0.35), CleanRepresentation()]


def evidence(n_clips=4, shape=(7, 5), seed=0):
    """Clips of which the first half is explained by its clean part, the others not."""
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, n_clips, 4, generator=draw)
    clean = torch.rand(n_clips, *shape, generator=draw) * (
        torch.rand(n_clips, *shape, generator=draw) < 0.3
    )
    rep = clean + torch.rand(n_clips, *shape, generator=draw)
    mask = clean / rep
    mask[n_clips // 2 :] = 1 - (clean[n_clips // 2 :] > 0).float()
    return GuidedEvidence(
        mask=mask,
        target=logits[0].argmax(1),
        logits=logits[0],
        logits_in=logits[1],
        logits_out=logits[2],
        rep=rep,
        rep_clean=clean,
    )


def item_of(batch, item):
    return GuidedEvidence(
        **{
            name: None if value is None else value[item : item + 1]
            for name, value in vars(batch).items()
        }
    )


def objective(guidance=GUIDANCE[0], weights=WEIGHTS, threshold=0.6):
    return GuidedObjective(TERMS, weights, SimilarExplanations(threshold), guidance)


def test_similarity_is_that_of_the_scaled_clip_and_none_of_silence():
    clean = torch.rand(2, 7, 5)
    torch.testing.assert_close(cosine_similarity(clean, 3 * clean), torch.ones(2))
    assert torch.equal(
        cosine_similarity(torch.zeros(1, 2, 2), clean[:1, :2, :2]), torch.zeros(1)
    )


def test_who_resembles_the_clean_clip_is_guided_and_the_others_are_kept_small():
    values = objective()(evidence())
    assert values["selected"].tolist() == [1, 1, 0, 0]
    assert (values["mask_l1"] > 0).tolist() == [False, False, True, True]
    assert (values["guidance"] > 0).tolist() == [True, True, False, False]
    assert torch.equal(values["mask_in"], mask_in(evidence()))  # stays for all


@pytest.mark.parametrize("threshold, selected", [(-1.0, 4), (1.0, 2)])
def test_the_threshold_decides(threshold, selected):
    # 1.0 is reached: the first half is its clean part to rounding.
    batch = evidence()
    similar = cosine_similarity(batch.rep_clean, batch.mask * batch.rep)
    threshold = min(threshold, similar[:2].min().item())
    assert objective(threshold=threshold)(batch)["selected"].sum() == selected


@pytest.mark.parametrize("guidance", GUIDANCE, ids=lambda g: type(g).__name__)
def test_a_clip_s_terms_do_not_depend_on_its_batch(guidance):
    batch = evidence()
    together = objective(guidance)(batch)
    for item in range(4):
        alone = objective(guidance)(item_of(batch, item))
        for name, values in alone.items():
            torch.testing.assert_close(values, together[name][item : item + 1])


def test_the_total_does_not_count_who_is_selected():
    weights = {"mask_in": 4.0, "mask_out": 0.2}
    values = objective(weights=weights)(evidence())
    by_hand = 4 * mask_in(evidence()) + 0.2 * mask_out(evidence())
    torch.testing.assert_close(objective(weights=weights).total(values), by_hand)


def test_the_oracle_is_relative_to_the_clip_s_loudest_cell():
    batch = evidence()
    louder = dataclasses.replace(batch, rep_clean=10 * batch.rep_clean)
    torch.testing.assert_close(OracleMask(0.35)(louder), OracleMask(0.35)(batch))
    # Cells of 1, 0.4 and 0.3 times the loudest: the first two are in the oracle.
    clean = torch.tensor([[[2.0, 0.8, 0.6]]])
    oracle = torch.tensor([[[1.0, 1.0, 0.0]]])
    perfect = dataclasses.replace(item_of(batch, 0), rep_clean=clean, mask=oracle)
    assert OracleMask(0.35)(perfect).item() == pytest.approx(0.0, abs=1e-6)
    assert OracleMask(0.45)(perfect) > 1


def test_the_clean_part_itself_is_at_no_distance():
    batch = evidence()
    assert CleanRepresentation()(batch)[:2].max() < 1e-10
    assert CleanRepresentation()(batch)[2:].min() > 0.01


@pytest.mark.parametrize("guidance", GUIDANCE, ids=lambda g: type(g).__name__)
def test_guidance_moves_the_mask_towards_the_clean_clip(guidance):
    batch = evidence(n_clips=2)
    logits = torch.zeros_like(batch.mask, requires_grad=True)
    guided = dataclasses.replace(batch, mask=torch.sigmoid(logits))
    guidance(guided).sum().backward()
    loud = batch.rep_clean >= 0.35 * batch.rep_clean.amax((1, 2), keepdim=True)
    loud &= batch.rep_clean > 0.5 * batch.rep  # more than a mask of 0.5 lets through
    assert loud.any()
    assert (logits.grad[loud] < 0).all()  # the mask rises there
    assert (logits.grad[batch.rep_clean == 0] > 0).all()


@pytest.mark.parametrize("guidance", GUIDANCE, ids=lambda g: type(g).__name__)
def test_padding_has_no_part_in_guidance(guidance):
    batch = evidence()
    padded = {
        name: torch.nn.functional.pad(getattr(batch, name), (0, 0, 0, 3), value=0.7)
        for name in ("mask", "rep", "rep_clean")
    }
    padded = dataclasses.replace(batch, **padded, frames=torch.full((4,), 7))
    values = objective(guidance)(padded)
    for name, value in objective(guidance)(batch).items():
        torch.testing.assert_close(values[name], value)


def test_selection_takes_no_gradient():
    batch = evidence()
    mask = batch.mask.clone().requires_grad_()
    selected = SimilarExplanations(0.6)(dataclasses.replace(batch, mask=mask))
    assert not selected.requires_grad


@pytest.mark.parametrize("kind", [SimilarExplanations, OracleMask])
def test_thresholds_have_a_range(kind):
    with pytest.raises(InputError, match=rf"{kind.__name__}.*1\.5"):
        kind(1.5)


def test_a_weight_of_an_unknown_term_is_refused():
    with pytest.raises(InputError, match="guidnace.*mask_l1"):
        objective(weights={**WEIGHTS, "guidnace": 1.0})
