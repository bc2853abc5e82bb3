"""Malicious and damaged model folders.

`attacks()` lists them; `attempt` opens one in a forked process, with limits on memory
and time.
"""

import json
import os
import pickle
import resource
import select
import shlex
import shutil
import signal
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.hub.registry import find_model, model_text
from speechbrain_lmac.hub.weights import save_weights
from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.interpreters import ConvInterpreter, MelToBins
from speechbrain_lmac.utils.errors import InputError

RATE = 8000
SECRET = "SECRET-0451"
LONGEST_S = 30.0
MEMORY = 3 * 2**30  # bytes of addresses, beyond those of the parent process
MODEL = """\
window_seconds: 1.0
domain: !new:speechbrain_lmac.domains.STFTDomain
    sample_rate: 8000
    n_fft: 256
    hop_length_ms: 16
    win_length_ms: 32
    n_mels: 24
model: !new:speechbrain_lmac.classifiers.CompactClassifier
    n_classes: 3
    n_mels: 24
    channels: [4, 8]
    dropout: 0.3
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder {}
interpreter: !new:speechbrain_lmac.interpreters.ConvInterpreter
    hidden_channels: [4, 8]
    widths: [4, 4]
    head_width: 4
    n_bands: 24
    frequency: !new:speechbrain_lmac.interpreters.MelToBins
        sample_rate: 8000
        n_fft: 256
        n_mels: 24
explainer: !name:speechbrain_lmac.explainers.AmortizedExplainer
modules:
    domain: !ref <domain>
    model: !ref <model>
    interpreter: !ref <interpreter>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        model: !ref <model>
        interpreter: !ref <interpreter>
        label_encoder: !ref <label_encoder>
"""
RECORD = {
    "name": "toy",
    "method": "L-MAC",
    "interface": "AudioExplainer",
    "classes": ["a", "b", "c"],
    "dataset": "toys",
    "license": "cc0-1.0",
    "credit": "nobody",
    "commands": ["python recipes/train_lmac.py"],
    "versions": "none",
    "metrics": {},
    "measured_on": "nothing",
}


@dataclass(frozen=True)
class Place:
    """The folders of an attack."""

    folder: Path  # of the model
    canary: Path  # a folder outside of it, with a secret
    mark: Path  # made by code of the model


@dataclass(frozen=True)
class Attack:
    """A change of the folder of a good model."""

    kind: str
    name: str
    write: object  # a function of the Place
    opens: bool = False  # harmless: the model opens as before


def write_good_model(folder):
    """Write a small valid model, with weights in SpeechBrain's format."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    model = CompactClassifier(3, 24, channels=[4, 8])
    interpreter = ConvInterpreter([4, 8], [4, 4], 4, 24, MelToBins(RATE, 256, 24))
    save_weights(model, folder / "model.ckpt")
    save_weights(interpreter, folder / "interpreter.ckpt")
    write_labels(folder, ["a", "b", "c"])
    (folder / "hyperparams.yaml").write_text(MODEL)
    (folder / "model.json").write_text(json.dumps(RECORD))
    (folder / "README.md").write_text("# toy\n")
    open_model(folder)  # lazy imports before the first fork
    return folder


def write_labels(folder, labels):
    encoder = CategoricalEncoder()
    encoder.update_from_iterable(labels)
    encoder.save(str(folder / "label_encoder.ckpt"))


# --- Writers --------------------------------------------------------------------------


def yaml_with(*changes, after=""):
    """Replace texts of the YAML, and append to it."""

    def write(place):
        text = MODEL
        for before, then in changes:
            assert before in text, before
            text = text.replace(before, then)
        (place.folder / "hyperparams.yaml").write_text(
            text + after.replace("{mark}", str(place.mark)) + "\n"
        )

    return write


def yaml_of(content):
    """Replace the whole YAML."""

    def write(place):
        text = content if isinstance(content, bytes) else content.encode()
        (place.folder / "hyperparams.yaml").write_bytes(
            text.replace(b"{mark}", str(place.mark).encode())
        )

    return write


class Runs:
    """An object that makes the mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {shlex.quote(self.mark)}",)


