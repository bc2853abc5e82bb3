"""Each ablation differs from its parent by one key, and is in a table."""

import difflib
import re
from pathlib import Path

import pytest
import torch

from speechbrain_lmac.config.inheritance import blocks_of, find_hparams, parents_of
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.recipes.ablations import trained_by
from speechbrain_lmac.reporting.ablation_page import read_ablations
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.old_names import ROWS

ROOT = Path(__file__).resolve().parents[2]
HPARAMS = ROOT / "hparams"
FILES = [
    *sorted((HPARAMS / "ablations").glob("*.yaml")),
    *sorted((ROOT / "tests" / "hparams").glob("*_td_alpha*.yaml")),
]
LISTS = [HPARAMS / f"{name}.yaml" for name in ("toy_ablations", "toy_zs_ablations")]
IN_LISTS = [
    (file.stem, name)
    for file in LISTS
    for name in re.findall(
        r"^    (\S.*):\n        what: ", file.read_text(encoding="utf-8"), re.MULTILINE
    )
]
# Of the resolved file; more would be another experiment.
MOST_CHANGED_LINES = 8


def name_of(ablation):
    """What a test is called: by the file, or by the list and its row."""
    return ablation.stem if isinstance(ablation, Path) else ": ".join(ablation)


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """The rows of each list, by its name; those that stand in it are written."""
    folder = tmp_path_factory.mktemp("lists")
    return {
        file.stem: read_ablations(
            load_experiment([str(file)])[0]["experiments"], folder / file.stem
        )
        for file in LISTS
    }


@pytest.fixture(params=[*FILES, *IN_LISTS], ids=name_of)
def path(request, lists):
    """The YAML file of each ablation."""
    if isinstance(request.param, Path):
        return request.param
    table, name = request.param
    (path,) = [row.path for row in lists[table] if row.name == name]
    return path


def own(path):
    """The keys that a file has itself."""
    return blocks_of(path.read_text(encoding="utf-8"))


def folder_of(path):
    """What stands in `output_folder: !ref results/ablations/.../<seed>`."""
    folder = r"output_folder: !ref results/ablations/([\w.]+)/<seed>\n"
    return re.fullmatch(folder, own(path)["output_folder"])[1]


def resolved(path):
    """The lines of the file that a run writes, without where it writes to."""
    text = resolve(path)
    return [
        line
        for line in text.splitlines()
        if not re.match(
            r"(output_folder|interpreter_checkpoint|\s+(checkpoints_dir|save_file)):",
            line,
        )
    ]


def test_there_are_ablations():
    assert len(IN_LISTS) == len(ROWS) >= 12 and len(FILES) >= 4


def test_an_ablation_says_what_it_is_and_changes_one_key(path):
    text = path.read_text(encoding="utf-8")
    assert re.match(rf"# Ablation of {parents_of(path)[0].stem}: .+\.\n", text)
    changed = set(own(path)) - {"parent", "output_folder"}
    assert len(changed) == 1, changed
    assert folder_of(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_file_of_an_ablation_has_its_command_and_its_folder(path):
    script = "train_lmac_td.py" if "_td_" in path.stem else "train_lmac.py"
    command = f"#   python {script} {path.relative_to(ROOT).as_posix()}\n"
    assert command in path.read_text(encoding="utf-8")
    assert folder_of(path) == path.stem


def test_an_ablation_changes_a_few_lines_of_what_runs(path):
    theirs, ours = resolved(parents_of(path)[0]), resolved(path)
    lines = [
        line
        for line in difflib.ndiff(theirs, ours)
        if line[0] in "+-" and not line[1:].strip().startswith("#")
    ]
    assert 1 <= len(lines) <= MOST_CHANGED_LINES, lines


def test_an_ablation_can_be_built(path, monkeypatch):
    untrained = "speechbrain_lmac.classifiers.frozen.load_classifier"
    monkeypatch.setattr(untrained, lambda model, source: None)
    untrained = "speechbrain_lmac.domains.codec.pretrained_codec"
    monkeypatch.setattr(untrained, lambda codec, source: codec)
    untrained = "speechbrain_lmac.classifiers.clap.miniclap.trained_clap"
    words = ["sound", "chirp", "click", "tone", "burst", "siren", "hum"]
    monkeypatch.setattr(untrained, lambda clap, source: clap.learn_words(words, 0))
    hparams, _, _ = load_experiment([str(path)])
    domain, classifier = hparams["domain"], hparams["classifier"]
    kind = hparams.get("explainer", AmortizedExplainer)
    explainer = kind(domain, classifier, hparams["interpreter"].eval())
    explanation = explainer.explain(torch.randn(2, 8000))
    assert explanation.mask.shape == explanation.encoded.rep.shape


def test_every_ablation_is_in_a_table_and_has_its_own_folder(lists):
    rows = [row for table in lists.values() for row in table]
    paths = [*FILES, *(row.path for row in rows if row.what.startswith("Ablation "))]
    folders = [folder_of(path) for path in paths]
    texts = [path.read_text(encoding="utf-8") for path in HPARAMS.glob("*.yaml")]
    read = re.findall(r"results/ablations/([\w.]+)/", "".join(texts))
    assert sorted(folders) == sorted(set(read))


def test_the_tables_of_the_generated_sounds_compare_with_the_parents(lists):
    finetuned = "FT, lambda_g=4"
    compared = [(row.name, row.parent) for row in lists["toy_ablations"]]
    assert compared[:2] == [("L-MAC", None), ("without mask-out", "L-MAC")]
    assert {p for n, p in compared if not n.startswith("FT")} == {None, "L-MAC"}
    assert (finetuned, "L-MAC") in compared
    others = {p for n, p in compared if n.startswith("FT") and n != finetuned}
    assert others == {finetuned}
    first, *others = lists["toy_zs_ablations"]
    assert first.parent is None and {row.parent for row in others} == {"LMAC-ZS"}


def test_a_file_of_an_earlier_version_is_a_row_with_its_folder(lists):
    paths = {(t, row.name): row.path for t, table in lists.items() for row in table}
    for old, (table, row) in ROWS.items():
        path = paths[table.removesuffix(".yaml"), row]
        assert folder_of(path) == old.removesuffix(".yaml")
        with pytest.raises(InputError, match="which ablations.py trains") as refused:
            find_hparams(f"hparams/ablations/{old}")
        assert f"the row '{row}' of {Path('hparams') / table}" in str(refused.value)


def test_the_recipe_that_trains_ablations_is_named_by_a_key_of_its_own(caplog):
    assert trained_by({"recipe": "ablations"}) == "train_lmac"
    zero_shot = {"recipe": "ablations", "trained_by": "train_lmac_zs"}
    assert trained_by(zero_shot) == "train_lmac_zs"
    assert not caplog.text
    for old in ("train_lmac_zs.py", "train_lmac_zs", "mine.py"):  # of version 0.3
        assert trained_by({"recipe": old}) == old.removesuffix(".py")
        assert f"`recipe: {old}` is now `trained_by" in caplog.text
