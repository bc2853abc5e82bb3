"""What is not there is a mistake; of other errors it counts whose code raised them."""

import logging

import pytest
import torch

import speechbrain_lmac
from speechbrain_lmac.config.building import build
from speechbrain_lmac.utils.errors import InputError

built = []


class Part:
    """A class of ours, as tests see it: it remembers that it was built."""

    def __init__(self, size=1, *, name="x", other=None):
        built.append((size, name, other))


def make(size, *more):
    """A function."""
    return [size, *more]


HERE = __name__


def load(text, tmp_path, overrides=None):
    """The objects of an experiment."""
    return build(text, "mine.yaml", [str(tmp_path)], overrides)


@pytest.fixture(autouse=True)
def nothing_built():
    """Forget what the test before has built."""
    built.clear()


# --- Before anything is built ---------------------------------------------------------


@pytest.mark.parametrize(
    "part, message",
    [
        ("!new:torch.nn.Lineer {{}}", "part.0: unknown class torch.nn.Lineer"),
        ("!new:torch.nn.Lineer {{}}", "mean torch.nn.Linear?"),
        ("!new:torch.optm.SGD {{}}", "mean torch.optim?"),
        ("!new:speechbrain.nnet.schedulers.NewBob", "schedulers.NewBobScheduler?"),
        ("!nwe:torch.nn.Linear {{}}", "tag !nwe; did you mean !new:?"),
        ("!name:torch.nn.functional.leakyrelu", "torch.nn.functional.leaky_relu?"),
        ("!apply:nothing_like.it [1]", "function nothing_like.it (searched "),
        ("!module:nothing_like", "module nothing_like"),
        ("!new:math.sqrt {{}}", "part.0: !new:math.sqrt must name a class,"),
        ("!apply:torch.nn.Linear [1, 2]", "must name a function,"),
        ("!module:math.sqrt", "must name a module,"),
        ("!module:math [1]", "!module:math takes no"),
        ("!name:math.pi [1]", "must name a class or function,"),
        ("!new:{here}.Part {{siz: 1}}", "argument 'siz'; did you mean 'size'?"),
        ("!new:{here}.Part {{zzzzz: 1}}", "'zzzzz'; it takes size, name, other"),
        ("!new:{here}.Part [1, 2]", "class {here}.Part: too many"),
        ("!new:torch.nn.Linear {{in_features: 1}}", "argument: 'out_features'"),
        ("!name:torch.optim.SGD {{momentun: 0.9}}", "mean 'momentum'?"),
        ("{{a: {{b: !new:{here}.Part {{c: 1}}}}}}", "part.0.a.b: "),
        ("!apply:{here}.make {{}}", "part.0: function {here}.make: "),
    ],
)
def test_an_unknown_name_or_argument_is_an_error_before_anything_is_built(
    part, message, tmp_path
):
    part, message = (text.format(here=HERE) for text in (part, message))
    text = f"first: !new:{HERE}.Part {{}}\npart:\n- {part}\n"
    with pytest.raises(InputError) as refused:
        load(text, tmp_path)
    assert str(refused.value).startswith("mine.yaml: part.0")
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not built


@pytest.mark.parametrize(
    "part",
    [
        "!new:{here}.Part [3]",
        "!new:{here}.Part {{name: hello}}",
        "!new:{here}.Part",
        "!name:{here}.make",
        "!name:{here}.make {{size: 1}}",
        "!name:torch.nn.Linear {{out_features: 1}}",  # the other one comes later
        "!new:builtins.dict {{anything: 1}}",  # has no signature
        "!new:collections.Counter {{anything: 1}}",
        "!apply:{here}.make [1, 2, 3]",
        "!apply:builtins.getattr [{{a: 1}}, items]",
        "!name:math.pi",
        "!module:math",
        "&part !new:{here}.Part {{}}",
    ],
)
def test_what_takes_its_arguments_is_built(part, tmp_path):
    assert "part" in load(f"part: {part.format(here=HERE)}\n", tmp_path)


def test_arguments_that_are_merged_in(tmp_path):
    text = "__a: &a {name: y}\npart: !new:%s.Part\n    <<: *a\n    size: 2\n"
    load(text % HERE, tmp_path)
    assert built == [(2, "y", None)]
    with pytest.raises(InputError, match="'nme'.*'name'"):
        load(text.replace("{name", "{nme") % HERE, tmp_path)