def bare_pickle(filename):
    def write(place):
        (place.folder / filename).write_bytes(pickle.dumps(Runs(place.mark)))

    return write


def saved(make, filename="model.ckpt", **options):
    """torch.save of `make(state, mark)`, where `state` is that of the good model."""

    def write(place):
        path = place.folder / filename
        state = torch.load(path, weights_only=True)
        torch.save(make(state, place.mark), path, **options)

    return write


def changed(name, make, filename="model.ckpt"):
    """Replace one tensor of the state dict."""

    def change(state, mark):
        state[name] = make(state[name])
        return state

    return saved(change, filename)


def rewritten(change, compression=zipfile.ZIP_STORED):
    """Rewrite the archive of the weights with entries `change(name, content)`."""

    def write(place):
        path = place.folder / "model.ckpt"
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in entries.items():
                archive.writestr(*change(name, content))

    return write


def truncated(filename):
    def write(place):
        path = place.folder / filename
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write


def scripted(place):
    module = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(module, str(place.folder / "model.ckpt"))


def declared(name, content):
    """Declare a storage of 2^31 - 1 numbers (8 GB) in the pickle of the weights."""
    if name.endswith("data.pkl"):
        content = content.replace(b"K\x18", b"J\xff\xff\xff\x7f")
    return name, content


def safe_tensors(make):
    """Write `make(state)` as `model.safetensors` beside the good `.ckpt`."""

    def write(place):
        state = torch.load(place.folder / "model.ckpt", weights_only=True)
        (place.folder / "model.safetensors").write_bytes(make(dict(state)))

    return write


def with_nan(state):
    first = next(iter(state))
    return safetensors.torch.save({**state, first: state[first] * torch.nan})


def other_ckpt(place):
    """Write good safetensors, and a `.ckpt` beside them that runs code."""
    state = torch.load(place.folder / "model.ckpt", weights_only=True)
    safetensors.torch.save_file(dict(state), place.folder / "model.safetensors")
    bare_pickle("model.ckpt")(place)


def link(filename, target):
    """Replace a file by a link; "{canary}" is the folder with the secret."""

    def write(place):
        path = place.folder / filename
        path.unlink()
        path.symlink_to(target.format(canary=place.canary, folder=place.folder))

    return write


def fifo(filename):
    def write(place):
        (place.folder / filename).unlink()
        os.mkfifo(place.folder / filename)

    return write


def text_file(filename, text):
    def write(place):
        path = place.folder / filename
        path.write_text(text.replace("{mark}", str(place.mark)))

    return write


def record_with(**changes):
    return text_file("model.json", json.dumps({**RECORD, **changes}))


def labels_of(*labels):
    def write(place):
        write_labels(place.folder, labels)

    return write


# --- Attacks --------------------------------------------------------------------------

