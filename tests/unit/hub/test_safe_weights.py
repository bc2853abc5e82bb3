"""Weights and class labels of an untrusted model: no code, no more than the file."""

import os
import pickle
import re
import resource
import shlex
import textwrap
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_lmac.hub.safe_build import ENCODER, loadables_of
from speechbrain_lmac.hub.safe_weights import find_weights, load_encoder, load_loadables
from speechbrain_lmac.hub.weights import load_weights, save_weights
from speechbrain_lmac.utils.errors import InputError
from tests.warm import warm_output


def hparams(**loadables):
    return {"pretrainer": SimpleNamespace(loadables=loadables)}


def layer():
    return torch.nn.Linear(3, 2)


def load(path, module=None, name="layer"):
    module = layer() if module is None else module
    kinds = {name: "torch.nn.Linear"}
    files, _ = find_weights(kinds, lambda filename: path, lambda filename: True)
    load_loadables(hparams(**{name: module}), files)
    return module


def saved(path, state=None):
    torch.save(layer().state_dict() if state is None else state, path)
    return path


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """The archive with its entries as `change(name, content)` has them."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(*change(name, content))
    return path


class Runs:
    """An object that makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {shlex.quote(self.mark)}",)


def test_good_weights_are_loaded(tmp_path):
    source = layer()
    path = saved(tmp_path / "layer.ckpt", source.state_dict())
    assert torch.equal(load(path).weight, source.weight)


@pytest.mark.parametrize("both", [True, False])
def test_safetensors_are_read_first(tmp_path, both):
    source, other = layer(), layer()
    saved(tmp_path / "layer.ckpt", other.state_dict())
    if both:
        save_weights(source, tmp_path / "layer.safetensors")
    requested = []

    def file(name):
        requested.append(name)
        return tmp_path / name

    kinds = {"layer": "torch.nn.Linear", "names": ENCODER}
    files, declared = find_weights(
        kinds, file, lambda name: not (tmp_path / name).is_file()
    )
    weights = "layer.safetensors" if both else "layer.ckpt"
    assert requested == [weights, "names.ckpt"]
    assert declared == (tmp_path / weights).stat().st_size
    module = layer()
    load_loadables(hparams(layer=module), files)
    assert torch.equal(module.weight, (source if both else other).weight)


