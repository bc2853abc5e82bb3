"""What the documentation names exists, and says what the code has."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from speechbrain_lmac import __version__
from speechbrain_lmac.config.differences import differences
from speechbrain_lmac.config.inheritance import (
    PARENT,
    blocks_of,
    open_hparams,
    top_level_keys,
)
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.evaluation.randomisation import SIMILARITIES
from speechbrain_lmac.hub.registry import shipped_models
from speechbrain_lmac.interpreters import (
    PublishedInterpreter,
    PublishedMelInterpreter,
    PublishedUpsampler,
)
from speechbrain_lmac.metrics import (
    ALL_METRICS,
    HEARD_METRICS,
    faithfulness,
    metrics_by_name,
)
from speechbrain_lmac.metrics.bss_eval import ARTEFACT_SCORES
from speechbrain_lmac.metrics.curves import CURVES
from speechbrain_lmac.metrics.separation import IRM_OVERLAP_HEARD, SOURCE_SCORES
from speechbrain_lmac.publishing.model_card import METHODS as METHODS_OF_CARDS
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils import arguments
from speechbrain_lmac.utils.errors import InputError
from tools import experiments

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RESULTS = DOCS / "results"  # what commands write
README = ROOT / "README.md"
METHODS = DOCS / "methods.md"
METRICS = DOCS / "metrics.md"
DEVIATIONS = DOCS / "deviations.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
# What a user follows; where in it something stands is free.
GUIDES = [README, ROOT / "CONTRIBUTING.md", *sorted((DOCS / "guide").glob("*.md"))]
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


def guide():
    """The pages that a user follows, as one text."""
    return "\n".join(text_of(page) for page in GUIDES)


def own_metric():
    """The module that the page on tables tells to write."""
    (code,) = blocks(text_of(DOCS / "guide" / "evaluate.md"), "python")
    return code


def commands():
    """The command lines of the documentation, as lists of words."""
    lines = "".join(blocks(guide(), "sh", "bat")).splitlines()
    named = [c for c in inline_code(guide()) if re.match(r"make |torchrun ", c)]
    return [shlex.split(line.replace("\\", "/")) for line in [*lines, *named]]


def tables(text):
    """The Markdown tables of a text: its head, and its rows, as lists of cells."""
    found = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    for lines in found:
        head, _, *body = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in lines.splitlines()
        ]
        yield head, body


def is_the_readers(name):
    """Whether a file is one that the reader is told to write: mine.yaml, my_net.py."""
    return bool({"my", "mine"} & set(Path(name).stem.split("_")))


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


def pictures_and_sounds(page):
    """The files of a page that are no text."""
    links = re.findall(r"\[[^\]]*\]\(([^)\s#]+)\)", prose(text_of(page)))
    links += re.findall(r'src="([^"]+)"', text_of(page))
    paths = [page.parent / link for link in links if not re.match(r"https?:", link)]
    return [path for path in paths if path.suffix in (".png", ".flac", ".wav", ".ogg")]


def numbers(text):
    """The numbers in a cell."""
    return {float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?", text)}


# --- Commands and files -------------------------------------------------------


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
    others = section(text_of(METRICS), "By themselves")
    names = [name for row in rows(chosen) for name in row[0].split(", ")]
    known = {m.name for m in metrics_by_name([*ALL_METRICS, *HEARD_METRICS])}
    assert known <= set(names)
    for row in rows(others):
        for name in row[0].removesuffix(" area").split(", "):
            name += " area" if row[0].endswith(" area") else ""
            with pytest.raises(InputError, match="comes by itself"):
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
    table = rows(text_of(DEVIATIONS))
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
    plateau = yaml_values("../esc50_lmac.yaml")
    schedule = deviations["learning rate of the published setting"]
    assert plateau["factor"] == 0.5 and "halved" in schedule
    assert numbers(schedule) == {plateau["dont_halve_until_epoch"]}


def test_the_sizes_of_the_models_are_those_told(deviations, tmp_path):
    with torch.device("meta"):
        kinds = (PublishedInterpreter, PublishedMelInterpreter, PublishedUpsampler)
        published = {
            f"{sum(p.numel() for p in kind().parameters()) / 1e6:.1f} M"
            for kind in kinds
        }
    sizes = re.findall(
        r"\b\d{3}\.\d M\b", "".join(map(text_of, [README, *DOCS.rglob("*.md")]))
    )
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


def test_every_metric_is_defined_and_no_other():
    told = [row[0] for row in rows(text_of(METRICS))]
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


def scores_of(condition):
    """(method, column) to the means that the page of results has in a condition."""
    values = {}
    for part in re.split(r"^#### ", text_of(RESULTS / "results.md"), flags=re.M):
        if part.startswith(f"{condition}, "):  # "noise, STFT", "noise, STFT and TD"
            for (first, *names), body in tables(part):
                for method, *cells in body if first == "method" else []:
                    for name, cell in zip(names, cells, strict=True):
                        values.setdefault((method, name), set()).add(cell.split()[0])
    return values


def test_the_numbers_of_the_readme_are_those_of_the_page_of_results():
    (table,) = [t for t in tables(text_of(README)) if "AI ↑" in t[0]]
    (_, *names), body = table
    shown = {
        (method, name): cell
        for method, *cells in body
        for name, cell in zip(names, cells, strict=True)
    }
    assert len(body) >= 6 and any(row[0].startswith("all ones") for row in body)
    conditions = re.findall(r"^#### (\w+),", text_of(RESULTS / "results.md"), re.M)
    assert any(
        all(cell in scores_of(condition).get(key, ()) for key, cell in shown.items())
        for condition in set(conditions)
    )


HOURS = {
    "a quarter of an hour": 0.25,
    "half an hour": 0.5,
    "an hour": 1,
    "an hour and a half": 1.5,
    "two hours": 2,
    "three hours": 3,
    "four hours": 4,
}
TIME = re.compile("|".join(sorted(HOURS, key=len, reverse=True)))


def hours_of_targets():
    """Target of the Makefile to the hours that its help says it takes, and its help."""
    helps = re.findall(r"^([a-z-]+):.*?## (.+)$", text_of(ROOT / "Makefile"), re.M)
    times = {name: (TIME.search(told), told) for name, told in helps}
    return {name: (HOURS[t[0]], told) for name, (t, told) in times.items() if t}


def test_times_of_targets_are_those_of_the_makefile():
    hours, seen = hours_of_targets(), 0
    for page in PAGES:
        for name, time in re.findall(
            rf"`make ([a-z-]+)[^`]*` \(({TIME.pattern})", text_of(page)
        ):
            seen += 1
            assert HOURS[time] == hours[name][0], f"{page.name}: make {name}"
    assert seen


def test_no_target_says_less_time_than_its_trainings_took():
    pages = {"results": "results.md"}
    for name, (_, told) in hours_of_targets().items():
        if page := re.search(r"docs/results/(\w+\.md)", told):
            pages[name] = page[1]
    checked = 0
    for name, page in pages.items():
        minutes = [
            float(row[head.index("training (min)")])
            for head, body in tables(text_of(RESULTS / page))
            if "training (min)" in head
            for row in body
        ]
        checked += bool(minutes)
        assert sum(minutes) <= 60 * hours_of_targets()[name][0], name
    assert checked >= 4


# --- Citations ----------------------------------------------------------------


def entries_of(text):
    """The BibTeX entries in a text: key to fields."""
    entries = {}
    for block in blocks(text, "bibtex"):
        for entry in re.split(r"\n\n(?=@)", block.strip()):
            kind, key, body = re.fullmatch(
                r"@(\w+)\{([\w]+),\n(.*)\n\}", entry, flags=re.S
            ).groups()
            fields = re.findall(r"^  (\w+) = \{(.*)\},?$", body, flags=re.M)
            assert len(fields) == len(body.splitlines()), f"{key}: a line is no field"
            assert kind in {"inproceedings", "article", "misc"}
            assert entry.count("{") == entry.count("}") and key not in entries
            entries[key] = dict(fields)
    return entries


def test_the_citations_are_bibtex():
    entries = entries_of(guide())
    assert all({"title", "author", "year"} <= set(e) for e in entries.values())
    # The cards of models have the same entries.
    cards = "\n".join(METHODS_OF_CARDS.values())
    eprints = re.compile(r"^@\w+\{(\w+),.*?eprint = \{(.*?)\}", re.M | re.S)
    of_cards = dict(eprints.findall(cards))
    shared = set(of_cards) & set(entries)
    assert len(shared) >= 3
    for key in shared:
        assert entries[key]["eprint"] == of_cards[key]


def test_the_citation_file_cites_this_version_and_the_papers_of_the_readme():
    cited = YAML(typ="safe").load(text_of(ROOT / "CITATION.cff"))
    # The keys that Citation File Format 1.2.0 asks for.
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["version"] == __version__
    assert f"## [{cited['version']}] - {cited['date-released']}" in text_of(
        ROOT / "CHANGELOG.md"
    )
    papers = {
        reference["identifiers"][0]["value"].removeprefix("arXiv:"): reference["title"]
        for reference in cited["references"]
    }
    assert papers == {
        entry["eprint"]: re.sub("[{}]", "", entry["title"])
        for entry in entries_of(text_of(README)).values()
    }
    for reference in cited["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        for author in reference["authors"]:
            assert set(author) == {"given-names", "family-names"}


def test_the_dataset_of_the_guide_has_its_classes(tmp_path, monkeypatch):
    snippets = [s for s in blocks(guide(), "yaml") if "bark" in s]
    assert len(snippets) == 2
    path = tmp_path / "mine.yaml"
    for snippet in snippets:
        path.write_text(snippet.replace("../", f"{ROOT}/hparams/"))
        hparams = load_experiment([str(path)])[0]
        dataset, model = hparams["dataset"], hparams["model"]
        assert dataset.categories == ["bark", "meow"] and dataset.n_samples == 32000
        assert model.n_classes == dataset.n_classes == 2
        assert dataset.prepare.keywords["subset"] is None
        monkeypatch.setattr(
            "speechbrain_lmac.classifiers.frozen.load_classifier", lambda *_: None
        )
