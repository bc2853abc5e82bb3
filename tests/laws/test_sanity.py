"""Cascading randomisation: the layers that become random, and their order."""

import pytest
import torch

from speechbrain_lmac.classifiers import CNN14Classifier, CompactClassifier
from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding, ClapClassifier
from speechbrain_lmac.data.conditions import ConditionClips, GroundTruth
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.evaluation.benchmark import Benchmark, Sanity
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.evaluation.randomisation import (
    SIMILARITIES,
    cascade,
    cascade_layers,
    randomisation_check,
    reinitialise,
)
from speechbrain_lmac.explainers import RandomExplainer, Remembered
from speechbrain_lmac.types import Encoded, Explanation
from speechbrain_lmac.utils.errors import InputError

FRAMES, BINS = 32, 16


def trained(channels=(4, 6)):
    """A classifier whose weights and statistics are not those of a new one."""
    model = CompactClassifier(n_classes=3, n_mels=BINS, channels=list(channels))
    with torch.no_grad():
        for i, tensor in enumerate([*model.parameters(), *model.buffers()]):
            draw = torch.Generator().manual_seed(i)
            if tensor.is_floating_point():
                tensor.copy_(0.1 + torch.rand(tensor.shape, generator=draw))
            else:
                tensor.fill_(7)
    return model.eval().requires_grad_(False)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(before, after):
    return [name for name in before if torch.equal(before[name], after[name])]


class Domain:
    """Frames of a waveform of FRAMES * BINS samples."""

    def encode(self, wav, lens=None):
        rep = wav.reshape(-1, FRAMES, BINS).abs()
        return Encoded(rep, None, wav.shape[1])


class Gradient:
    """|d logit / d rep| as a mask, or the mask of a constant method."""

    def __init__(self, classifier):
        self.classifier = classifier
        self.targets = []

    @torch.enable_grad()  # a random control asks without
    def explain(self, wav, target=None, lens=None):
        encoded = Domain().encode(wav)
        rep = encoded.rep.clone().requires_grad_()
        logits = self.classifier(rep).logits
        target = logits.argmax(1) if target is None else target
        self.targets.append(target)
        chosen = logits.gather(1, target[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, rep)
        mask = gradient.abs() / gradient.abs().amax((1, 2), keepdim=True).clamp(1e-9)
        return Explanation(mask, target, encoded, logits)


class Input(Gradient):
    """A method that ignores the classifier, which the check must detect."""

    def explain(self, wav, target=None, lens=None):
        explanation = super().explain(wav, target)
        rep = explanation.encoded.rep
        mask = rep / rep.amax((1, 2), keepdim=True)
        return Explanation(mask, *_others(explanation))


def _others(explanation):
    return explanation.target, explanation.encoded, explanation.logits


def batches(*sizes):
    draw = torch.Generator().manual_seed(0)
    start = 0
    for size in sizes:
        wav = torch.rand(size, FRAMES * BINS, generator=draw)
        yield ClipBatch([f"clip{start + i}" for i in range(size)], wav)
        start += size


def check(explainer, classifier, sizes=(2, 1), **options):
    return randomisation_check(
        explainer, classifier, batches(*sizes), progress=False, **options
    )


# --- Layers -------------------------------------------------------------------------


def test_layers_of_the_compact_classifier_from_the_top():
    names = [name for name, _ in cascade_layers(trained())]
    assert names == ["linear", "blocks.1.1", "blocks.0.1", "norm"]


def test_layers_of_cnn14_from_the_top_and_each_weight_in_one_of_them():
    model = CNN14Classifier(3, emb_dim=64)
    layers = cascade_layers(model)
    names = [name.removeprefix("embedding_model.") for name, _ in layers]
    blocks = [f"conv_block{i}.conv{j}" for i in range(6, 0, -1) for j in (2, 1)]
    assert names == ["classifier", *blocks, "norm0"]
    held = [id(p) for _, layer in layers for p in layer.parameters()]
    assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_norms_without_a_convolution_each_stand_alone():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.BatchNorm2d(2),
        torch.nn.BatchNorm2d(2, affine=False),
        torch.nn.ReLU(),
    )
    assert [name for name, _ in cascade_layers(model)] == ["2", "1", "0"]


