"""What the big CLAPs refuse, and how: files, folders, tokenizers, prompts."""

import json
import re
import shutil
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from speechbrain_lmac.classifiers import (
    HuggingFaceClap,
    MelClap,
    MicrosoftClap,
    NewHuggingFaceClap,
)
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.evidence import check_mask
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.tokenizer import TEMPLATE


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """The hub as it is without network: any request is a failure."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", tmp_path / "hub")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def copied(clap_folder, tmp_path):
    """A folder of transformers that may be spoilt."""
    return shutil.copytree(clap_folder, tmp_path / "copy")


def change(path, **values):
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, **values}))


@pytest.fixture
def spoilt(microsoft_state, microsoft_folder, tmp_path):
    """`spoilt(change)`: CLAP of a checkpoint whose weights `change` has changed."""

    def spoilt(change):
        state = dict(microsoft_state)
        change(state)
        torch.save({"model": state}, tmp_path / "mine.pth")
        return MicrosoftClap(tmp_path / "mine.pth", microsoft_folder / "tokenizer")

    return spoilt


# --- Prompts ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [HuggingFaceClap, MicrosoftClap])
def test_prompts_that_do_not_fit_the_tower_are_refused(
    kind, clap_folder, microsoft_folder
):
    clap = (
        HuggingFaceClap(clap_folder)
        if kind is HuggingFaceClap
        else MicrosoftClap(microsoft_folder, microsoft_folder / "tokenizer")
    ).eval()
    # Both have 24 positions.
    longest, longer = " ".join(["dog"] * 22), " ".join(["dog"] * 23)
    with torch.no_grad():
        lengths = clap.text([longest, "rain"]).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(2))
    with pytest.raises(InputError, match="24 tokens.* 25 .*dog"):
        clap.text(["rain", longer])
    for empty in ([], ["rain", " "]):
        with pytest.raises(InputError, match=re.escape(f"got {empty}")):
            clap.text(empty)


def test_an_input_of_another_domain_is_refused(clap_folder):
    clap = HuggingFaceClap(clap_folder)
    with pytest.raises(ValueError, match=r"\(1, 1001, 64\).*ClapSTFTDomain"):
        clap.audio(torch.zeros(1, 1001, 64))
    with pytest.raises(
        InputError, match=r"\(batch, 1001, 64\).*\(1, 4000\).*ClapMelDomain"
    ):
        MelClap(clap).audio(torch.zeros(1, 4000))


# --- Hugging Face -------------------------------------------------------------------


def test_a_new_clap_is_written_and_loaded(clap_folder, tmp_path):
    audio = {"patch_embeds_hidden_size": 8, "depths": [1, 1, 1, 1]}
    audio |= {"num_attention_heads": [1, 1, 2, 2], "hidden_size": 64}
    text = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "intermediate_size": 16}
    config = {"audio_config": audio, "text_config": text, "projection_dim": 12}
    new = NewHuggingFaceClap(config, clap_folder, {"frequency_min": 50}).eval()
    new.save(tmp_path / "clap")
    loaded = HuggingFaceClap(tmp_path / "clap").eval()
    assert (loaded.embedding_dim, loaded.front_end.low_hz) == (12, 50)
    for weight in loaded.parameters():
        # A file's weights may lie at any address, on which the last bit of the product
        # of a single row depends; those of `new` are aligned.
        weight.data = weight.data.clone()
    with torch.no_grad():
        assert torch.equal(loaded.text(["a dog"]), new.text(["a dog"]))
        wav = torch.rand(1, 9600)
        assert torch.equal(loaded.audio(wav).embedding, new.audio(wav).embedding)
    for name, value in new.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    with pytest.raises(InputError, match="ClapAudioConfig.*dephts.*depths"):
        NewHuggingFaceClap({"audio_config": {"dephts": [1]}}, clap_folder)


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"truncation": "fusion"}, "enable_fusion.*clap-htsat-unfused"),
        ({"feature_size": 32}, "num_mel_bins.*feature_size.* 64 .* 32"),
        ({"padding": "mirror"}, "padding.*repeatpad.*'mirror'"),
        ({"hop_length": 160}, "1024 frames.* 3001"),
    ],
)
def test_a_preprocessor_of_another_model_is_refused(settings, named, copied):
    change(copied / "preprocessor_config.json", **settings)
    with pytest.raises(InputError, match=named):
        HuggingFaceClap(copied)


def test_other_folders_are_refused(copied, hf_folder, no_network):
    with pytest.raises(InputError, match="'clap', got 'wav2vec2'"):
        HuggingFaceClap(hf_folder("wav2vec2"))
    with pytest.raises(InputError, match=r"user/name\): nowhere"):
        HuggingFaceClap("nowhere")
    with pytest.raises(InputError, match="CLAP from no/where"):
        HuggingFaceClap("no/where")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copied / name).unlink()
    with pytest.raises(InputError, match="tokenizer from .*copy"):
        HuggingFaceClap(copied)


@pytest.mark.parametrize("kind", [HuggingFaceClap, MicrosoftClap])
def test_a_missing_transformers_is_named(kind, monkeypatch, microsoft_folder):
    monkeypatch.setitem(sys.modules, "transformers", None)
    source = "someone/model" if kind is HuggingFaceClap else microsoft_folder
    with pytest.raises(InputError, match=r"speechbrain_lmac\[hf\]"):
        kind(source)


# --- Microsoft ----------------------------------------------------------------------


def test_a_file_and_its_folder_are_the_same(microsoft_folder):
    tokenizer = microsoft_folder / "tokenizer"
    one = MicrosoftClap(microsoft_folder, tokenizer)
    other = MicrosoftClap(microsoft_folder / "CLAP_weights_2022.pth", tokenizer)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    assert (one.embedding_dim, one.sample_rate) == (16, 44100)


def without(name):
    return lambda state: state.pop(name)


@pytest.mark.parametrize(
    "change, named",
    [
        (without("audio_encoder.base.fc1.weight"), "missing.*embed.weight"),
        (without("logit_scale"), "logit_scale is missing"),
        (without("audio_encoder.base.bn0.bias"), "cnn14.norm0.bias is missing"),
        (
            lambda state: state.update({"audio_encoder.base.fc2.bias": torch.ones(1)}),
            "unknown.* audio_encoder.base.fc2.bias",
        ),
        (
            lambda state: state.update({"audio_encoder.base.bn0.bias": torch.ones(3)}),
            r"cnn14.norm0.bias is \(3,\), not \(64,\)",
        ),
        (
            lambda state: state.update(
                {"audio_encoder.base.htsat.norm.bias": torch.ones(1)}
            ),
            "2023.*CLAP_weights_2022.pth",
        ),
    ],
)
def test_weights_of_another_model_are_refused(change, named, spoilt):
    with pytest.raises(InputError, match=named):
        spoilt(change)


class Code:
    """An object whose loading runs code."""


def test_other_files_are_refused(tmp_path, clap_folder, microsoft_folder, no_network):
    tokenizer = microsoft_folder / "tokenizer"
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="cut.pth.*truncated"):
        MicrosoftClap(tmp_path / "cut.pth", tokenizer)
    torch.save({"model": {"weight": Code()}}, tmp_path / "code.pth")
    with pytest.raises(InputError, match="code.pth.*weights_only=False"):
        MicrosoftClap(tmp_path / "code.pth", tokenizer)
    torch.save({"weight": torch.ones(1)}, tmp_path / "bare.pth")
    with pytest.raises(InputError, match='bare.pth.*"model"'):
        MicrosoftClap(tmp_path / "bare.pth", tokenizer)
    with pytest.raises(InputError, match="parts/classifier/clap_huggingface.yaml"):
        MicrosoftClap(clap_folder, tokenizer)
    with pytest.raises(InputError, match="parts/classifier/clap_microsoft.yaml"):
        HuggingFaceClap(microsoft_folder / "CLAP_weights_2022.pth")
    with pytest.raises(InputError, match=f"CLAP_weights_2022.pth from '{tmp_path}'"):
        MicrosoftClap(tmp_path, tokenizer)
    with pytest.raises(InputError, match="tokenizer from no/where"):
        MicrosoftClap(microsoft_folder, "no/where")


# --- The same YAML for other towers --------------------------------------------------

HPARAMS = Path(__file__).parents[4] / "hparams"


@pytest.mark.parametrize("kind", ["stft", "mel"])
def test_a_clap_of_transformers_in_the_yaml_of_microsofts(kind, clap_folder, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"parent: esc50_lmac_zs_{kind}.yaml\n"
        "tokenizer_source: null\n"
        "clap: !include:parts/classifier/clap_huggingface.yaml\n"
        "    source: !ref <clap_source>\n"
    )
    argv = [str(tmp_path / "mine.yaml"), f"--clap_source={clap_folder}"]
    with pytest.raises(InputError, match="domain 48000.*classifier 48000"):
        load_experiment(argv)
    hparams, _, _ = load_experiment([*argv, "--sample_rate=48000"])
    domain, classifier = hparams["domain"], hparams["classifier"]
    assert TEMPLATE.format("sea waves") in classifier.prompts
    assert "sea_waves" in classifier.labels
    explainer = hparams["explainer"](domain, classifier, hparams["interpreter"].eval())
    wav = torch.rand(1, 9600)
    with torch.no_grad():
        explanation = explainer.explain(wav)
    check_mask(explanation.mask, domain.encode(wav).rep)
    assert explanation.logits.shape == (1, 50)
