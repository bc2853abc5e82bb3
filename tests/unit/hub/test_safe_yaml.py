"""The YAML of an untrusted model is data: nothing in it runs."""

import importlib
import inspect
import resource
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.explainers import L2IExplainer
from speechbrain_lmac.hub.safe_build import ALLOWED
from speechbrain_lmac.hub.safe_yaml import parse, read_safely
from speechbrain_lmac.utils.errors import InputError

# Names that no argument of an allowed class may have: they are paths or sources.
LEADING = {
    *("path", "paths", "source", "checkpoint", "file", "filename", "folder", "url"),
    *("data_folder", "network", "savedir", "save_path", "cache_folder", "command"),
}


def written(tmp_path, text):
    path = tmp_path / "hyperparams.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# Each makes the file {mark} if it is run by HyperPyYAML. {mark} is one word.
ATTACKS = {
    "apply": "a: !apply:os.system ['touch {mark}']",
    "apply in an argument": "a: !new:torch.nn.Linear\n"
    "    in_features: !apply:os.system ['touch {mark}']\n    out_features: 1",
    "apply as a key of a mapping": "a:\n    b:\n        - !apply:os.system\n"
    "            - touch {mark}",
    "new": "a: !new:subprocess.Popen [['touch', '{mark}']]",
    "applyref": "a: !applyref:os.system ['touch {mark}']",
    "verbatim tag": "a: !<!apply:os.system> ['touch {mark}']",
    "percent-encoded tag": "a: !%61pply:os.system ['touch {mark}']",
    "tag directive": "%TAG !e! !apply:\n---\na: !e!os.system ['touch {mark}']",
    "python object": "a: !!python/object/apply:os.system ['touch {mark}']",
    "python object, verbatim": "a: !<tag:yaml.org,2002:python/object/apply:os.system> "
    "['touch {mark}']",
    "explicit tuple": 'a: !tuple "(!!python/object/apply:os.system '
    "['touch {mark}'])\"",
    "in a list": "a: [1, !apply:os.system ['touch {mark}']]",
    "include": "a: !include:{other}",
    "nested include": "a:\n    b: !include:{other}",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_an_untrusted_file_is_run(tmp_path, attack, monkeypatch):
    # Relative: a shell and YAML would read blanks and # in the name of the folder.
    monkeypatch.chdir(tmp_path)
    mark, other = Path("mark"), Path("other.yaml")
    other.write_text(f"x: !apply:os.system ['touch {mark}']\n")
    text = "ok: 1\n" + ATTACKS[attack].format(mark=mark, other=other) + "\n"
    if text.count("%TAG"):
        text = text.removeprefix("ok: 1\n")
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=r"hyperparams\.yaml, line \d+: ") as refused:
        read_safely(path)
    assert not mark.exists()
    assert "trust_remote_code=True" in str(refused.value)
    # The control: HyperPyYAML does run it, so the test is about an attack.
    try:
        load_hyperpyyaml(path.read_text())
    except Exception as error:
        assert mark.exists(), error
    for _ in range(100):
        if mark.exists():  # Popen does not wait
            break
        torch.randn(10**5)
    assert mark.exists()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a: !module:os", "tag !module:os"),
        ("a: !name:os.system", "!name:os.system is not"),
        ("a: !new:torch.nn.os.system", "!new:torch.nn.os.system is not"),
        ("a: !new:torch.nn.functional.relu", "torch.nn.functional.relu is not"),
        ("domain: !new:torch.nn.Parameter {}", "torch.nn.Parameter is not"),
        ("domain: !new:torch.nn.Nothing {}", "torch.nn.Nothing is not"),
        ("a: !new:speechbrain_lmac.utils.files.write_text", "write_text is not"),
        ("a: !new:speechbrain_lmac.interpreters.TrainedInterpreter", "preter is not"),
        ("a: !new:speechbrain_lmac.classifiers.FrozenClassifier", "Classifier is not"),
        ("a: 1\nb: !ref <a.real>", "!ref '<a.real>'"),
        ("a: {b: 1}\nc: !ref <a[b]>", "!ref"),
        ("a: 1\nb: !ref <a> ** 99", "!ref"),
        ("a: 1\nb: !copy <a>", "!copy"),
        ("model: !ref <clap>\nclap: !ref <model>", "!ref <model> has"),
        ("model: !ref <model>", "!ref <model> has"),
        ("model: !ref <clap>", "!ref <clap> has"),
        ("a: &x [1]\nb: *x", "anchor &x"),
        ("a: 1\na: 2", "key 'a'"),
        ("a: {<<: {b: 1}}", "key with the tag"),
        ("? [1]\n: 2", "key with the tag"),
        ("? !apply:os.system ['true']\n: 2", "key with the tag"),
        ("a: 2020-01-01", "timestamp"),
        ("a: !!binary aGk=", "binary"),
        ("a: 99999999999", "1,048,576"),
        ("a: " + "9" * 10000, "1,048,576"),
        ("a: !PLACEHOLDER", "tag !PLACEHOLDER"),
        ("domain: !new:torch.nn.LazyLinear [1]", "torch.nn.LazyLinear is not"),
        ("a: !new:torch.nn.Linear {device: meta}", "torch.nn.Linear with device"),
        ("a: !new:torch.nn.Linear {dtype: half}", "torch.nn.Linear with dtype"),
        ("a: 1048577", "1,048,576"),
        ("a: .nan", "'.nan' is not"),
        ("a: -.inf", "'-.inf' is not"),
        ("a: 1.0e+10", "1e+09"),
        ("a: " + "[" * 40 + "]" * 40, "32 levels"),
        ("a:\n  " + "- " * 5000 + "x", "32 levels"),
        ("a: [" + "1, " * 10_000 + "1]", "10,000 values"),
        (
            "a: !new:speechbrain.utils.parameter_transfer.Pretrainer\n"
            "    paths: {model: /etc/passwd}",
            "Pretrainer with paths",
        ),
        (
            "a: !new:speechbrain.utils.parameter_transfer.Pretrainer [/tmp]",
            "Pretrainer with /tmp",
        ),
    ],
)
def test_what_is_refused_is_named_with_its_line(tmp_path, text, expected):
    path = written(tmp_path, "window_seconds: 1\n" + text + "\n")
    with pytest.raises(InputError) as refused:
        read_safely(path)
    assert expected in str(refused.value)
    assert f"{path}, line " in str(refused.value)


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "hyperparams.yaml .*keys"),
        (b"[1, 2]", "hyperparams.yaml .*keys"),
        (b"a: 1\n---\nb: 2\n", "hyperparams.yaml .*as YAML"),
        (b"a: [1", "hyperparams.yaml .*as YAML"),
        (b"a: \x00", "hyperparams.yaml .*as YAML"),
        (b"\xff\xfea\x00:\x00", "UTF-8"),
        (b"a: " + b"[" * 5000, "100 .*brackets"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "100 .*brackets"),
        (b"a: " + b"{a: " * 5000, "100 .*brackets"),
        (b"a: '" + b"x" * 2**18 + b"'", "262,144 bytes"),
        (None, "cannot read"),
    ],
)
def test_an_invalid_file_is_one_error(tmp_path, content, expected):
    path = tmp_path / "hyperparams.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_safely(path)