def test_a_module_that_raises_while_it_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "raises_l.py").write_text("1 / 0\n")
    message = "part: cannot import raises_l.Net: .*ZeroDivisionError"
    with pytest.raises(InputError, match=message):
        load("part: !new:raises_l.Net {}\n", tmp_path)


# --- Kinds of values, of classes of ours ----------------------------------------------


OURS = """\
import torch
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Typed:
    def __init__(self, count: int, share=0.5, on=True, name="x", sizes=(1, 2),
                 maybe: int | None = 3, net: torch.nn.Module = None,
                 term: Callable = None, free=None):
        self.count = count


class Abstract:
    def __init__(self, sizes: Sequence[int], rows: Mapping[str, int], free: Any):
        self.sizes = sizes


class Halved:
    def __init__(self, half=0.5):
        self.half = {"3": 3}.get(half) or half / 2


class Faulty:
    def __init__(self, kind, *args):
        if kind == "key":
            {}["nothing"]
        if kind == "text":
            raise ValueError("Invalid argument to x: No such file, not a valid one")
        if kind == "name":
            undefined
        if kind == "torch":
            torch.nn.Linear(-1, 1)
        if kind == "call":
            args[0]()
        if kind == "file":
            open("/nothing/there")
        if kind == "import":
            import no_such_package
        if kind == "memory":
            raise MemoryError
"""


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """A module of the package, for one test."""
    (tmp_path / "package").mkdir()
    name = f"faulty_{tmp_path.name}"
    (tmp_path / "package" / f"{name}.py").write_text(OURS)
    places = [*speechbrain_lmac.__path__, str(tmp_path / "package")]
    monkeypatch.setattr(speechbrain_lmac, "__path__", places)
    return f"speechbrain_lmac.{name}"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("count: many", "part.count .* whole number, .*'many'"),
        ("count: 2.5", "part.count .* whole number, .*'2.5'"),
        ("count: true", "part.count .* whole number, .*'true'"),
        ("count: null", "part.count .* whole number, .*'null'"),
        ("count: [1]", "part.count .* whole number, .*a list"),
        ("count: 1, share: half", "part.share .* a number, .*'half'"),
        ("count: 1, share: {a: 1}", "part.share .* a number, .*a mapping"),
        ("count: 1, on: 1", "part.on .* true or false, .*'1'"),
        ("count: 1, name: 3", "part.name .* string, .*'3'"),
        ("count: 1, sizes: 3", "part.sizes .* list, .*'3'"),
        ("count: 1, maybe: x", "part.maybe .* whole number or null, .*'x'"),
        ("count: 1, net: x", "part.net .* object, .*!new:CLASS, .*'x'"),
        ("count: 1, term: 3", "part.term .* object, .*!new:CLASS, .*'3'"),
    ],
)
def test_a_value_of_another_kind(arguments, message, ours, tmp_path):
    with pytest.raises(InputError, match=f"^mine.yaml: {message}$"):
        load(f"part: !name:{ours}.Typed {{{arguments}}}\n", tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        "count: -1, share: 1, on: false, name: '3', sizes: [], maybe: null",
        "count: 1, share: 1e-4, maybe: 3, free: {a: x}",
        "count: !apply:builtins.len [[1]], net: !new:torch.nn.Identity , sizes: [1]",
        "count: 1, term: !name:builtins.len ",
    ],
)
def test_values_of_the_right_kind(arguments, ours, tmp_path):
    assert load(f"part: !name:{ours}.Typed {{{arguments}}}\n", tmp_path)["part"]


def test_abstract_annotations_take_plain_values(ours, tmp_path):
    yaml = f"part: !name:{ours}.Abstract {{sizes: %s, rows: {{a: 1}}, free: x}}\n"
    assert load(yaml % "[1]", tmp_path)["part"]
    with pytest.raises(InputError, match="part.sizes must be a list, got '3'"):
        load(yaml % "3", tmp_path)


