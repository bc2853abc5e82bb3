"""Modules can be imported in any order."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "speechbrain_lmac"


def module_names(package):
    """{name: file} of the modules of a package, "a.b" being a/b.py or a/b/."""
    names = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def packages_of(name):
    """The packages that Python imports before a module: {"a", "a.b"} of "a.b.c"."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def run_on_import(body):
    """The statements that run when a module is imported, of `if` and `try`, too."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        yield statement
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from run_on_import(getattr(statement, block, []))


def imported(name, path, modules):
    """The modules that have to be whole before a module can be."""
    needed = set()
    for statement in run_on_import(ast.parse(path.read_text(encoding="utf-8")).body):
        named = set()
        if isinstance(statement, ast.Import):
            named = {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{name}: write the whole name"
            inner = {f"{statement.module}.{alias.name}" for alias in statement.names}
            # Of a package a module takes other modules, or what its __init__ defines.
            named = inner & modules.keys()
            if len(named) < len(inner):
                named.add(statement.module)
        for module in named & modules.keys():
            # A module's own packages are imported before it, and may import it.
            needed |= {module} | (packages_of(module) - packages_of(name) - {name})
    return needed


def import_order(package):
    """An order in which no module needs a later one; an error where there is none."""
    modules = module_names(package)
    graph = {name: imported(name, path, modules) for name, path in modules.items()}
    return list(TopologicalSorter(graph).static_order())


def test_every_module_can_be_the_first_that_is_imported():
    assert len(import_order(PACKAGE)) > 100


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": "import p.b", "b.py": "from p import a"},
        {"a.py": "if True:\n    from p.b import x", "b.py": "import p.a"},
        {"a.py": "class A:\n    from p.a import A"},
        # By the __init__ of a package that is imported on the way.
        {"a.py": "from p.q import c", "q/__init__.py": "import p.a", "q/c.py": ""},
        {"q/__init__.py": "from p.q.c import f", "q/c.py": "from p.q import f"},
    ],
)
def test_a_circle_is_found(tmp_path, files):
    for name, text in {"__init__.py": "", **files}.items():
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(ValueError, match="cycle"):
        import_order(tmp_path / "p")


def test_what_is_imported_when_it_is_called_is_no_circle(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.py").write_text("def f():\n    import p.b")
    (tmp_path / "p" / "b.py").write_text("import p.a")
    assert import_order(tmp_path / "p") == ["p.a", "p.b"]
