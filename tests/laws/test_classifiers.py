"""What holds for every classifier: any length, no neighbours, aligned, frozen."""

import pytest
import torch

from speechbrain_lmac.classifiers import (
    CNN14Classifier,
    CompactClassifier,
    FrozenClassifier,
)
from speechbrain_lmac.classifiers.checkpoint import save_classifier
from speechbrain_lmac.data.dataset import collate_clips
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.interpreters import ConvInterpreter, MelToBins
from speechbrain_lmac.losses.lmac import WeightedObjective, mask_in, mask_l1
from speechbrain_lmac.recipes.train_lmac import LMAC
from speechbrain_lmac.training.schedules import CosineSchedule
from tests.small_models import N_MELS, small_cnn14, small_compact, with_statistics

# Equal clips have equal scores up to the rounding of float32.
BATCH_TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def compact():
    return small_compact()


@pytest.fixture(scope="module")
def cnn14():
    return small_cnn14()


@pytest.fixture(params=["compact", "cnn14"])
def model(request):
    return request.getfixturevalue(request.param)


def features(n_clips, n_frames, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(n_clips, n_frames, N_MELS, generator=draw)


@pytest.mark.parametrize("n_frames", [1, 15, 16, 31, 32, 33, 101])
def test_any_length_has_logits(model, n_frames):
    with torch.no_grad():
        output = model(features(2, n_frames))
    assert output.logits.shape == (2, 3)
    assert torch.isfinite(output.logits).all()
    assert all(min(maps.shape) > 0 for maps in output.hidden)


@pytest.mark.parametrize("n_frames", [1, 15])
def test_short_clips_are_padded_with_silence(model, n_frames):
    clip = features(1, n_frames)
    silence = torch.zeros(1, 32 if isinstance(model, CNN14Classifier) else 16, N_MELS)
    padded = torch.cat([clip, silence], dim=1)[:, : silence.shape[1]]
    with torch.no_grad():
        assert torch.equal(model(clip).logits, model(padded).logits)


def test_hidden_maps_of_cnn14_are_those_of_the_docstring():
    with torch.device("meta"):  # shapes without arithmetic, at the published width
        model = CNN14Classifier(n_classes=50).eval()
        output = model(torch.empty(2, 431, 80))
    assert output.logits.shape == (2, 50)
    assert [tuple(maps.shape) for maps in output.hidden] == [
        (2, 256, 53, 10),
        (2, 512, 26, 5),
        (2, 1024, 13, 2),
        (2, 2048, 13, 2),
    ]


@pytest.mark.parametrize("n_frames", [16, 431, 700])
def test_hidden_maps_of_compact_halve_at_each_block(n_frames):
    model = CompactClassifier(7, channels=(2, 3, 4, 5)).eval()
    with torch.no_grad():
        output = model(torch.rand(2, n_frames, 80))
    assert output.logits.shape == (2, 7)
    for level, maps in enumerate(output.hidden):
        stride = 2 ** (level + 1)
        assert maps.shape[:2] == (2, 2 + level)
        assert abs(maps.shape[2] - n_frames / stride) < 1  # odd sizes are rounded
        assert maps.shape[3] == 80 // stride


def test_scores_do_not_depend_on_the_batch(model):
    clips = features(3, 64)
    clips[1] *= 50
    with torch.no_grad():
        together = model(clips)
        for item in range(3):
            alone = model(clips[item : item + 1])
            torch.testing.assert_close(
                together.logits[item], alone.logits[0], **BATCH_TOLERANCE
            )
            for both, one in zip(together.hidden, alone.hidden, strict=True):
                torch.testing.assert_close(
                    both[item], one[0], rtol=1e-4, atol=1e-5 * one.abs().max().item()
                )


def test_equal_clips_have_equal_scores_in_eval_mode(model):
    with torch.no_grad():
        assert torch.equal(model(features(2, 40)).logits, model(features(2, 40)).logits)


# For each map: frames that one step stands for, and how many frames further it hears
# to either side. CNN14 has two 3x3 convolutions in a block, before its pooling; the
# compact one has one of them, after it.
HEARS = {
    "compact": [(2, 1), (4, 5), (8, 13), (16, 29)],
    "cnn14": [(8, 14), (16, 30), (32, 62), (32, 126)],
}


@pytest.mark.parametrize("event", [40, 111, 150])
@pytest.mark.parametrize("name", HEARS)
def test_an_event_moves_the_hidden_maps_at_its_time(name, event, request):
    model = request.getfixturevalue(name)
    before = features(1, 192)
    after = before.clone()
    after[:, event] += 4.0
    with torch.no_grad():
        pairs = zip(model(before).hidden, model(after).hidden, strict=True)
        moves = [(b - a).abs().amax((0, 1, 3)) for b, a in pairs]
    for move, (stride, reach) in zip(moves, HEARS[name], strict=True):
        moved = (move > 1e-5 * move.max()).nonzero()[:, 0]
        first, last = moved.min().item(), moved.max().item()
        assert first * stride - reach <= event < (first + 1) * stride + reach
        assert last * stride - reach <= event < (last + 1) * stride + reach
        # The largest change is at the event, and as much lies before as behind.
        assert abs(move.argmax().item() - event // stride) <= 1
        if 0 < first and last < len(move) - 1:
            middle = (first + last + 1) / 2 * stride
            assert abs(middle - event) <= stride / 2 + 1


@pytest.fixture
def frozen(tmp_path):
    torch.manual_seed(0)
    trained = with_statistics(CompactClassifier(3, channels=(4, 5)))
    save_classifier(trained, ["cat", "dog", "rain"], tmp_path)
    return FrozenClassifier(CompactClassifier(3, channels=(4, 5)), str(tmp_path))


def state_of(module):
    """Parameters and buffers, copied."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_frozen_stays_in_eval_mode(frozen):
    parent = torch.nn.ModuleDict({"classifier": frozen, "other": torch.nn.ReLU()})
    for train in (frozen.train, parent.train, lambda: frozen.train(True)):
        train()
        assert not any(module.training for module in frozen.modules())
    assert parent["other"].training


def test_frozen_has_nothing_to_train(frozen):
    assert len(list(frozen.parameters())) > 0
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_frozen_knows_its_classes(frozen):
    assert (frozen.n_classes, frozen.labels) == (3, ["cat", "dog", "rain"])


def test_the_gradient_goes_through_frozen_to_its_input(frozen):
    inputs = torch.rand(2, 40, 80, requires_grad=True)
    frozen(inputs).logits[:, 0].sum().backward()
    assert torch.isfinite(inputs.grad).all()
    assert inputs.grad.abs().sum((1, 2)).all()
    assert all(parameter.grad is None for parameter in frozen.parameters())


@pytest.mark.parametrize("where", ["hparams", "modules"])
def test_training_an_interpreter_changes_no_bit_of_the_classifier(frozen, where):
    before = state_of(frozen)
    domain = STFTDomain(sample_rate=16000)
    interpreter = ConvInterpreter([4, 5], [3, 3], 2, 80, MelToBins(16000, 1024, 80))
    untrained = state_of(interpreter)
    modules = {"domain": domain, "interpreter": interpreter}
    if where == "modules":  # where Brain calls train() on it in every epoch
        modules["classifier"] = frozen
    brain = LMAC(
        modules=modules,
        opt_class=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        hparams={
            "seed": 1,
            "classifier": frozen,
            "lr_annealing": CosineSchedule(0.01, warmup_epochs=0, number_of_epochs=2),
            "metrics": [],
            "objective": WeightedObjective(
                {"mask_in": mask_in, "mask_l1": mask_l1}, {"mask_in": 4, "mask_l1": 1}
            ),
        },
        run_opts={"device": "cpu", "noprogressbar": True},
    )
    draw = torch.Generator().manual_seed(2)
    clips = [
        {"id": str(i), "signal": torch.randn(4000, generator=draw), "label": 0}
        for i in range(6)
    ]
    loader = torch.utils.data.DataLoader(clips, batch_size=2, collate_fn=collate_clips)
    brain.fit(range(1, 3), loader)
    after = state_of(frozen)
    assert before.keys() == after.keys()
    assert any("running_var" in name for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    trained = interpreter.state_dict()
    assert any(not torch.equal(untrained[name], trained[name]) for name in untrained)
