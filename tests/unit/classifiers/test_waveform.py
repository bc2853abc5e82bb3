"""What is said when a model, a layer, a layout or a folder does not fit."""

import json
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from transformers import AutoModelForAudioClassification

from speechbrain_lmac.classifiers import (
    Axes,
    CNN14Classifier,
    Conv1dNet,
    FoldedTime,
    Frozen,
    FrozenClassifier,
    HuggingFaceClassifier,
    NewHuggingFaceModel,
    Patches,
    Places,
    SpeechBrainClassifier,
    WaveformClassifier,
    read_labels,
)
from speechbrain_lmac.classifiers.layouts import first_tensor
from speechbrain_lmac.classifiers.waveform import logits_field, logits_first
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.domains.stft import STFTDomain, WaveformSTFTDomain
from speechbrain_lmac.explainers import (
    AttributionExplainer,
    GradCAM,
    GradCAMPlusPlus,
    GuidedBackprop,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
)
from speechbrain_lmac.explainers.to_mask import absolute
from speechbrain_lmac.interpreters import AlignedInterpreter
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import fingerprint_of

RATE = 16000


def net(n_classes=3, seed=0):
    torch.manual_seed(seed)
    return Conv1dNet(n_classes, [4, 5], [65, 9], [16, 8])


def classifier(**changes):
    arguments = {
        "model": net(),
        "n_classes": 3,
        "sample_rate": RATE,
        "hidden_layers": ["blocks.0", "blocks.1"],
        "layout": Axes("BCT"),
    }
    return WaveformClassifier(**{**arguments, **changes})


# --- Layers and logits --------------------------------------------------------------


def test_a_mistyped_layer_names_the_known_ones_similar_names_first():
    with pytest.raises(InputError) as error:
        classifier(hidden_layers=["block.1"])
    message = str(error.value)
    assert "Conv1dNet" in message and "'block.1'" in message
    assert message.index("blocks.1,") < message.index("blocks.0.0")
    assert "linear" in message


@pytest.mark.parametrize(
    "layers, layout",
    [
        ([], Axes("BCT")),
        (["blocks.0", "blocks.0"], Axes("BCT")),
        (["blocks.0", "blocks.1"], [Axes("BCT")]),
    ],
)
def test_layers_and_layouts_that_do_not_match_are_refused(layers, layout):
    with pytest.raises(InputError, match="hidden_layers.*layouts"):
        classifier(hidden_layers=layers, layout=layout)