RUN = "os.system ['touch {mark}']"
PRETRAINER = "Pretrainer\n    loadables:"
LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MULTIPLIED = "".join(
    f"{one}: !new:torch.nn.Sequential [{', '.join([f'!ref <{two}>'] * 18)}]\n"
    for one, two in zip(
        "stft codec frequency decoder upsampler mask_net".split(),
        "codec frequency decoder upsampler mask_net psi".split(),
        strict=True,
    )
)
TAGS = {
    "apply": f"codec: !apply:{RUN}",
    "apply in an argument": f"codec: !new:torch.nn.Linear [!apply:{RUN}, 1]",
    "apply in a list": f"prompts: [1, !apply:{RUN}]",
    "apply in a mapping": f"codec: {{a: !apply:{RUN}}}",
    "applyref": f"codec: !applyref:{RUN}",
    "verbatim tag": "codec: !<!apply:os.system> ['touch {mark}']",
    "percent-encoded tag": "codec: !%61pply:os.system ['touch {mark}']",
    "name": "codec: !name:os.system",
    "name of a function of ours": "codec: "
    "!name:speechbrain_lmac.utils.files.write_text",
    "new": "codec: !new:subprocess.Popen [['touch', '{mark}']]",
    "new of a class that reads files": "codec: "
    "!new:speechbrain_lmac.interpreters.TrainedInterpreter {checkpoint: x}",
    "module": "codec: !module:os",
    "module of torch.nn": "codec: !new:torch.nn.modules.os.system ['touch {mark}']",
    "include, absolute": "codec: !include:/etc/passwd",
    "include, relative": "codec: !include:other.yaml",
    "include from outside": "codec: !include:../canary/other.yaml",
    "python/object/apply": f"codec: !!python/object/apply:{RUN}",
    "python/object/new": f"codec: !!python/object/new:{RUN}",
    "python/name": "codec: !!python/name:os.system",
    "python/module": "codec: !!python/module:os",
    "expression in a reference": "codec: !ref <window_seconds> * 10 ** 10",
    "code in a reference": "codec: !ref <window_seconds>"
    "(__import__('os').system('touch {mark}'))",
    "attribute in a reference": "codec: !ref <domain.__class__>",
    "tuple in brackets": f"codec: (!!python/object/apply:{RUN})",
    "tuple": f'codec: !tuple "(!!python/object/apply:{RUN})"',
    "copy": "codec: !copy <domain>",
    "placeholder": "codec: !PLACEHOLDER",
    "anchor": "codec: &x [1]\npsi: *x",
    "merge": "codec: {<<: {a: 1}}",
    "binary": "codec: !!binary aGVsbG8=",
    "timestamp": "codec: 2020-01-01",
    "set": "codec: !!set {a}",
    "key twice": "window_seconds: 2",
    "billion laughs": LAUGHS,
    "references multiplied": MULTIPLIED + "psi: !new:torch.nn.Identity {}",
    "chained references": "a0: 1\n"
    + "\n".join(f"a{i}: !ref <a{i - 1}>" for i in range(1, 5000)),
    "reference to itself": "codec: !ref <codec>",
    "nesting of lists": "codec: " + "[" * 5000,
    "nesting of mappings": "codec: " + "{a: " * 5000,
    "nesting of blocks": "codec:\n  " + "- " * 5000 + "x",
    "many keys": "\n".join(f"k{i}: {i}" for i in range(17_000)),
}
DOCUMENTS = {
    "two documents": MODEL + f"---\ncodec: !apply:{RUN}\n",
    "tag directive": f"%TAG !e! !apply:\n---\ncodec: !e!{RUN}\n",
    "latin-1": MODEL.encode() + b"template: \xe9\n",
    "NUL": MODEL.encode() + b"template: \x00\n",
    "UTF-16": MODEL.encode("utf-16"),
    "empty": b"",
    "a list": b"[1, 2]",
    "a file of 300 kB": MODEL.encode() + b"#" * 300_000,
}
RUN_OPTIONS = {
    "compile": "compile: true\ncompile_module_keys: [model]\ncompile_mode: default",
    "compile_module_keys": "compile_module_keys: [model]",
    "jit": "jit: true",
    "jit_module_keys": "jit_module_keys: [model]",
    "a device that there is not": "device: banana",
    "another device": "device: meta",
    "precision": "precision: fp16",
    "distribution": "distributed_launch: true\ndistributed_backend: gloo",
    "parallel": "data_parallel_backend: true",
    "audio_normalizer": "audio_normalizer: hello",
    "an unused key": "unused: !new:torch.nn.Linear [40000, 25000]",
}
NUMBERS = {
    "classes": ("n_classes: 3", "n_classes: 9000000"),
    "classes within bounds": ("n_classes: 3", "n_classes: 1000000"),
    "channels": ("    channels: [4, 8]", "    channels: [20000, 9000]"),
    "FFT": ("    n_fft: 256\n    hop", "    n_fft: 1000000\n    hop"),
    "bands": ("    n_mels: 24\nmodel", "    n_mels: 1000000\nmodel"),
    "rate": ("sample_rate: 8000\n    n_fft", "sample_rate: 1000000000\n    n_fft"),
    "rate of 0": ("sample_rate: 8000\n    n_fft", "sample_rate: 0\n    n_fft"),
    "a hop of a sample and 65,536 bins": (
        "    n_fft: 256\n    hop_length_ms: 16",
        "    n_fft: 131070\n    hop_length_ms: 0.125",
    ),
    "a window of years": ("window_seconds: 1.0", "window_seconds: 1.0e+8"),
    "a window below 0": ("window_seconds: 1.0", "window_seconds: -1"),
    "a window of NaN": ("window_seconds: 1.0", "window_seconds: .nan"),
    "a window of text": ("window_seconds: 1.0", "window_seconds: hello"),
    "text for a share": ("dropout: 0.3", "dropout: hello"),
    "a share of 7": ("dropout: 0.3", "dropout: 7"),
    "text for channels": ("    channels: [4, 8]", "    channels: hello"),
    "no channels": ("    channels: [4, 8]", "    channels: []"),
    "negative channels": ("    channels: [4, 8]", "    channels: [-4, 8]"),
    "a device of a layer": ("dropout: 0.3", "dropout: 0.3\n    device: cuda"),
    "a first forward that does not fit": (
        "    n_mels: 24\nmodel",
        "    n_mels: 20\nmodel",
    ),
    "a mask that does not fit": ("n_fft: 256\n        n", "n_fft: 512\n        n"),
    "a domain that is none": (
        MODEL.partition("domain: ")[2].partition("model: ")[0],
        "!new:torch.nn.Identity {}\n",
    ),
    "text for modules": (
        MODEL.partition("modules:")[2].partition("pre")[0],
        " hello\n",
    ),
    "text for loadables": (MODEL.partition("loadables:")[2], " hello\n"),
    "text in loadables": ("        model: !ref <model>", "        model: hello"),
    "no pretrainer": (MODEL[MODEL.index("pretrainer") :], ""),
    "weights that are not listed": ("        interpreter: !ref <interpreter>\n", ""),
    "a path in loadables": (
        "        model: !ref <model>",
        "        ../../x: !ref <model>",
    ),
    "paths of the pretrainer": (
        PRETRAINER,
        "Pretrainer\n    paths: {model: /etc/passwd}\n    loadables:",
    ),
    "collect_in of the pretrainer": (
        PRETRAINER,
        "Pretrainer\n    collect_in: ../canary\n    loadables:",
    ),
    "positions of the pretrainer": (
        MODEL.partition("Pretrainer")[2],
        " [../canary]\n",
    ),
}
WEIGHTS = {
    "a pickle for the model": bare_pickle("model.ckpt"),
    "a pickle for the interpreter": bare_pickle("interpreter.ckpt"),
    "a pickle for the class names": bare_pickle("label_encoder.ckpt"),
    "a pickle for safetensors": bare_pickle("model.safetensors"),
    "an object that runs": saved(lambda state, mark: Runs(mark)),
    "an object that runs, old format": saved(
        lambda state, mark: Runs(mark), _use_new_zipfile_serialization=False
    ),
    "an object that runs among the weights": saved(
        lambda state, mark: {**state, "x": Runs(mark)}
    ),
    "an object that runs instead of a weight": changed(
        "linear.weight", lambda value: Runs("mark")
    ),
    "the old format": saved(
        lambda state, mark: state, _use_new_zipfile_serialization=False
    ),
    "TorchScript": scripted,
    "a zip bomb": rewritten(lambda n, c: (n, c + bytes(10**6)), zipfile.ZIP_DEFLATED),
    "compressed": rewritten(lambda n, c: (n, c), zipfile.ZIP_DEFLATED),
    "an entry that leads out": rewritten(lambda n, c: (f"../{n}", c)),
    "a storage of 8 GB declared": rewritten(declared),
    "a shape of 10^11 repeated": changed(
        "linear.weight", lambda value: torch.zeros(1).expand(200_000, 500_000)
    ),
    "truncated": truncated("model.ckpt"),
    "class names truncated": truncated("label_encoder.ckpt"),
    "a list": saved(lambda state, mark: [1, 2]),
    "a text": saved(lambda state, mark: "hello"),
    "an empty dict": saved(lambda state, mark: {}),
    "texts for weights": changed("linear.weight", lambda value: "hello"),
    "meta tensors": changed("linear.weight", lambda value: value.to("meta")),
    "quantised tensors": changed(
        "linear.weight",
        lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    ),
    "sparse tensors": changed("linear.weight", lambda value: value.to_sparse()),
    "complex numbers": changed("linear.weight", lambda value: value * 1j),
    "NaN": changed("linear.weight", lambda value: value * torch.nan),
    "infinity": changed("linear.weight", lambda value: value + torch.inf),
    "a negative variance": changed("norm.running_var", lambda value: value - 100),
    "safetensors, truncated": safe_tensors(lambda s: safetensors.torch.save(s)[:-9]),
    "safetensors, a header of 2^60": safe_tensors(
        lambda s: (2**60).to_bytes(8, "little") + safetensors.torch.save(s)[8:]
    ),
    "safetensors of another model": safe_tensors(
        lambda s: safetensors.torch.save({"x": torch.zeros(2)})
    ),
    "safetensors with NaN": safe_tensors(with_nan),
}
PATHS = {
    **{
        f"{filename}, {what}": link(filename, target.replace("{filename}", filename))
        for filename in ("hyperparams.yaml", "model.ckpt", "label_encoder.ckpt")
        for what, target in {
            "a link out": "{canary}/secret",
            "a link to /dev/zero": "/dev/zero",
            "a loop": "{folder}/{filename}",
        }.items()
    },
    "README.md, a link out": link("README.md", "{canary}/secret"),
    "README.md, a relative link out": link("README.md", "../canary/secret"),
    "README.md, a link to /proc": link("README.md", "/proc/self/environ"),
    "model.json, a link out": link("model.json", "{canary}/secret"),
    "model.ckpt, a FIFO": fifo("model.ckpt"),
    "README.md, a FIFO": fifo("README.md"),
    "model.json, no record": text_file("model.json", "[" * 100_000),
    "README.md of 2 MB": text_file("README.md", "x" * 2**21),
}
TOUCH = "import os\nos.system('touch {mark}')\n"
CODE = {
    name: text_file(name, TOUCH)
    for name in ("custom_interface.py", "sitecustomize.py", "torch.py", "conftest.py")
}
CODE["a .ckpt that is not opened"] = other_ckpt
CODE["a state dict with an attribute called keys"] = saved(
    lambda state, mark: (vars(state).update(keys="x"), state)[1]
)
CODE["a template in brackets"] = yaml_with(
    after=f"template: (!!python/object/apply:{RUN})"
)
TEXTS = {
    "script tags": labels_of("<script>alert(1)</script>", "b", "c"),
    "quotes and commas": labels_of("a\"'", "b,;\\", "`c`"),
    "control characters": labels_of("\x1b]0;title\x07", "\x1b[2J", "c\x08"),
    "formulas": labels_of("=cmd|' /C calc'!A0", "@SUM(1)", "+1"),
    "paths": labels_of("../../x", "/etc/passwd", "c\x00"),
    "command lines": record_with(
        commands=["touch {mark}; rm -rf ~", "$(touch {mark})"]
    ),
    "a path for a name": record_with(name="../../x", interface="os.system"),
    "a card": text_file("README.md", "<script>x</script>\n=1+1,`touch {mark}`\n"),
}


