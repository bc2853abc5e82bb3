"""What the documentation names exists."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from speechbrain_lmac.config.differences import differences
from speechbrain_lmac.config.inheritance import (
    PARENT,
    blocks_of,
    open_hparams,
    top_level_keys,
)
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.hub.registry import shipped_models
from speechbrain_lmac.metrics import (
    ALL_METRICS,
    HEARD_METRICS,
    metrics_by_name,
)
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils import arguments
from speechbrain_lmac.utils.errors import InputError
from tests.pages import (
    DOCS,
    METHODS,
    METRICS,
    PAGES,
    README,
    ROOT,
    anchors,
    blocks,
    commands,
    git_files,
    guide,
    inline_code,
    is_the_readers,
    own_metric,
    pictures_and_sounds,
    prose,
    rows,
    section,
    tables,
    text_of,
)
from tools import experiments

MOST_LINES = 180  # of the README
MOST_LINES_OF_A_PART = 15  # of CONTRIBUTING.md
LARGEST = 200_000  # bytes of a picture or a sound in it
FOLDERS = tuple(
    f"{name}/"
    for name in "recipes hparams data_prep speechbrain_lmac tests docs tools".split()
)
# Written by a command, or a file of SpeechBrain's recipe.
NOT_OURS = {
    "docs/results/results.md",
    "docs/results/roar.md",
    "roar.md",
    "eval.py",
    "hyperparams.yaml",
    "recipes/ESC50/interpret",
    "summary.md",
}


def test_every_command_of_the_guide_names_what_there_is():
    scripts = [word for line in commands() for word in line if word.endswith(".py")]
    yamls = [word for line in commands() for word in line if word.endswith(".yaml")]
    assert len(scripts) > 10 and len(yamls) > 10
    for name in scripts + yamls:
        known = (ROOT / name).is_file() or is_the_readers(name)
        assert known, f"a command names {name}"


def test_every_make_target_of_the_documentation_exists():
    makefile = text_of(ROOT / "Makefile")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.M))
    named = {line[1] for line in commands() if line[0] == "make"}
    for page in PAGES:
        codes = inline_code(text_of(page))
        named |= {code.split()[1] for code in codes if re.match(r"make \w", code)}
    assert {"demo", "test", "help", "results", "tables"} <= named <= targets


def test_every_option_of_the_guide_is_known():
    run_options = {name.removeprefix("--") for name in arguments.run_options()}
    yamls = sorted((ROOT / "hparams").glob("*.yaml"))
    keys = {key for path in yamls for key in top_level_keys(path)}
    scripts = [*ROOT.glob("recipes/*.py"), *ROOT.glob("data_prep/*.py")]
    sources = "".join(text_of(path) for path in scripts)
    sources += text_of(ROOT / "speechbrain_lmac/cli.py")
    sources += text_of(ROOT / "speechbrain_lmac/utils/arguments.py")
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
    for code in inline_code(guide()):
        for option in re.findall(r"^--(\w+)| --(\w+)", code.split("torchrun")[0]):
            assert "".join(option) in {*run_options, *own, *keys}, code


def test_the_values_that_the_guide_overrides_can_be_overridden(tmp_path):
    changes = [c for c in inline_code(guide()) if re.match(r"--\w+='", c)]
    assert len(changes) >= 4
    yamls = {"objective": "toy_lmac.yaml", "guidance": "toy_lmac_finetune.yaml"}
    for change in changes:
        path = tmp_path / "changed.yaml"
        named = [yaml for word, yaml in yamls.items() if word in change]
        whole = ROOT / "hparams" / ["toy_classifier.yaml", *named][-1]
        text = open_hparams(whole).getvalue()
        # Without the trained classifier, which is not there.
        text = re.sub(r"^classifier:.*\n(?: +.*\n)*", "", text, flags=re.M)
        text = re.sub(
            r"^(classifier_source|\w+_checkpoint|\w+_interpreter):.*\n",
            "",
            text,
            flags=re.M,
        )
        path.write_text(re.sub("!include:(?!/)", f"!include:{ROOT}/hparams/", text))
        load_experiment([str(path), *shlex.split(change)])


def test_the_snippets_of_yaml_in_the_guide_make_an_experiment(tmp_path):
    whole = text_of(ROOT / "hparams/toy_classifier.yaml")
    snippets = blocks(guide(), "yaml")
    assert len(snippets) >= 4
    (tmp_path / "my_metrics.py").write_text(own_metric())
    for snippet in snippets:
        key = snippet.split(":")[0]
        if key == PARENT:
            assert "../" in snippet
            path = tmp_path / "ablation.yaml"
            path.write_text(snippet.replace("../", f"{ROOT}/hparams/"))
            parent, _ = snippet.removeprefix(f"{PARENT}: ../").split("\n", 1)
            texts = [resolve(ROOT / "hparams" / parent), resolve(path)]
            changed = {line.split(":")[0] for line in differences(*texts)}
            keys = set(blocks_of(snippet)) - {PARENT}
            assert keys <= {name.split(".")[0] for name in changed}
            continue
        place = rf"^{key}:.*\n(?: +.*\n)*"  # a part stands above the references into it
        text, n = re.subn(place, lambda _, new=snippet: new, whole, flags=re.M)
        text = text if n else whole + snippet
        path = tmp_path / f"{key}.yaml"
        path.write_text(text.replace("!include:", f"!include:{ROOT}/hparams/"))
        hparams, _, _ = load_experiment([str(path)])
        assert hparams[key] is not None


def test_the_code_from_the_script_to_the_loss_is_that_of_the_files():
    text = text_of(DOCS / "guide" / "from_script_to_loss.md")
    names = ("recipes/train_lmac.py", "evidence.py", "losses/lmac.py")
    code = "".join(text_of(ROOT / "speechbrain_lmac" / name) for name in names)
    *excerpts, own = blocks(text, "python")
    assert len(excerpts) >= 4
    for excerpt in excerpts:
        assert excerpt in code, f"no longer so:\n{excerpt}"
    found = {}
    exec(own, found)  # a term of the reader's
    assert found["edges"](
        Evidence(torch.full((2, 3, 4), 0.5), *[None] * 4)
    ).tolist() == [
        0.25,
        0.25,
    ]
    recipe_keys = blocks_of(text_of(ROOT / "hparams/esc10_lmac.yaml"))
    table = rows(section(text, "2. The YAML"))
    assert {row[0].strip("`") for row in table} <= set(recipe_keys)


def test_the_own_metric_of_the_guide_is_one(tmp_path, monkeypatch):
    (tmp_path / "my_metrics.py").write_text(own_metric())
    (tmp_path / "table.yaml").write_text("metrics: [AI]\n")
    monkeypatch.chdir(tmp_path)
    words = [word for command in commands() for word in command]
    (given,) = (word for word in words if "my_metrics" in word)
    hparams, _, _ = load_experiment(["table.yaml", "--metrics", given])
    *_, own = metrics_by_name(hparams["metrics"])
    assert own.name == "keep_share" and own.higher_is_better is None
    masks = torch.tensor([0.25, 0.75])[:, None, None].expand(-1, 3, 4)
    evidence = Evidence(masks, torch.zeros(2), *torch.zeros(3, 2, 5))
    assert own(evidence).tolist() == [0.0, 1.0]

    snippet = next(b for b in blocks(guide(), "yaml") if b.startswith("metrics:"))
    (tmp_path / "table.yaml").write_text(snippet)
    hparams, _, _ = load_experiment(["table.yaml"])
    *_, told = metrics_by_name(hparams["metrics"])
    assert (told.name, told.higher_is_better) == ("kept", False)


def test_the_scores_that_come_by_themselves_are_those_that_cannot_be_named():
    chosen = section(text_of(METRICS), "Chosen by name")
    others = section(text_of(METRICS), "Automatic scores")
    names = [name for row in rows(chosen) for name in row[0].split(", ")]
    known = {m.name for m in metrics_by_name([*ALL_METRICS, *HEARD_METRICS])}
    assert known <= set(names)
    for row in rows(others):
        for name in row[0].removesuffix(" area").split(", "):
            name += " area" if row[0].endswith(" area") else ""
            with pytest.raises(InputError, match="computed automatically"):
                metrics_by_name([name])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page):
    files = [path.relative_to(ROOT).as_posix() for path in git_files()]
    for code in inline_code(text_of(page)):
        name = code.rstrip("/")
        is_path = re.fullmatch(r"[\w./-]+", name) and (
            code.startswith(FOLDERS) or name.endswith((".py", ".yaml", ".md", ".toml"))
        )
        made = name in NOT_OURS or name.startswith(("results/", "data/"))
        made = made or is_the_readers(name)
        if is_path and not made and not (ROOT / name).exists():
            assert any(file.endswith(f"/{name}") for file in files), f"no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(text_of(page)))
    links += re.findall(r'src="([^"]+)"', prose(text_of(page)))
    for link in links:
        if not re.match(r"https?:", link):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), f"{page.name} links to {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_table_of_the_experiment_files_is_up_to_date():
    assert text_of(experiments.PAGE) == experiments.page(), "run make experiments"
    for _, body in tables(experiments.page()):
        for _, recipe, _ in body:
            assert (ROOT / recipe.strip("`")).is_file(), recipe


@pytest.mark.parametrize(
    "head",
    ["seed: 1\n", "# L-MAC.\nseed: 1\n", "#   python train_lmac.py a.yaml\nseed: 1\n"],
)
def test_a_file_that_does_not_say_what_it_is_has_no_row(head, tmp_path):
    (tmp_path / "a.yaml").write_text(head)
    with pytest.raises(ValueError, match="must begin with a comment"):
        experiments.read_head(tmp_path / "a.yaml")


def test_every_recipe_and_shipped_model_is_told_of():
    paths = (ROOT / "recipes").glob("[a-z]*.py")
    scripts = {path.name for path in paths if "import renamed" not in text_of(path)}
    texts = guide() + experiments.page() + text_of(ROOT / "Makefile")
    told = set(re.findall(r"\b(\w+\.py)\b", texts))
    assert scripts - told == set()
    assert all(f"`{name}`" in text_of(README) for name in shipped_models())


def test_the_readme_is_short():
    assert len(text_of(README).splitlines()) <= MOST_LINES


def test_what_to_do_for_a_new_part_is_short_and_ends_with_a_check():
    parts = re.split(r"^## ", text_of(ROOT / "CONTRIBUTING.md"), flags=re.M)[1:]
    assert len(parts) >= 5
    for part in parts:
        lines = [line for line in part.splitlines()[1:] if line]
        assert len(lines) <= MOST_LINES_OF_A_PART
        check = re.search(r"^Check: `python -m pytest (.+)`$", lines[-1])
        for name in check[1].split():
            assert (ROOT / name).exists() or is_the_readers(name), name


def test_the_readme_shows_an_explanation_to_see_and_to_hear():
    files = pictures_and_sounds(README)
    assert [path.suffix for path in files].count(".flac") >= 3
    assert any(path.suffix == ".png" for path in files)
    assert all(path.stat().st_size < LARGEST for path in files)


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
