"""What the documentation names exists, and says what the code has."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch

from speechbrain_lmac import options
from speechbrain_lmac.hparams_files import (
    PARENT,
    blocks_of,
    open_hparams,
    top_level_keys,
)
from speechbrain_lmac.interpreters import (
    PublishedInterpreter,
    PublishedMelInterpreter,
    PublishedUpsampler,
)
from speechbrain_lmac.loading import load_experiment
from speechbrain_lmac.metrics import ALL_METRICS, HEARD_METRICS, faithfulness
from speechbrain_lmac.metrics.artefacts import ARTEFACT_SCORES
from speechbrain_lmac.metrics.curves import CURVES
from speechbrain_lmac.metrics.truth import IRM_OVERLAP_HEARD, SOURCE_SCORES
from speechbrain_lmac.sanity import SIMILARITIES

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
METHODS = ROOT / "docs" / "methods.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("recipes/", "hparams/", "data_prep/", "speechbrain_lmac/", "tests/", "docs/")
# Written by a command, or a file of SpeechBrain's recipe.
NOT_OURS = {
    "webmushra.yaml",
    "docs/results/results.md",
    "docs/results/roar.md",
    "roar.md",
    "eval.py",
    "hyperparams.yaml",
    "recipes/ESC50/interpret",
    "summary.md",
}


def text_of(path):
    """The content of a file."""
    return path.read_text(encoding="utf-8")


def blocks(text, *languages):
    """The fenced code blocks in one of the languages."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.M | re.S)
    return [code for language, code in fences if language in languages]


def prose(text):
    """The text without its fenced code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def inline_code(text):
    """What stands between single backticks."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(text))]


def section(text, title):
    """The text below a heading, to the next one of its level or above."""
    level, rest = re.search(
        rf"^(#+) {re.escape(title)}\n(.*)", text, re.M | re.S
    ).groups()
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.M)[0]


def rows(text):
    """The cells of the Markdown tables in a text, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    heads = {i for i, row in enumerate(table) if set("".join(row)) <= set("-")}
    return [r for i, r in enumerate(table) if i not in heads and i + 1 not in heads]


def commands():
    """The command lines of the README, as lists of words."""
    lines = "".join(blocks(text_of(README), "sh", "bat")).splitlines()
    named = [c for c in inline_code(text_of(README)) if re.match(r"make |torchrun ", c)]
    return [shlex.split(line.replace("\\", "/")) for line in [*lines, *named]]


def git_files():
    """The tracked files, and those that `git add .` would add; no links."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def anchors(path):
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", prose(text_of(path)), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings}


def numbers(text):
    """The numbers in a cell."""
    return {float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?", text)}


# --- Commands and files -------------------------------------------------------


def test_every_command_of_the_readme_names_what_there_is():
    scripts = [word for line in commands() for word in line if word.endswith(".py")]
    yamls = [word for line in commands() for word in line if word.endswith(".yaml")]
    assert len(scripts) > 10 and len(yamls) > 10
    for name in scripts + yamls:
        assert (ROOT / name).is_file(), f"README names {name}"


def test_every_make_target_of_the_documentation_exists():
    makefile = text_of(ROOT / "Makefile")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.M))
    named = {line[1] for line in commands() if line[0] == "make"}
    for page in PAGES:
        codes = inline_code(text_of(page))
        named |= {code.split()[1] for code in codes if re.match(r"make \w", code)}
    assert {"demo", "test", "help", "results", "tables"} <= named <= targets


def test_every_option_of_the_readme_is_known():
    run_options = {name.removeprefix("--") for name in options.run_options()}
    yamls = sorted((ROOT / "hparams").glob("*.yaml"))
    keys = {key for path in yamls for key in top_level_keys(path)}
    scripts = [*ROOT.glob("recipes/*.py"), *ROOT.glob("data_prep/*.py")]
    sources = "".join(text_of(path) for path in scripts)
    sources += text_of(ROOT / "speechbrain_lmac/cli.py")
    sources += text_of(ROOT / "speechbrain_lmac/options.py")
    own = {"help", *re.findall(r'add_argument\(\s*"--(\w+)"', sources)}
    for words in commands():
        if any(word.startswith("recipes/") for word in words):
            yaml = [word for word in words if word.endswith(".yaml")]
            own_keys = {k for name in yaml for k in top_level_keys(ROOT / name)}
            script = next(i for i, w in enumerate(words) if w.startswith("recipes/"))
            for word in words[script:]:
                if option := re.match(r"--(\w+)", word):
                    known = {*run_options, *own, *own_keys}
                    assert option[1] in known, f"{yaml}: --{option[1]}"
    for code in inline_code(text_of(README)):
        for option in re.findall(r"^--(\w+)| --(\w+)", code.split("torchrun")[0]):
            assert "".join(option) in {*run_options, *own, *keys}, code