GOOD = """\
window_seconds: 1.5e-1
template: a {}
prompts: [a, b]
stft: !new:speechbrain_lmac.domains.STFTDomain
    sample_rate: 16000
    n_mels: 40
domain: !ref <stft>
model: !new:torch.nn.Sequential
    - !new:torch.nn.Linear {in_features: 3, out_features: 2, bias: true}
    - !new:torch.nn.Threshold [0.1, 20]
    - !new:torch.nn.Hardtanh {max_val: 2.0}
    - !new:torch.nn.Linear [2, 2, null]
interpreter: !ref <model>
explainer: !name:speechbrain_lmac.explainers.L2IExplainer
    relevance_threshold: 0.5
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder {}
modules:
    domain: !ref <domain>
    model: !ref <model>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        model: !ref <model>
"""


def test_a_good_file_is_read_as_hyperpyyaml_reads_it(tmp_path):
    path = written(tmp_path, GOOD)
    ours, theirs = read_safely(path), load_hyperpyyaml(GOOD)
    assert list(ours) == list(theirs)
    for key in ("window_seconds", "template", "prompts"):
        assert ours[key] == theirs[key]
    assert ours["window_seconds"] == 0.15
    assert isinstance(ours["domain"], STFTDomain) and ours["domain"].n_mels == 40
    assert ours["stft"] is ours["domain"] and theirs["stft"] is theirs["domain"]
    assert repr(ours["model"]) == repr(theirs["model"])
    assert ours["interpreter"] is ours["model"] is ours["modules"]["model"]
    assert ours["explainer"].func is L2IExplainer
    assert ours["explainer"].keywords == {"relevance_threshold": 0.5}
    assert isinstance(ours["pretrainer"], Pretrainer)
    assert ours["pretrainer"].loadables["model"] is ours["model"]


