"""The YAML of a stranger's model is data: nothing in it runs, whatever it spells."""

import functools
import importlib
import inspect
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_lmac.domains import STFTDomain
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.safe_hparams import ALLOWED, read_safely

# What an argument of an allowed class must not be called: it would lead elsewhere.
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
    "tuple": "a: (!!python/object/apply:os.system ['touch {mark}'])",
    "explicit tuple": 'a: !tuple "(!!python/object/apply:os.system '
    "['touch {mark}'])\"",
    "in a list": "a: [1, !apply:os.system ['touch {mark}']]",
    "include": "a: !include:{other}",
    "nested include": "a:\n    b: !include:{other}",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_a_strangers_file_is_run(tmp_path, attack, monkeypatch):
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
    "text, said",
    [
        ("a: !module:os", "the tag !module:os"),
        ("a: !name:os.system", "!name:os.system is not on the list"),
        ("a: !new:torch.nn.os.system", "is not on the list"),
        ("a: !new:torch.nn.functional.relu", "is not on the list"),
        ("a: !new:torch.nn.Parameter", "no class that could be built"),
        ("a: !new:torch.nn.Nothing", "no class that could be built"),
        ("a: !new:speechbrain_lmac.files.write_text", "is not on the list"),
        ("a: !new:speechbrain_lmac.interpreters.TrainedInterpreter", "not on the list"),
        ("a: !new:speechbrain_lmac.classifiers.FrozenClassifier", "not on the list"),
        ("a: 1\nb: !ref <a.real>", "!ref '<a.real>'"),
        ("a: {b: 1}\nc: !ref <a[b]>", "!ref"),
        ("a: 1\nb: !ref <a> ** 99", "!ref"),
        ("a: 1\nb: !copy <a>", "!copy"),
        ("a: !ref <b>\nb: !ref <a>", "leads nowhere"),
        ("a: !ref <a>", "leads nowhere"),
        ("a: !ref <z>", "leads nowhere"),
        ("a: &x [1]\nb: *x", "the anchor &x"),
        ("a: 1\na: 2", "the key 'a' twice"),
        ("a: {<<: {b: 1}}", "a key with the tag"),
        ("? [1]\n: 2", "a key with the tag"),
        ("? !apply:os.system ['true']\n: 2", "a key with the tag"),
        ("a: 2020-01-01", "timestamp"),
        ("a: !!binary aGk=", "binary"),
        ("a: 99999999999", "beyond"),
        ("a: " + "9" * 10000, "beyond"),
        ("a: !PLACEHOLDER", "the tag !PLACEHOLDER"),
        ("a: " + "[" * 40 + "]" * 40, "more than 32 levels"),
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
def test_what_is_refused_is_named_with_its_line(tmp_path, text, said):
    path = written(tmp_path, "ok: 1\n" + text + "\n")
    with pytest.raises(InputError) as refused:
        read_safely(path)
    assert said in str(refused.value)
    assert f"{path}, line " in str(refused.value)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "no keys"),
        (b"[1, 2]", "no keys"),
        (b"a: 1\n---\nb: 2\n", "not readable as YAML"),
        (b"a: [1", "not readable as YAML"),
        (b"a: \x00", "not readable as YAML"),
        (b"\xff\xfea\x00:\x00", "UTF-8"),
        (b"a: '" + b"x" * 2**20 + b"'", "bytes"),
        (b"a: " + b"[" * 5000, "nested too deeply|not readable"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_is_none_is_one_error(tmp_path, content, said):
    path = tmp_path / "hyperparams.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_safely(path)


GOOD = """\
sample_rate: 16000
words: [a, b]
ratio: 1.5e-3
on: true
none: null
domain: !new:speechbrain_lmac.domains.STFTDomain
    sample_rate: 16000
    n_mels: 40
layer: !new:torch.nn.Linear [3, 2]
same: !ref <layer>
explainer: !name:speechbrain_lmac.explainers.AmortizedExplainer
activation: !name:torch.nn.LeakyReLU
    negative_slope: 0.5
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        layer: !ref <layer>
"""


def test_a_good_file_is_read_as_hyperpyyaml_reads_it(tmp_path):
    path = written(tmp_path, GOOD)
    ours, theirs = read_safely(path), load_hyperpyyaml(GOOD)
    assert list(ours) == list(theirs)
    for key in ("sample_rate", "words", "on", "none"):
        assert ours[key] == theirs[key]
    assert ours["ratio"] == 0.0015
    assert isinstance(ours["domain"], STFTDomain) and ours["domain"].n_mels == 40
    assert ours["same"] is ours["layer"] and theirs["same"] is theirs["layer"]
    assert ours["explainer"] is AmortizedExplainer
    assert isinstance(ours["activation"], functools.partial)
    assert ours["activation"]().negative_slope == 0.5
    assert isinstance(ours["pretrainer"], Pretrainer)
    assert ours["pretrainer"].loadables["layer"] is ours["layer"]


def test_overrides_reach_values_and_arguments(tmp_path):
    path = written(tmp_path, GOOD)
    read = read_safely(path, {"ratio": 2, "domain": {"n_mels": 20}})
    assert read["ratio"] == 2 and read["domain"].n_mels == 20
    with pytest.raises(InputError, match="no key 'n_mel'"):
        read_safely(path, {"domain": {"n_mel": 20}})


@pytest.mark.parametrize(
    "layer",
    [
        "!new:torch.nn.Linear {in_features: 3, out: 2}",
        "!new:torch.nn.Linear {in_features: -3, out_features: 2}",
        "!new:torch.nn.Linear {in_features: 10000000, out_features: 10000000}",
        "!new:speechbrain_lmac.domains.STFTDomain {sample_rate: 0}",
    ],
)
def test_what_cannot_be_built_is_one_error(tmp_path, layer):
    path = written(tmp_path, f"ok: 1\na: {layer}\n")
    with pytest.raises(InputError, match="line 2: .* cannot be built like this"):
        read_safely(path)


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_what_is_allowed_is_a_class_that_leads_nowhere(name):
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    assert inspect.isclass(found)
    if name != "speechbrain.utils.parameter_transfer.Pretrainer":
        assert not LEADING & set(inspect.signature(found).parameters)