def test_a_model_without_weights_is_refused():
    with pytest.raises(InputError, match="ReLU.*weights"):
        cascade_layers(torch.nn.ReLU())


# --- Randomising and restoring ------------------------------------------------------


def test_each_step_changes_one_layer_more_statistics_too():
    model = trained()
    before = state(model)
    untouched = []
    with cascade(model) as steps:
        for _ in steps:
            untouched.append(set(same(before, model.state_dict())))
    everything = set(before)
    linear = {"linear.weight", "linear.bias"}
    assert untouched[0] == everything - linear
    last_block = {name for name in everything if name.startswith("blocks.1.")}
    assert untouched[1] == everything - linear - last_block
    assert untouched[-1] == set()


def test_afterwards_all_is_as_before_bit_by_bit():
    model = trained()
    before = state(model)
    with cascade(model) as steps:
        list(steps)
        assert same(before, model.state_dict()) == []
    assert same(before, model.state_dict()) == list(before)


def test_an_error_restores_as_well():
    model = trained()
    before = state(model)
    with pytest.raises(KeyError), cascade(model) as steps:
        next(steps)
        raise KeyError
    assert same(before, model.state_dict()) == list(before)


def test_a_layers_weights_depend_on_seed_and_name_alone():
    def weights(seed, noise):
        model = trained()
        torch.manual_seed(noise)
        with cascade(model, seed) as steps:
            list(steps)
            return state(model)

    first = weights(1, noise=0)
    assert same(first, weights(1, noise=5)) == list(first)
    # other numbers; only initial values of batch norms are equal
    again = [name for name in same(first, weights(2, noise=0)) if "norm" not in name]
    assert not [name for name in again if name.endswith("1.weight")]
    assert "linear.weight" not in again


def test_randomising_leaves_the_random_state_of_the_process():
    module = torch.nn.Linear(3, 3)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    reinitialise(module, "key")
    assert torch.equal(torch.rand(2), expected)


def test_a_parameter_that_nothing_resets_is_shuffled():
    class Scale(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.arange(100.0).view(10, 10))

    module = Scale()
    reinitialise(module, "key")
    assert not torch.equal(module.scale, Scale().scale)
    values = module.scale.detach().flatten().sort().values
    assert values.tolist() == list(range(100))


# --- The check ----------------------------------------------------------------------


def test_a_gradient_follows_the_classifier_and_an_edge_detector_does_not():
    model = trained()
    before = state(model)
    follows, ignores = (check(kind(model), model) for kind in (Gradient, Input))
    assert same(before, model.state_dict()) == list(before)
    for table in (follows, ignores):
        names = [score.name for score in SIMILARITIES]
        assert list(table.columns) == ["id", "step", "layer", *names]
        assert table.layer.unique().tolist() == [
            "trained", "linear", "blocks.1.1", "blocks.0.1", "norm"
        ]  # fmt: skip
        assert table.id.tolist() == ["clip0", "clip1", "clip2"] * 5
        assert table[table.step == 0][names].to_numpy() == pytest.approx(1)
    assert ignores[names].to_numpy() == pytest.approx(1)
    assert (follows[follows.step == 4].Spearman < 0.8).all()


def test_the_trained_classifiers_class_is_explained_at_every_step():
    explainer = Gradient(model := trained())
    check(explainer, model, sizes=(3,))
    assert len(explainer.targets) == 6
    for target in explainer.targets:
        assert torch.equal(target, explainer.targets[0])


def test_scores_do_not_depend_on_the_batches():
    model = trained()
    one, three = (check(Gradient(model), model, sizes) for sizes in [(1, 1, 1), (3,)])
    scores = ["Spearman", "SSIM"]
    assert one[scores].to_numpy() == pytest.approx(three[scores].to_numpy(), abs=1e-3)


def test_a_cached_explanation_does_not_hide_the_change():
    model = trained()
    remembered = Remembered(Gradient(model))
    random = RandomExplainer(remembered)
    plain = check(Gradient(model), model)
    assert check(remembered, model).equals(plain)
    assert check(random, model).Spearman.notna().all()