class Twice(torch.nn.Module):
    """A layer that is called twice, and one that is not called."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Linear(3, 3)
        self.idle = torch.nn.Linear(3, 3)

    def forward(self, wav):
        return self.mix(self.mix(wav[:, :3]))


@pytest.mark.parametrize("layer, times", [("mix", 2), ("idle", 0)])
def test_a_layer_must_be_called_once(layer, times):
    model = classifier(model=Twice(), hidden_layers=[layer], layout=Axes("BT"))
    with pytest.raises(InputError, match=f"{times} calls of '{layer}'"):
        model(torch.rand(2, 100))


def test_a_layout_that_does_not_fit_names_the_layer_and_both_shapes():
    model = classifier(layout=Axes("BCTF"))
    with pytest.raises(InputError, match=r"'blocks.0'.*BCTF.*\(1, 4, "):
        model(torch.rand(1, 1600))


class Returns(torch.nn.Module):
    """A model with an output of this kind."""

    def __init__(self, output):
        super().__init__()
        self.layer = torch.nn.Identity()
        self.output = output

    def forward(self, wav):
        return self.output(self.layer(wav)[:, :3])


class Output:
    def __init__(self, logits):
        self.logits = logits


@pytest.mark.parametrize(
    "output, read", [(Output, logits_field), (lambda x: (x, None), logits_first)]
)
def test_logits_are_read_where_they_are(output, read):
    wav = torch.rand(2, 100)
    model = classifier(
        model=Returns(output),
        hidden_layers=["layer"],
        layout=Axes("BT"),
        read_logits=read,
    )
    assert torch.equal(model(wav).logits, wav[:, :3])


@pytest.mark.parametrize(
    "output, named", [(Output, "Output"), (lambda x: x[:, :2], r"\(2, 2\)")]
)
def test_an_output_without_logits_is_refused(output, named):
    model = classifier(
        model=Returns(output), hidden_layers=["layer"], layout=Axes("BT")
    )
    with pytest.raises(InputError, match=rf"\(2, 3\), got .*{named}"):
        model(torch.rand(2, 100))


def test_features_of_another_domain_are_refused():
    features = STFTDomain(RATE).features(STFTDomain(RATE).encode(torch.rand(1, 4000)))
    with pytest.raises(ValueError, match="stft_waveform.yaml"):
        classifier()(features)


def test_short_clips_are_padded_with_silence():
    model = classifier(min_samples=500).eval()
    clip = torch.rand(1, 100)
    padded = torch.nn.functional.pad(clip, (0, 400))
    assert torch.equal(model(clip).logits, model(padded).logits)
    assert not torch.equal(model(clip).logits, classifier().eval()(clip).logits)


def test_a_classifier_of_features_has_no_grids_for_the_aligned_decoder():
    frozen = Frozen(CNN14Classifier(3, 32, emb_dim=8))
    with pytest.raises(InputError, match="hidden_grids.*ConvInterpreter"):
        AlignedInterpreter(frozen, WaveformSTFTDomain(RATE))


# --- Layouts ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order, shape", [("BCTF", (2, 3, 4, 5)), ("BCFT", (2, 3, 5, 4)), ("TBF", (4, 2, 5))]
)
def test_axes_are_brought_into_order(order, shape):
    output = torch.rand(shape)
    maps = Axes(order).maps(output)
    sizes = dict(zip(order, shape, strict=True))
    assert maps.shape == tuple(sizes.get(letter, 1) for letter in "BCTF")
    index = {"B": 1, "C": 2, "T": 3, "F": 4}
    expected = output[tuple(index[letter] for letter in order)]
    here = [index[letter] if letter in order else 0 for letter in "BCTF"]
    assert maps[tuple(here)] == expected


@pytest.mark.parametrize("order", ["BCF", "BTT", "BTX", ""])
def test_an_order_without_time_or_with_strangers_is_refused(order):
    with pytest.raises(InputError, match=f"BTC.*{order!r}"):
        Axes(order)


def test_patches_come_by_frequency_or_by_time():
    # The patch at band f and step t has the number 10 f + t.
    grid = 10 * torch.arange(3)[:, None] + torch.arange(4)
    by_band = torch.cat([torch.tensor([-1, -2]), grid.flatten()])[None, :, None]
    by_time = grid.T.flatten()[None, :, None]
    one = Patches(n_bands=3, n_steps=4, n_prefix_tokens=2).maps(by_band)
    other = Patches(n_bands=3, n_steps=4, order="TF").maps(by_time)
    assert torch.equal(one, other)
    assert torch.equal(one[0, 0], grid.T)


@pytest.mark.parametrize(
    "layout, shape",
    [
        (Patches(n_bands=3, n_steps=4, n_prefix_tokens=2), (1, 12, 5)),
        (FoldedTime(4), (1, 60, 5)),
        (FoldedTime(4), (1, 36, 5)),
    ],
)
def test_tokens_of_another_number_are_refused(layout, shape):
    with pytest.raises(InputError, match=rf"\(B, .*\(1, {shape[1]}, 5\)"):
        layout.maps(torch.rand(shape))


def test_places_need_a_step():
    with pytest.raises(InputError, match="hop.*above 0.*0.0"):
        Places(0.0, 0.0)


def test_a_layer_without_a_tensor_is_refused():
    with pytest.raises(InputError, match="tensor, got dict"):
        first_tensor({"hidden": torch.rand(1)})


# --- Weights and names --------------------------------------------------------------


def test_a_state_dict_at_any_path_and_names_from_a_list(tmp_path):
    trained = net(seed=5)
    torch.save(trained.state_dict(), tmp_path / "mine.pt")
    names = ["sea", "dog", "rain"]
    frozen = FrozenClassifier(classifier(), str(tmp_path / "mine.pt"), labels=names)
    wav = torch.rand(2, 4000)
    assert torch.equal(frozen(wav).logits, trained.eval()(wav))
    assert (frozen.labels, frozen.sample_rate) == (names, RATE)


def test_a_folder_as_it_is_saved(tmp_path):
    classifier(model=net(seed=5)).save(["sea", "dog", "rain"], tmp_path)
    frozen = FrozenClassifier(classifier(), str(tmp_path))
    assert frozen.labels == ["sea", "dog", "rain"]
    wav = torch.rand(2, 4000)
    assert torch.equal(frozen(wav).logits, net(seed=5).eval()(wav))


def test_names_from_a_file(tmp_path):
    (tmp_path / "names.txt").write_text("sea\n dog \n\nrain\n", encoding="utf-8")
    text = (
        f"names: !apply:speechbrain_lmac.classifiers.read_labels [{tmp_path}/names.txt]"
    )
    assert load_hyperpyyaml(text)["names"] == ["sea", "dog", "rain"]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="empty.txt"):
        read_labels(tmp_path / "empty.txt")
    with pytest.raises(InputError, match="none.txt"):
        read_labels(tmp_path / "none.txt")


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "b"]])
def test_each_class_needs_a_name(labels):
    with pytest.raises(InputError, match="labels.* 3 .* 2 .*a, b"):
        Frozen(classifier(), labels)


def test_a_file_for_a_model_of_several_files_is_refused(tmp_path):
    (tmp_path / "one.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match="embedding_model.ckpt, classifier.ckpt"):
        FrozenClassifier(CNN14Classifier(3, 32, emb_dim=8), str(tmp_path / "one.ckpt"))


def test_a_file_of_another_model_is_refused(tmp_path):
    torch.save(net(n_classes=5).state_dict(), tmp_path / "mine.pt")
    with pytest.raises(InputError, match="mine.pt.*Conv1dNet"):
        FrozenClassifier(classifier(), str(tmp_path / "mine.pt"))


# --- Rates --------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["model", "classifier"])
def test_another_rate_than_that_of_the_domain_is_refused(key, tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "domain: !new:speechbrain_lmac.domains.WaveformSTFTDomain\n"
        "    sample_rate: 16000\n"
        f"{key}: !new:speechbrain_lmac.classifiers.WaveformClassifier\n"
        "    model: !new:speechbrain_lmac.classifiers.Conv1dNet\n"
        "        n_classes: 3\n"
        "        channels: [4]\n"
        "        kernels: [9]\n"
        "        strides: [4]\n"
        "    n_classes: 3\n"
        "    sample_rate: 44100\n"
        "    hidden_layers: [blocks.0]\n"
        "    layout: !new:speechbrain_lmac.classifiers.Axes\n"
        "        order: BCT\n"
    )
    with pytest.raises(InputError, match=f"domain 16000 Hz, {key} 44100 Hz"):
        load_experiment([str(path)])
    path.write_text(path.read_text().replace("44100", "16000"))
    assert load_experiment([str(path)])[0][key].sample_rate == 16000


# --- Methods ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def domain():
    return WaveformSTFTDomain(RATE)


@pytest.mark.parametrize(
    "method",
    [
        Saliency(absolute),
        IntegratedGradients(2, 2, absolute),
        SmoothGrad(2, 0.1, 2, 0, absolute),
    ],
    ids=lambda method: type(method).__name__,
)
def test_gradient_methods_explain_waveform_classifiers(domain, method):
    draw = torch.Generator().manual_seed(0)
    wav = 0.01 * torch.randn(2, 8000, generator=draw)
    wav[0, 4000:5000] += torch.randn(1000, generator=draw)
    explanation = AttributionExplainer(domain, Frozen(classifier()), method).explain(
        wav
    )
    assert explanation.mask.shape == explanation.encoded.rep.shape
    assert torch.isfinite(explanation.mask).all()
    # What this network takes the maximum over time of lies in the burst.
    assert 20 <= explanation.mask[0].sum(1).argmax().item() <= 28


@pytest.mark.parametrize("method", [GradCAM, GradCAMPlusPlus])
def test_class_activation_maps_are_refused_and_told_how_to_leave_out(domain, method):
    explainer = AttributionExplainer(domain, Frozen(classifier()), method(absolute))
    with pytest.raises(InputError, match="GradCAM: null"):
        explainer.explain(torch.rand(1, 4000))


def test_guided_backpropagation_is_refused_for_gelu(domain, hf_folder):
    source = str(hf_folder("audio-spectrogram-transformer"))
    explainer = AttributionExplainer(
        domain, HuggingFaceClassifier(source), GuidedBackprop(absolute)
    )
    with pytest.raises(InputError, match="gelu"):
        explainer.explain(torch.rand(1, 4000))


# --- Hugging Face and SpeechBrain ---------------------------------------------------


@pytest.fixture
def copied(hf_folder, tmp_path):
    """`copied(model_type)`: a folder that may be spoilt."""

    def copied(model_type):
        folder = tmp_path / "copy"
        folder.mkdir()
        for path in hf_folder(model_type).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return folder

    return copied


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """The hub as it is without network: any request is a failure."""

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", tmp_path / "hub")
    monkeypatch.chdir(tmp_path)


def change(path, **values):
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, **values}))


def test_the_names_of_a_folder_and_others(hf_folder, no_network):
    source = str(hf_folder("wav2vec2"))
    named = HuggingFaceClassifier(source)
    assert named.labels == ["burst", "chirp", "click", "hum", "siren", "tone"]
    assert HuggingFaceClassifier(source, labels=list("abcdef")).labels == list("abcdef")
    # Four of five blocks, the last one too.
    layers = [f"wav2vec2.encoder.layers.{i}" for i in (0, 1, 2, 4)]
    assert named.model.hidden_layers == layers
    assert fingerprint_of(named) == fingerprint_of(HuggingFaceClassifier(source))


def test_the_rate_is_that_of_the_preprocessor(copied):
    folder = copied("hubert")
    change(folder / "preprocessor_config.json", sampling_rate=8000)
    assert HuggingFaceClassifier(str(folder)).sample_rate == 8000


def test_what_is_written_after_a_training_is_loaded_by_name(tmp_path):
    torch.manual_seed(0)
    config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = NewHuggingFaceModel(
        "audio-spectrogram-transformer",
        3,
        {**config, "intermediate_size": 16, "max_length": 64},
        {"mean": -2.0},
    ).eval()
    model.save(["sea", "dog", "rain"], tmp_path / "classifier")
    frozen = HuggingFaceClassifier(str(tmp_path / "classifier"))
    assert frozen.labels == ["sea", "dog", "rain"]
    assert not list((tmp_path / "classifier").glob(".part*"))
    wav = torch.rand(1, 8000)
    with torch.no_grad():
        assert torch.equal(frozen(wav).logits, model(wav).logits)


def test_an_unknown_key_of_an_architecture_is_refused():
    with pytest.raises(InputError, match="wav2vec2.*hidden_sise.*hidden_size"):
        NewHuggingFaceModel("wav2vec2", 3, {"hidden_sise": 16})
    with pytest.raises(InputError, match="Wav2Vec2FeatureExtractor.*meen"):
        NewHuggingFaceModel("wav2vec2", 3, {}, {"meen": 0})


@pytest.mark.parametrize("kind", ["whisper", "no-such-model"])
def test_an_unsupported_architecture_names_the_supported_ones(kind, copied):
    supported = "audio-spectrogram-transformer with ASTFeatureExtractor, hubert with"
    with pytest.raises(InputError, match=f"unsupported.*'{kind}'.*{supported}"):
        NewHuggingFaceModel(kind, 3, {})


def test_a_folder_of_another_architecture_is_refused(copied):
    folder = copied("wav2vec2")
    change(folder / "config.json", model_type="whisper")
    with pytest.raises(InputError, match="unsupported.*'whisper'.*wavlm"):
        HuggingFaceClassifier(str(folder))


def test_a_feature_extractor_of_another_kind_is_refused(copied):
    folder = copied("wav2vec2")
    change(
        folder / "preprocessor_config.json",
        feature_extractor_type="ASTFeatureExtractor",
    )
    with pytest.raises(
        InputError, match="unsupported.*'wav2vec2' with ASTFeatureExtractor"
    ):
        HuggingFaceClassifier(str(folder))


def test_settings_of_two_models_are_refused(copied):
    folder = copied("audio-spectrogram-transformer")
    change(folder / "preprocessor_config.json", max_length=1024)
    with pytest.raises(InputError, match="max_length.* 144 .* 1024"):
        HuggingFaceClassifier(str(folder))


def test_an_encoder_without_a_trained_head_is_refused(hf_folder, copied, tmp_path):
    folder = copied("wav2vec2")
    model = AutoModelForAudioClassification.from_pretrained(hf_folder("wav2vec2"))
    model.wav2vec2.save_pretrained(folder)
    with pytest.raises(InputError, match="copy.* classifier"):
        HuggingFaceClassifier(str(folder))


def test_a_folder_without_settings_is_named(copied, no_network):
    folder = copied("wav2vec2")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="transformers classifier.*copy"):
        HuggingFaceClassifier(str(folder))


@pytest.mark.parametrize("kind", [HuggingFaceClassifier, SpeechBrainClassifier])
@pytest.mark.parametrize("source", ["results/no/such/folder", "nowhere", "no/where"])
def test_a_missing_folder_is_named(kind, source, no_network):
    more = {}
    if kind is SpeechBrainClassifier:
        more = {
            "hidden_layers": ["x"],
            "layout": Axes("BCT"),
            "trust_remote_code": True,
        }
    with pytest.raises(InputError, match=rf"(user/name\): |from ){source}"):
        kind(source, **more)


def test_speechbrains_yaml_on_the_hub_is_code(no_network):
    with pytest.raises(InputError, match="some/one.*trust_remote_code: true"):
        SpeechBrainClassifier("some/one", ["x"], Axes("BCT"))


def test_a_missing_transformers_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"speechbrain_lmac\[hf\]"):
        HuggingFaceClassifier("someone/model")


def part_with(source):
    """The part for SpeechBrain's classifiers, as an experiment includes it."""
    part = Path(__file__).parents[3] / "hparams/parts/classifier/speechbrain.yaml"
    return load_hyperpyyaml(f"c: !include:{part}\n    source: {source}\n")["c"]


def test_a_folder_of_speechbrain_from_elsewhere(ecapa_folder, no_network, tmp_path):
    classifier = part_with(ecapa_folder)
    assert classifier.labels == ["burst", "chirp", "click", "hum", "siren", "tone"]
    assert list(tmp_path.iterdir()) == []  # nothing is put into the working directory


def test_an_empty_label_encoder_is_refused(ecapa_folder, no_network, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in ecapa_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    text = (folder / "hyperparams.yaml").read_text()
    lines = [line for line in text.splitlines() if "label_encoder.txt" not in line]
    text = "\n".join(lines).replace("        label_encoder: !ref <label_encoder>\n", "")
    (folder / "hyperparams.yaml").write_text(text)
    with pytest.raises(InputError, match="hyperparams.yaml.*label_encoder.txt.*labels"):
        part_with(folder)


def test_a_missing_file_of_a_speechbrain_folder_is_named(ecapa_folder, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    with pytest.raises(InputError, match=f"{folder}/hyperparams.yaml"):
        part_with(folder)
    text = (ecapa_folder / "hyperparams.yaml").read_text()
    (folder / "hyperparams.yaml").write_text(text)
    with pytest.raises(InputError, match=f"SpeechBrain classifier from {folder}"):
        part_with(folder)
