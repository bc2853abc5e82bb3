"""Docstrings of public functions: sections, and shapes of tensors."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "speechbrain_lmac"
MANY = 3  # arguments, from which on a docstring explains each
WITH_SHAPES = 0.9  # of the functions that take or return tensors
TENSORS = re.compile(r"\b(Tensor|ndarray)\b")
# (B, T, F), (N,), (..., 2), "the shape of rep", "a scalar".
SHAPE = re.compile(r"\((\.\.\.|\*|[A-Z]\w*'?|\d+|n_\w+),[^()]*\)|\bshape|\bscalar")


def modules():
    """The modules of the package and of data_prep, none by its link."""
    paths = [*PACKAGE.rglob("*.py"), *(ROOT / "data_prep").glob("*.py")]
    return [path for path in paths if not any(p.is_symlink() for p in path.parents)]


def public_functions(body, of_class=None):
    """(function, its class or None) of all public functions and methods."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, node)
        elif isinstance(node, ast.FunctionDef) and (
            not node.name.startswith("_") or node.name in ("__init__", "__call__")
        ):
            yield node, of_class


def parameters(function, of_class):
    """The parameters, but for self and cls."""
    found = function.args.posonlyargs + function.args.args
    static = any(ast.unparse(d) == "staticmethod" for d in function.decorator_list)
    found = found[1:] if of_class is not None and not static else found
    return [*found, *function.args.kwonlyargs]


def docstring(function, of_class):
    """The docstring; the class explains its constructor, its call and `forward`."""
    own = ast.get_docstring(function) or ""
    if of_class is not None and function.name in ("__init__", "__call__", "forward"):
        own += "\n" + (ast.get_docstring(of_class) or "")
    return own


def missing_sections(function, of_class):
    """The sections that a function with many arguments should have and does not."""
    if len(parameters(function, of_class)) < MANY:
        return []
    text = docstring(function, of_class)
    if re.search(r"are those of|^See `", text):  # another function has them
        return []
    returns = ast.unparse(function.returns) if function.returns else "None"
    needed = ["Arguments"]
    if function.name != "__init__" and returns not in ("None", "NoReturn"):
        needed.append("(?:Returns|Yields)")
    return [name for name in needed if not re.search(rf"^{name}\n-+$", text, re.M)]


def has_tensors(function, of_class):
    """Whether an argument or the result is a tensor or an array."""
    hints = [p.annotation for p in parameters(function, of_class)] + [function.returns]
    return any(TENSORS.search(ast.unparse(hint)) for hint in hints if hint)


def all_public():
    """(place, function, class) of the whole package."""
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function, of_class in public_functions(tree.body):
            name = f"{of_class.name}.{function.name}" if of_class else function.name
            yield f"{path.relative_to(ROOT)}: {name}", function, of_class


def test_functions_with_many_arguments_explain_them():
    missing = {
        place: sections
        for place, function, of_class in all_public()
        if (sections := missing_sections(function, of_class))
    }
    assert missing == {}


def test_functions_of_tensors_state_shapes():
    stated = {
        place: bool(SHAPE.search(docstring(function, of_class)))
        for place, function, of_class in all_public()
        if has_tensors(function, of_class)
    }
    assert len(stated) > 200
    without = [place for place, has in stated.items() if not has]
    assert len(without) <= (1 - WITH_SHAPES) * len(stated), without


@pytest.mark.parametrize(
    "text, sections, shaped",
    [
        ('def f(a, b): "F."', 0, False),
        ('def f(a, b, c) -> None: "F."', 1, False),
        (
            'def f(a, b, c) -> int:\n  """F.\n\n  Arguments\n  ---------\n  """',
            1,
            False,
        ),
        ('def f(a: "torch.Tensor") -> int: "Mean of (B, T)."', 0, True),
    ],
)
def test_what_is_missing_is_found(text, sections, shaped):
    ((function, of_class),) = public_functions(ast.parse(text).body)
    assert len(missing_sections(function, of_class)) == sections
    found = SHAPE.search(docstring(function, of_class))
    assert bool(found and has_tensors(function, of_class)) == shaped