# --- Keys of a model ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("device: cpu", "compile: true", "jit: true", "precision: fp16"),
        *("compile_module_keys: [model]", "jit_module_keys: [model]"),
        *("distributed_launch: true", "audio_normalizer: hello", "savedir: /tmp"),
        "unused: !new:torch.nn.Linear [40000, 25000]",
    ],
)
def test_a_key_that_no_model_has_is_refused(tmp_path, text):
    path = written(tmp_path, GOOD + text + "\n")
    key = text.partition(":")[0]
    with pytest.raises(InputError, match=f"key '{key}'"):
        read_safely(path)


@pytest.mark.parametrize(
    "key, value",
    [
        ("window_seconds", "x"),
        ("window_seconds", "-1"),
        ("window_seconds", "0"),
        ("window_seconds", "true"),
        ("window_seconds", "601"),
        ("prompts", "dog"),
        ("prompts", "[1]"),
        ("template", "[a]"),
        ("model", "hello"),
        ("domain", "!name:torch.nn.Linear"),
        ("explainer", "x"),
        ("explainer", "!name:torch.nn.Linear"),
        ("explainer", "!new:speechbrain_lmac.explainers.AmortizedExplainer"),
        ("label_encoder", "!new:torch.nn.Identity"),
        ("modules", "hello"),
        ("modules", "{model: hello}"),
        ("modules", "{model: !new:torch.nn.Identity {}}"),
        ("pretrainer", "hello"),
        ("pretrainer", f"!new:{Pretrainer.__module__}.Pretrainer"),
        ("pretrainer", f"!new:{Pretrainer.__module__}.Pretrainer {{loadables: x}}"),
        ("pretrainer", f"!new:{Pretrainer.__module__}.Pretrainer {{loadables: {{}}}}"),
        ("stft", "[1]"),
    ],
)
def test_another_kind_of_value_is_refused(tmp_path, key, value):
    path = written(tmp_path, f"{key}: {value}\n")
    with pytest.raises(InputError, match=f": {key} must be "):
        read_safely(path)


def test_references_are_bounded(tmp_path):
    many = "[" + "!ref <stft>, " * 201 + "]"
    for text in (
        f"model: !new:torch.nn.Sequential {many}\nstft: !new:torch.nn.Identity {{}}\n",
        # 14 times 14 times ... of 8 keys
        "".join(
            f"{key}: !new:torch.nn.Sequential [{f'!ref <{after}>, ' * 14}]\n"
            for key, after in pairwise(
                "model clap domain interpreter stft codec psi decoder".split()
            )
        )
        + "decoder: !new:torch.nn.Identity {}\n",
    ):
        with pytest.raises(InputError, match="references.* 200 "):
            read_safely(written(tmp_path, text))


def test_parts_that_nothing_refers_to_are_not_built(tmp_path):
    path = written(tmp_path, GOOD + "codec: !new:torch.nn.Linear [40000, 25000]\n")
    assert "codec" not in read_safely(path)