def test_a_pickle_among_the_weights_does_not_run(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "layer.ckpt"
    saved(path, {"weight": Runs(mark), "bias": torch.zeros(2)})
    with pytest.raises(InputError, match=r"layer\.ckpt .*UnpicklingError"):
        load(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the control: it is an attack
    assert mark.exists()


def test_a_bare_pickle_is_no_checkpoint(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "layer.ckpt"
    path.write_bytes(pickle.dumps(Runs(mark)))
    with pytest.raises(InputError, match=r"layer\.ckpt .*torch\.save"):
        load(path)
    assert not mark.exists()


def test_the_old_format_is_refused(tmp_path):
    path = tmp_path / "layer.ckpt"
    torch.save(layer().state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"layer\.ckpt .*torch\.save"):
        load(path)


def test_a_zip_bomb_is_refused(tmp_path):
    path = saved(tmp_path / "layer.ckpt")
    rewritten(path, lambda n, c: (n, c + bytes(10**7)), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    with pytest.raises(InputError, match=r"layer\.ckpt .*compressed.*'layer/"):
        load(path)


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    # A bomb without compression: many entries of the directory point to one content.
    path = saved(tmp_path / "layer.ckpt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/9", bytes(10**5))
        shared = archive.getinfo("archive/data/9")
        for number in range(10, 20):
            again = zipfile.ZipInfo(f"archive/data/{number}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(again, field, getattr(shared, field))
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    with pytest.raises(InputError, match="must not unpack"):
        load(path)


@pytest.mark.parametrize(
    "name", ["../evil", "archive/../../evil", "/etc/evil", "a\\..\\b"]
)
def test_entries_that_lead_out_are_refused(tmp_path, name):
    path = saved(tmp_path / "layer.ckpt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(InputError, match=f"entry {re.escape(repr(name))}"):
        load(path)


def bomb(path, n_declared):
    """A checkpoint whose header declares more numbers than the file has."""
    saved(path, {"weight": torch.zeros(6), "bias": torch.zeros(2)})

    def change(name, content):
        if name.endswith("data.pkl"):
            assert content.count(b"K\x06") >= 1  # BININT1 6, the storage's size
            declared = b"J" + n_declared.to_bytes(4, "little")
            content = content.replace(b"K\x06", declared)
        return name, content

    return rewritten(path, change)


def test_a_header_that_declares_too_much_allocates_nothing(tmp_path):
    path = bomb(tmp_path / "layer.ckpt", 2**30)  # 4 GiB of float32
    script = f"""
        import resource, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_safe_weights import load
        from speechbrain_lmac.utils.errors import InputError
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            load(Path({str(path)!r}))
        except InputError as error:
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print("refused", (after - before) // 2**10, error)
    """
    printed = warm_output("-c", textwrap.dedent(script))
    assert printed.startswith("refused")
    assert int(printed.split()[1]) < 200  # MiB


def test_a_tensor_that_repeats_one_number_is_not_unrolled(tmp_path):
    path = saved(
        tmp_path / "layer.ckpt",
        {"weight": torch.zeros(1).expand(10**6, 10**6), "bias": torch.zeros(2)},
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"layer\.ckpt .*Linear: weight"):
        load(path)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 200 * 2**10  # KiB


@pytest.mark.parametrize(
    "state",
    [
        {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)},
        {"weight": torch.zeros(2, 3)},
        {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "more": torch.zeros(1)},
        {"weight": 1, "bias": 2},
        [1, 2],
    ],
)
def test_what_does_not_fit_is_one_error(tmp_path, state):
    with pytest.raises(InputError, match=r"layer\.ckpt"):
        load(saved(tmp_path / "layer.ckpt", state))


@pytest.mark.parametrize(
    "weight, expected",
    [
        (torch.zeros(2, 3, device="meta"), "'weight' .*the device meta"),
        (torch.zeros(2, 3).to_sparse(), "'weight' .*sparse"),
        (
            torch.quantize_per_tensor(torch.zeros(2, 3), 1.0, 0, torch.qint8),
            "'weight' .*torch.qint8",
        ),
        (torch.zeros(2, 3, dtype=torch.complex64), "'weight' .*torch.complex64"),
        (torch.zeros(2, 3).to(torch.float8_e5m2), "'weight' .*torch.float8_e5m2"),
        (torch.zeros(2, 3, dtype=torch.int64), "weight is torch.int64 .*torch.float32"),
        (torch.full((2, 3), torch.nan), "'weight' .*NaN"),
        (torch.full((2, 3), torch.inf), "'weight' .*NaN"),
        (torch.full((1, 1), -torch.inf).expand(2, 3), "'weight' .*NaN"),
        ("hello", "'weight' .*tensor.* str$"),
    ],
)
def test_what_are_no_weights_is_one_error_that_names_them(
    tmp_path, weight, expected, recwarn
):
    path = saved(tmp_path / "layer.ckpt", {"weight": weight, "bias": torch.zeros(2)})
    recwarn.clear()
    with pytest.raises(InputError, match=rf"layer\.ckpt .*{expected}") as refused:
        load(path)
    assert "\n" not in str(refused.value) and not recwarn.list


def test_attributes_of_an_untrusted_state_dict_are_ignored(tmp_path):
    state = layer().state_dict()
    vars(state).update(_metadata="y", classifier="z", keys=3, values="x")
    loaded = layer()
    load(saved(tmp_path / "layer.ckpt", state), loaded)
    assert torch.equal(loaded.weight, state["weight"])
    content = safetensors.torch.save(
        dict(state.items()), {"items": "x", "classifier": "z"}
    )
    (tmp_path / "layer.safetensors").write_bytes(content)
    read = load_weights(layer(), tmp_path / "layer.safetensors")
    assert vars(read) == {"classifier": "z"}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.9])
def test_truncated_safetensors_are_one_error(tmp_path, share):
    path = tmp_path / "layer.safetensors"
    save_weights(layer(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"layer\.safetensors .*SafetensorError"):
        load(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_one_error(tmp_path, share):
    path = saved(tmp_path / "layer.ckpt")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"layer\.ckpt"):
        load(path)


@pytest.mark.parametrize(
    "name", ["../layer", "a/b", "/etc/passwd", "", ".", "a b", "1"]
)
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"^{re.escape(repr(name))} .*name"):
        load(saved(tmp_path / "layer.ckpt"), name=name)


def test_weights_that_are_in_no_file_are_refused(tmp_path):
    path, loaded, forgotten = saved(tmp_path / "layer.ckpt"), layer(), layer()
    model = hparams(layer=loaded)
    model["modules"] = {"a": loaded, "b": torch.nn.Sequential(loaded, torch.nn.ReLU())}
    load_loadables(model, {"layer": path})
    model["modules"]["c"] = torch.nn.Sequential(loaded, forgotten)
    with pytest.raises(InputError, match=r"weights of c .*pretrainer\.loadables"):
        load_loadables(model, {"layer": path})


def test_what_is_no_module_has_no_weights(tmp_path):
    path = saved(tmp_path / "layer.ckpt")
    with pytest.raises(InputError, match="^str layer .*weights"):
        load_loadables(hparams(layer="x"), {"layer": path})
    model = {**hparams(layer=layer()), "modules": {"a": "x"}}
    with pytest.raises(InputError, match="module a .*str$"):
        load_loadables(model, {"layer": path})


def test_a_model_without_a_pretrainer():
    with pytest.raises(InputError, match="hyperparams.yaml: .*pretrainer.* a, b$"):
        loadables_of({"a": 1, "b": 2}, "hyperparams.yaml")


# --- Class labels ---------------------------------------------------------------------


def test_class_names_are_read_as_speechbrain_writes_them(tmp_path):
    labels = ["dog", "it's", "zebra", "\u96e8"]
    encoder = CategoricalEncoder()
    encoder.update_from_iterable(labels)
    encoder.save(str(tmp_path / "label_encoder.ckpt"))
    ours, theirs = CategoricalEncoder(), CategoricalEncoder()
    load_encoder(ours, tmp_path / "label_encoder.ckpt")
    theirs.load(str(tmp_path / "label_encoder.ckpt"))
    assert ours.ind2lab == theirs.ind2lab == dict(enumerate(labels))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "'dog' => 0\n",
        "__import__('os').system('true') => 0\n================\n",
        "'dog' => __import__('os').getpid()\n================\n",
        "'dog' => 1\n================\n",
        "'dog' => 0\n'cat' => 0\n================\n",
        "3 => 0\n================\n",
        "'dog' => True\n================\n",
        "dog 0\n================\n",
        "(" * 10**5 + " => 0\n================\n",
        "'" + "x" * 2**20 + "' => 0\n================\n",
        "\udcff",
    ],
)
def test_what_is_no_list_of_names_is_one_error(tmp_path, text):
    path = tmp_path / "label_encoder.ckpt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"label_encoder\.ckpt .*class labels"):
        load_encoder(CategoricalEncoder(), path)