def test_the_values_that_the_readme_overrides_can_be_overridden(tmp_path):
    changes = [c for c in inline_code(text_of(README)) if re.match(r"--\w+='", c)]
    assert len(changes) >= 4
    yamls = {"objective": "toy_lmac.yaml", "guidance": "toy_lmac_finetune.yaml"}
    for change in changes:
        path = tmp_path / "changed.yaml"
        named = [yaml for word, yaml in yamls.items() if word in change]
        text = text_of(ROOT / "hparams" / ["toy_classifier.yaml", *named][-1])
        # Without the trained classifier, which is not there.
        text = re.sub(r"^classifier:.*\n(?: +.*\n)*", "", text, flags=re.M)
        text = re.sub(
            r"^(classifier_source|\w+_checkpoint|\w+_interpreter):.*\n",
            "",
            text,
            flags=re.M,
        )
        path.write_text(text.replace("!include:", f"!include:{ROOT}/hparams/"))
        load_experiment([str(path), *shlex.split(change)])


def test_the_snippets_of_yaml_in_the_readme_make_an_experiment(tmp_path):
    whole = text_of(ROOT / "hparams/toy_classifier.yaml")
    snippets = blocks(text_of(README), "yaml")
    assert snippets
    for snippet in snippets:
        key = snippet.split(":")[0]
        if key == PARENT:
            assert "../" in snippet
            path = tmp_path / "ablation.yaml"
            path.write_text(snippet.replace("../", f"{ROOT}/hparams/"))
            ours, text = blocks_of(snippet), open_hparams(path).getvalue()
            assert all(ours[key] in text for key in set(ours) - {PARENT})
            continue
        others = re.sub(rf"^{key}:.*\n(?: +.*\n)*", "", whole, flags=re.M)
        path = tmp_path / f"{key}.yaml"
        path.write_text(
            (others + snippet).replace("!include:", f"!include:{ROOT}/hparams/")
        )
        hparams, _, _ = load_experiment([str(path)])
        assert hparams[key] is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page):
    files = [path.relative_to(ROOT).as_posix() for path in git_files()]
    for code in inline_code(text_of(page)):
        name = code.rstrip("/")
        is_path = re.fullmatch(r"[\w./-]+", name) and (
            code.startswith(FOLDERS) or name.endswith((".py", ".yaml", ".md", ".toml"))
        )
        made = name in NOT_OURS or name.startswith(("results/", "data/"))
        if is_path and not made and not (ROOT / name).exists():
            assert any(file.endswith(f"/{name}") for file in files), f"no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(text_of(page)))
    for link in links:
        if not re.match(r"https?:", link):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), f"{page.name} links to {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_readme_lists_every_experiment_file_once():
    table = rows(section(text_of(README), "Experiment files"))
    listed = [row[0].strip("`") for row in table]
    there = [f"hparams/{path.name}" for path in (ROOT / "hparams").glob("*.yaml")]
    assert sorted(listed) == sorted(there)
    for yaml, recipe, _ in table:
        kinds = ("classifier", "lmac", "nmf", "l2i", "clap")
        kind = {f"lmac_{name}": f"train_lmac_{name}" for name in ("td", "zs")}
        kind |= {"codec": "pretrain_codec"}
        kind |= {name: f"train_{name}" for name in kinds}
        kind |= {name: name for name in ("roar", "ablations", "two_sources")}
        kind["zs_checks"] = "zero_shot_checks"
        name = next((kind[k] for k in kind if f"_{k}" in yaml), "evaluate")
        assert recipe == f"`recipes/{name}.py`"


# --- References ---------------------------------------------------------------


def test_no_file_refers_to_a_page_that_is_not_in_the_repository():
    names = ["METH" + "ODS", "DES" + "IGN", "ECO" + "SYSTEM"]
    pattern = re.compile(rf"\b({'|'.join(names)})(\.md\b| [T\d])|\bSTYLE\.md\b")
    for path in git_files():
        found = pattern.search(path.read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)} names {found.group()}"


def test_every_reference_to_the_methods_has_its_heading():
    headings = {anchor.replace("-", " ") for anchor in anchors(METHODS)}
    known = "|".join(sorted(map(re.escape, headings), key=len, reverse=True))
    seen = 0
    for path in git_files():
        if path.suffix in (".py", ".yaml") and path != Path(__file__):
            text = re.sub(r"\n\s*#?\s*", " ", text_of(path))
            for place in re.findall(r"docs/methods\.md, (.{30})", text):
                seen += 1
                plain = place.replace("-", " ")  # as in the headings above
                good = re.match(rf"({known})\b", plain, flags=re.I)
                assert good, f"{path.relative_to(ROOT)}: no section '{place}...'"
    assert seen > 5


