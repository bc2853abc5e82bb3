"""Modules can be imported in any order, and packages import downwards only."""

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


def is_for_types(statement):
    """Whether a statement is `if TYPE_CHECKING:`, which never runs."""
    return (
        isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"
    )


def run_on_import(body):
    """The statements that run when a module is imported, of `if` and `try`, too."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if is_for_types(statement):
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


# --- Who may import whom (docs/architecture.md) -------------------------------

# A package imports packages of the rows above it, and none beside it.
RANKS = [
    {"types", "utils"},
    {"dsp", "plots", "hub", "config"},
    {"data", "domains", "classifiers"},
    {"interpreters"},
    {"explainers", "evidence"},
    {"metrics", "losses"},
    {"inference"},
    {"evaluation"},
    {"training"},  # publishing passes on what a finished training has recorded
    {"reporting", "publishing"},
    {"api"},
    {"cli"},
    {"__main__"},
]
RANK = {package: rank for rank, row in enumerate(RANKS) for package in row}
# What the preparation of data may use of the library.
FOR_DATA_PREP = {"utils", "dsp", "data"}
SI_SDR = "metrics.separation.si_sdr"  # for the table of rendered mixtures
AROUND = {"data_prep", "recipes", "hparams", "tools", "tests", "benchmarks"}
MOST_MODULES, MOST_LINES = 16, 400


def all_imported(path):
    """The dotted names that a module imports, wherever in it and by whatever means."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    module.body = [each for each in module.body if not is_for_types(each)]
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: write the whole name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in ("import_module", "__import__"):
                yield from named_text(node.args[0])


def named_text(node):
    """The text that an expression begins with, in a list; none of another one."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        assert not node.value.startswith("."), "write the whole name"
        return [node.value]
    return []


def inner_imports(path, package="speechbrain_lmac"):
    """What a module imports of a package, as dotted names below it.

    The whole package is "*": all that its lazy __init__ has can be reached by it.
    """
    names = (name.partition(".") for name in all_imported(path))
    return [
        inner or "*"
        for first, _, inner in names
        if first == package and inner[:1] != "_"
    ]


def wrong_imports(modules, ranks, package):
    """(module, what it imports) where the rule of the rows is broken."""
    wrong = []
    for name, path in modules.items():
        own = name.split(".")[1] if "." in name else None
        if own not in ranks:  # the __init__ of the whole, which is lazy; models
            continue
        for inner in inner_imports(path, package):
            other = inner.split(".")[0]
            if other != own and ranks.get(other, len(ranks)) >= ranks[own]:
                wrong.append((name, inner))
    return wrong


def test_a_package_imports_what_stands_above_it_only():
    modules = module_names(PACKAGE)
    assert wrong_imports(modules, RANK, "speechbrain_lmac") == []
    folders = {name.split(".")[1] for name in modules if "." in name}
    assert folders - {"pretrained"} == set(RANK)


def test_a_wrong_import_is_found(tmp_path):
    for name, text in {
        "a/x.py": "",
        "b/y.py": "def f():\n    from p.c import z",
        "b/x.py": "from importlib import import_module\nimport_module('p.c.z')",
        "b/w.py": "import importlib\nimportlib.import_module(f'p.c.{1}')",
        "b/v.py": "__import__('p.a.x'), __import__('p.d')",
        "b/u.py": "def f():\n    import p",
        "c/z.py": "from p.a import x",
        "d/w.py": "import p.c.z",
    }.items():
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    modules = module_names(tmp_path / "p")
    ranks = {"a": 0, "b": 1, "c": 1, "d": 2}
    wrong = [
        *(("p.b.u", "*"), ("p.b.v", "d"), ("p.b.w", "c.")),
        *(("p.b.x", "c.z"), ("p.b.y", "c.z")),
    ]
    assert sorted(wrong_imports(modules, ranks, "p")) == wrong
    (upwards,) = set(wrong_imports(modules, {**ranks, "d": 0}, "p")) - set(wrong)
    assert upwards == ("p.d.w", "c.z")


@pytest.mark.parametrize(
    "text",
    ["from ..c import z", "from . import y", "import_module('..c', __package__)"],
)
def test_a_relative_import_is_refused_where_it_hides(tmp_path, text):
    (tmp_path / "x.py").write_text(f"def f():\n    {text}\n")
    with pytest.raises(AssertionError, match="write the whole name"):
        list(all_imported(tmp_path / "x.py"))


def test_the_package_imports_nothing_that_stands_around_it():
    for name, path in module_names(PACKAGE).items():
        for imported_name in all_imported(path):
            outside = imported_name.removeprefix("speechbrain_lmac.").split(".")[0]
            assert outside not in AROUND, name


def test_the_data_preparation_imports_what_it_may():
    for path in sorted((PACKAGE.parent / "data_prep").glob("*.py")):
        for inner in inner_imports(path):
            first = inner.split(".")[0]
            allowed = first in FOR_DATA_PREP or inner == SI_SDR
            assert allowed or first == "data_prep", f"{path.name} imports {inner}"
        for name in all_imported(path):
            assert name.split(".")[0] not in AROUND, f"{path.name} imports {name}"


def test_no_folder_and_no_module_is_too_large():
    for folder in {path.parent for path in module_names(PACKAGE).values()}:
        modules = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
        assert len(modules) <= MOST_MODULES, f"{folder} has {len(modules)} modules"
    for path in module_names(PACKAGE).values():
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        assert n_lines <= MOST_LINES, f"{path} has {n_lines} lines"