def test_overrides_reach_values_and_arguments(tmp_path):
    path = written(tmp_path, GOOD)
    read = read_safely(path, {"window_seconds": 2, "stft": {"n_mels": 20}})
    assert read["window_seconds"] == 2 and read["domain"].n_mels == 20
    with pytest.raises(InputError, match="key 'n_mel'"):
        read_safely(path, {"stft": {"n_mel": 20}})


@pytest.mark.parametrize(
    "layer",
    [
        "!new:torch.nn.Linear {in_features: 3, out: 2}",
        "!new:torch.nn.Linear {in_features: -3, out_features: 2}",
        "!new:torch.nn.Linear {in_features: hello, out_features: 2}",
        "!new:torch.nn.Dropout [hello]",
        "!new:torch.nn.Sequential [hello]",
        "!new:torch.nn.Linear {in_features: []}",
        "!new:speechbrain_lmac.domains.STFTDomain {sample_rate: 0}",
    ],
)
def test_what_cannot_be_built_is_one_error(tmp_path, layer):
    path = written(tmp_path, f"window_seconds: 1\nmodel: {layer}\n")
    name = layer.split()[0].removeprefix("!new:")
    with pytest.raises(InputError, match=f"line 2: {name} .*built") as refused:
        read_safely(path)
    assert "\n" not in str(refused.value)


COMPACT = "speechbrain_lmac.classifiers.CompactClassifier"


@pytest.mark.parametrize(
    "layer, expected",
    [
        # Parameters: 16 MiB, and 4 times the weight files.
        ("!new:torch.nn.Linear [40000, 25000]", "MiB of memory"),
        ("!new:torch.nn.Linear [3000, 3000]", "parameters.* 1,000 bytes"),
        (f"!new:{COMPACT} {{n_classes: 900000}}", "MiB of memory"),
        (f"!new:{COMPACT} {{n_classes: 2, channels: [20000, 9000]}}", "MiB of memory"),
        ("!new:torch.nn.Embedding [1000000, 1000000]", "MiB of memory"),
        # Filter banks.
        (
            "!new:speechbrain_lmac.domains.STFTDomain "
            "{sample_rate: 16000, n_fft: 1000000}",
            "MiB of memory",
        ),
        # Many small things.
        (
            "!new:speechbrain_lmac.interpreters.TransformerBlock "
            "{n_layers: 100000, width: 1, n_heads: 1, n_hidden: 1}",
            "20,000 layers",
        ),
    ],
)
def test_what_the_weight_files_cannot_hold_is_not_built(tmp_path, layer, expected):
    path = written(tmp_path, f"model: {layer}\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=expected):
        read_safely(path, weight_bytes=1000)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 300 * 2**10  # KiB


def test_what_the_weight_files_hold_is_built(tmp_path):
    path = written(tmp_path, "model: !new:torch.nn.Linear [3000, 3000]\n")
    assert read_safely(path, weight_bytes=36_000_000)["model"].in_features == 3000


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_what_is_allowed_is_a_class_without_paths(name):
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    assert inspect.isclass(found)
    if name != "speechbrain.utils.parameter_transfer.Pretrainer":
        assert not LEADING & set(inspect.signature(found).parameters)
    if name.startswith("speechbrain_lmac."):  # its arguments are checked by their types
        inspect.signature(found, eval_str=True)


def test_what_is_code_in_brackets_to_hyperpyyaml_is_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "(!!python/object/apply:os.system ['touch mark'])"
    path = written(tmp_path, f"template: {text}\n")
    assert read_safely(path) == {"template": text}
    assert not Path("mark").exists()
    load_hyperpyyaml(path.read_text())
    assert Path("mark").exists()


def test_what_hyperpyyaml_has_read_before_changes_nothing(tmp_path):
    path = tmp_path / "hyperparams.yaml"
    path.write_text("template: (a sound of)\n")
    before = parse(path)
    assert load_hyperpyyaml("a: (1, 2)") == {"a": (1, 2)}
    assert parse(path) == before == {"template": "(a sound of)"}