# --- Values -------------------------------------------------------------------


def yaml_values(name):
    """The `key: number` lines of a part."""
    text = text_of(ROOT / "hparams/parts" / name)
    found = re.findall(r"^\s*(\w+): ([\d.]+)\s*(?:#.*)?$", text, flags=re.M)
    return {key: float(value) for key, value in found}


@pytest.fixture(scope="module")
def deviations():
    """The first column of the table to "here", all five columns asked for."""
    table = rows(section(text_of(README), "Deviations"))
    assert all(len(row) == 5 and all(row) for row in table)
    return {row[0]: row[2] for row in table}


def test_the_deviations_have_the_weights_of_the_objective(deviations):
    weights = yaml_values("objective/lmac.yaml")
    here = numbers(deviations["weight of the mask's L1 norm"])
    assert here == {weights["mask_l1"], weights["mask_in"], weights["mask_out"]}
    told = {
        row[0].strip("`"): row for row in rows(section(text_of(METHODS), "Objective"))
    }
    for name, weight in weights.items():
        assert numbers(told[name][2]) == {weight}


def test_the_deviations_have_the_constants_of_the_metrics(deviations):
    assert faithfulness.AI_TOLERANCE in numbers(deviations["AI"])
    assert faithfulness.SATURATION in numbers(deviations["AG"])


def test_the_deviations_have_folds_and_schedule(deviations):
    for name in ("esc10", "esc50"):
        part = text_of(ROOT / f"hparams/parts/dataset/{name}.yaml")
        (fold,) = re.search(r"test_folds: \[(\d)\]", part).groups()
        assert numbers(deviations["fold of the tables"]) == {float(fold)}
    plateau = yaml_values("training/adam_plateau.yaml")
    schedule = deviations["learning rate of the published setting"]
    assert plateau["factor"] == 0.5 and "halved" in schedule
    assert numbers(schedule) == {plateau["first_epoch"]}


def test_the_sizes_of_the_models_are_those_told(deviations, tmp_path):
    with torch.device("meta"):
        kinds = (PublishedInterpreter, PublishedMelInterpreter, PublishedUpsampler)
        published = {
            f"{sum(p.numel() for p in kind().parameters()) / 1e6:.1f} M"
            for kind in kinds
        }
    sizes = re.findall(r"\b\d{3}\.\d M\b", text_of(README) + text_of(METHODS))
    assert set(sizes) == published
    parts = {"model: classifier": "n_classes: 50"}
    parts["interpreter: interpreter"] = "frequency: {sample_rate: 16000}"
    for (part, argument), kind in zip(
        parts.items(), ("classifier", "decoder"), strict=True
    ):
        key, folder = part.split(": ")
        file = "compact" if folder == "classifier" else "conv"
        path = tmp_path / f"{key}.yaml"
        include = f"!include:{ROOT}/hparams/parts/{folder}/{file}.yaml"
        path.write_text(f"{key}: {include}\n    {argument}\n")
        model = load_experiment([str(path)])[0][key]
        told = deviations[f"{kind} of the compact YAMLs"]
        most = float(re.search(r"at most ([\d.]+) M", told)[1])
        assert sum(p.numel() for p in model.parameters()) <= most * 1e6


def test_the_readme_defines_every_metric_and_no_other():
    told = [row[0] for row in rows(section(text_of(README), "Metrics"))]
    metrics = [metric.name for metric in ALL_METRICS]
    assert [name.split(", ")[0] for name in told[: len(metrics)]] == metrics
    *truth, sdr, improvement = (score.name for score in SOURCE_SCORES)
    assert told[len(metrics) :] == [
        ", ".join(metric.name for metric in HEARD_METRICS),
        *truth,
        IRM_OVERLAP_HEARD.name,
        f"{sdr}, {improvement}",
        ", ".join(score.name for score in ARTEFACT_SCORES),
        ", ".join(score.name for score in CURVES) + " area",
        ", ".join(score.name for score in SIMILARITIES),
    ]


def test_the_citations_are_bibtex():
    (block,) = blocks(text_of(README), "bibtex")
    entries = re.split(r"\n\n(?=@)", block.strip())
    keys = []
    for entry in entries:
        kind, key, body = re.fullmatch(
            r"@(\w+)\{([\w]+),\n(.*)\n\}", entry, flags=re.S
        ).groups()
        fields = re.findall(r"^  (\w+) = \{(.*)\},?$", body, flags=re.M)
        assert len(fields) == len(body.splitlines()), f"{key}: a line is no field"
        assert {"title", "author", "year"} <= set(dict(fields)), key
        assert kind in {"inproceedings", "article", "misc"}
        assert entry.count("{") == entry.count("}")
        keys.append(key)
    assert len(set(keys)) == len(entries) >= 4