def test_an_explainer_of_another_classifier_is_refused():
    with pytest.raises(InputError, match="layer linear "):
        check(Gradient(trained()), trained())


def test_a_mask_that_only_fades_keeps_its_ranks_and_not_its_overlap():
    class Fading(Input):
        calls = 0

        def explain(self, wav, target=None, lens=None):
            explanation = super().explain(wav, target, lens)
            Fading.calls += 1
            scale = 1.0 if Fading.calls == 1 else 0.25
            return Explanation(scale * explanation.mask, *_others(explanation))

    model = trained()
    table = check(Fading(model), model, sizes=(3,))
    assert table["Spearman"].to_numpy() == pytest.approx(1)
    assert table["overlap"].to_numpy() == pytest.approx(0.25)


def test_constant_masks_are_nan_not_left_out():
    class Constant(Gradient):
        def explain(self, wav, target=None, lens=None):
            explanation = super().explain(wav, target)
            return Explanation(
                torch.zeros_like(explanation.mask), *_others(explanation)
            )

    model = trained()
    table = check(Constant(model), model)
    assert len(table) == 15
    assert table[["Spearman", "SSIM"]].isna().all(axis=None)


def test_no_clip_is_refused():
    with pytest.raises(InputError, match="nothing"):
        check(Gradient(model := trained()), model, sizes=())


# --- Zero-shot classifiers -----------------------------------------------------------


class Towers(torch.nn.Module):
    """A CLAP of a compact audio tower and of a text tower with weights."""

    embedding_dim, scale = 3, torch.tensor(10.0)

    def __init__(self):
        super().__init__()
        self.audio_tower = trained()
        self.text_tower = torch.nn.Embedding(9, 3)

    def audio(self, features):
        out = self.audio_tower(features)
        return AudioEmbedding(torch.nn.functional.normalize(out.logits), out.hidden)

    def text(self, sentences):
        places = torch.tensor([len(sentence) % 9 for sentence in sentences])
        return torch.nn.functional.normalize(self.text_tower(places))


def test_of_a_zero_shot_classifier_the_audio_encoder_is_randomised():
    torch.manual_seed(0)
    clap = Towers()
    classifier = ClapClassifier(clap, ["a", "dog", "rain"], template=None)
    explainer, before = Gradient(classifier), state(classifier)
    table = check(explainer, clap.audio_tower)
    layers = ["trained", "linear", "blocks.1.1", "blocks.0.1", "norm"]
    assert table["layer"].unique().tolist() == layers
    assert table[table["step"] == 0]["Spearman"].tolist() == pytest.approx([1] * 3)
    assert table[table["step"] == 4]["Spearman"].max() < 0.9
    after = state(classifier)
    assert same(before, after) == list(before)
    # Its prompts are embedded once: random words change no similarity.
    with pytest.raises(InputError, match="layer clap.text_tower"):
        check(explainer, classifier)


def test_a_benchmark_randomises_the_encoder_that_it_is_told(tmp_path):
    torch.manual_seed(0)
    clap = Towers()
    classifier = ClapClassifier(clap, ["a", "dog", "rain"], template=None)
    (batch,) = batches(3)
    clips = [
        {"id": name, "signal": wav, "label": 0, "lens": 1.0}
        for name, wav in zip(batch.ids, batch.wav, strict=True)
    ]
    opened = ConditionClips(clips, GroundTruth(), "0", "three clips")
    block = Block(Domain(), classifier, {"gradient": Gradient(classifier)})
    benchmark = Benchmark(
        {"STFT": block}, {"clean": opened}, classifier, (), ["a", "dog", "rain"]
    )
    sanity = Sanity("clean", n_clips=2, encoder=clap.audio_tower)
    table = benchmark.check_sanity(sanity, tmp_path, 1234, progress=False)
    assert table["layer"].unique().tolist()[1:] == [
        name for name, _ in cascade_layers(clap.audio_tower)
    ]
    assert table["id"].nunique() == 2
    with pytest.raises(InputError, match="layer clap.text_tower"):
        benchmark.check_sanity(Sanity("clean", 2), tmp_path, 1234, progress=False)