def attacks():
    """Return all attacks."""
    tried = [("tags", n, yaml_with(after=text)) for n, text in TAGS.items()]
    tried += [("tags", n, yaml_of(content)) for n, content in DOCUMENTS.items()]
    tried += [("run options", n, yaml_with(after=t)) for n, t in RUN_OPTIONS.items()]
    tried += [
        ("numbers and parts", n, yaml_with(change)) for n, change in NUMBERS.items()
    ]
    tried += [("weights and class names", n, write) for n, write in WEIGHTS.items()]
    tried += [("paths", n, write) for n, write in PATHS.items()]
    harmless = [("code beside", n, write) for n, write in CODE.items()]
    harmless += [("text", n, write) for n, write in TEXTS.items()]
    return [Attack(*one) for one in tried] + [Attack(*one, True) for one in harmless]


# --- Outcomes -------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """The outcome of opening a folder."""

    result: str  # "opened", "refused", or a fault
    message: str
    ran: bool  # code of the folder ran, or a secret leaked
    seconds: float
    mib: float  # growth of the process


def open_model(folder):
    """Load a model, explain half a second, and read the card, as a user does."""
    model = AudioExplainer.from_hparams(folder, run_opts={"device": "cpu"})
    model.explain_batch(torch.sin(torch.arange(RATE // 2).square() / RATE)[None])
    return model_text(find_model(folder))


def attempt(attack, good, folder):
    """Write an attack into a copy of the good model, and open it in a forked process.

    Arguments
    ---------
    attack : Attack
    good : Path
        From `write_good_model`.
    folder : Path
        Made for this attack.

    Returns
    -------
    outcome : Outcome
    """
    place = Place(folder / "model", folder / "canary", folder / "mark")
    shutil.copytree(good, place.folder)
    place.canary.mkdir()
    (place.canary / "secret").write_text(SECRET)
    (place.canary / "other.yaml").write_text(
        f"x: !apply:os.system ['touch {place.mark}']"
    )
    compiler = place.canary / "c++"
    compiler.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(place.mark))}\n")
    compiler.chmod(0o755)
    attack.write(place)
    before = {path: path.read_bytes() for path in place.canary.iterdir()}
    reader, writer = os.pipe()
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        os.close(reader)
        _run_child(place, compiler, writer)
    os.close(writer)
    output = _read(reader, start + LONGEST_S)
    if output is None:
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    seconds = time.monotonic() - start
    result, message, mib = json.loads(output) if output else ["died", "", 0.0]
    after = {path: path.read_bytes() for path in place.canary.iterdir()}
    ran = place.mark.exists() or before != after or SECRET in message
    return Outcome(result, message, ran, seconds, mib)


def _run_child(place, compiler, writer):
    """Open the model, write the outcome to a pipe, and end the process."""
    try:
        torch.set_num_threads(1)
        os.chdir(place.folder)
        os.environ.update(CXX=str(compiler), CC=str(compiler))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        size, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
        page = resource.getpagesize()
        limit = size * page + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (int(LONGEST_S), int(LONGEST_S)))
        try:
            result, message = "opened", open_model(place.folder)
        except InputError as error:
            message = str(error)
            result = "refused" if "\n" not in message else "more than one line"
        except BaseException as error:
            result, message = "traceback", f"{type(error).__name__}: {error}"
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        mib = max(0, most - resident * page) / 2**20
        os.write(writer, json.dumps([result, message[:2000], mib]).encode())
    finally:
        os._exit(0)


def _read(pipe, until):
    """Return the output of a process, or None if it does not end in time."""
    parts = []
    with open(pipe, "rb", buffering=0) as stream:
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                return None
            part = stream.read(65536)
            if not part:
                return b"".join(parts)
            parts.append(part)