@pytest.mark.parametrize("arguments", ["{half: x}", "\n- x"])
def test_an_argument_of_the_wrong_type_that_raises_in_our_code(
    arguments, ours, tmp_path
):
    with pytest.raises(InputError, match="part.half .* number, .*'x'$"):
        load(f"part: !new:{ours}.Halved {arguments}\n", tmp_path)
    assert load(f"part: !new:{ours}.Halved {{half: '3'}}\n", tmp_path)  # it did not


# --- Bugs and errors of the user ------------------------------------------------------


USERS = """\
class Odd(Exception):
    pass

class Net:
    def __init__(self, kind):
        if kind == "odd":
            raise Odd("no\\nway")
        if kind == "key":
            {}["nothing"]
        if kind == "memory":
            raise MemoryError

def boom():
    raise TypeError("no way")
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A module beside the YAML file."""
    name = f"mine_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize("kind, error", [("key", KeyError), ("name", NameError)])
def test_a_bug_of_ours_keeps_its_traceback(kind, error, ours, tmp_path):
    with pytest.raises(error) as raised:
        load(f"a:\n- !new:{ours}.Faulty {{kind: {kind}}}\n", tmp_path, {"seed": "1"})
    assert raised.traceback[-1].path.name.startswith("faulty_")
    assert raised.value.__notes__ == ["in building a.0 of mine.yaml"]


def test_the_words_of_an_error_decide_nothing(ours, tmp_path):
    with pytest.raises(ValueError, match="^Invalid argument to x") as raised:
        load(f"a: !new:{ours}.Faulty {{kind: text}}\n", tmp_path)
    assert not isinstance(raised.value, InputError)


@pytest.mark.parametrize(
    "kind, message",
    [
        ("torch", r"negative dimension.* \(RuntimeError\), at a, !new:.*Faulty"),
        ("file", r"/nothing/there.*\(FileNotFoundError\), at a, !new"),
        ("import", r"no_such_package.*\(ModuleNotFoundError\), at a, !new"),
    ],
)
def test_what_is_not_the_fault_of_our_code(kind, message, ours, tmp_path):
    with pytest.raises(InputError, match=f"^mine.yaml .*{message}"):
        load(f"a: !new:{ours}.Faulty {{kind: {kind}}}\n", tmp_path)


@pytest.mark.parametrize(
    "kind, message",
    [("odd", r"no way \(Odd\), at a, !new:"), ("key", r"nothing \(KeyError\), at a")],
)
def test_what_a_users_class_raises_is_a_line(kind, message, users, tmp_path):
    message = rf"^mine.yaml .*--lr=2: {message}"
    with pytest.raises(InputError, match=message) as refused:
        load(f"a: !new:{users}.Net {{kind: {kind}}}\n", tmp_path, {"lr": "2"})
    assert refused.value.__cause__ is not None  # the traceback


def test_a_users_function_that_a_class_of_ours_calls(ours, users, tmp_path):
    text = f"a: !new:{ours}.Faulty\n- call\n- !name:{users}.boom\n"
    with pytest.raises(InputError, match=r"no way \(TypeError\), .*a, !new:"):
        load(text, tmp_path)


def test_too_little_memory_is_nobodys_mistake(ours, users, tmp_path):
    for name in (f"{ours}.Faulty", f"{users}.Net"):
        with pytest.raises(MemoryError):
            load(f"a: !new:{name} {{kind: memory}}\n", tmp_path)


@pytest.mark.parametrize("value", ["!what 3", "(1, [)"])
def test_a_value_that_yaml_cannot_read(value, tmp_path):
    with pytest.raises(InputError, match=r"^mine.yaml: (?=.*YAML).*\ba\.b: "):
        load(f"a:\n  b: {value}\n", tmp_path)


def test_the_objects_are_those_of_hyperpyyaml(tmp_path):
    text = (
        "__seed: !apply:torch.manual_seed [3]\nnet: &net !new:torch.nn.Linear [2, 3]\n"
        "same: *net\nlog: !new:logging.Logger {name: x}\nsizes: (1, 2)\n"
    )
    hparams = load(text, tmp_path)
    torch.manual_seed(3)
    assert torch.equal(hparams["net"].weight, torch.nn.Linear(2, 3).weight)
    assert hparams["same"] is hparams["net"] and hparams["sizes"] == (1, 2)
    assert isinstance(hparams["log"], logging.Logger) and "__seed" not in hparams
