"""Numbers, metrics and citations of the documentation are those of the code."""

import re

import pytest
import torch
from ruamel.yaml import YAML

from speechbrain_lmac import __version__
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.evaluation.randomisation import SIMILARITIES
from speechbrain_lmac.interpreters import (
    PublishedInterpreter,
    PublishedMelInterpreter,
    PublishedUpsampler,
)
from speechbrain_lmac.metrics import (
    ALL_METRICS,
    HEARD_METRICS,
    faithfulness,
)
from speechbrain_lmac.metrics.bss_eval import ARTEFACT_SCORES
from speechbrain_lmac.metrics.checks.carriers import NOISES
from speechbrain_lmac.metrics.checks.decoded import (
    P_EXPLANATION,
    P_REST,
    REST_AS_TARGET,
)
from speechbrain_lmac.metrics.checks.events import EVENT_SCORES
from speechbrain_lmac.metrics.checks.headroom import METRICS as HEADROOM_METRICS
from speechbrain_lmac.metrics.checks.imprint import OTHER_CLIPS
from speechbrain_lmac.metrics.checks.judge import (
    ENCODE_METER,
    EVAL_X_EXPLANATION,
    EVAL_X_P,
    EVAL_X_REST,
)
from speechbrain_lmac.metrics.checks.replacement import (
    REPLACEMENT_IN,
    REPLACEMENT_OUT,
)
from speechbrain_lmac.metrics.checks.second_listener import (
    LISTENER_SCORES,
    TARGET_SCORES,
)
from speechbrain_lmac.metrics.checks.sources import (
    ENERGY_KEPT,
    SOURCE_AUC,
    TARGET_SI_SDR,
)
from speechbrain_lmac.metrics.curves import CURVES
from speechbrain_lmac.metrics.separation import IRM_OVERLAP_HEARD, SOURCE_SCORES
from speechbrain_lmac.publishing.model_card import METHODS as METHODS_OF_CARDS
from tests.pages import (
    DEVIATIONS,
    DOCS,
    METHODS,
    METRICS,
    PAGES,
    README,
    RESULTS,
    ROOT,
    blocks,
    guide,
    numbers,
    rows,
    section,
    tables,
    text_of,
)


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
    others = [
        ", ".join(metric.name for metric in HEARD_METRICS),
        *truth,
        IRM_OVERLAP_HEARD.name,
        f"{sdr}, {improvement}",
        ", ".join(score.name for score in ARTEFACT_SCORES),
        ", ".join(score.name for score in CURVES) + " area",
        ", ".join(score.name for score in SIMILARITIES),
    ]
    place = len(metrics) + len(others)
    assert told[len(metrics) : place] == others
    fillers = ("noise", "replacement")
    checks = [
        *(f"imprint {sound}" for sound in (*NOISES, OTHER_CLIPS)),
        *(score.name for score in (REPLACEMENT_IN, REPLACEMENT_OUT)),
        *(f"{name} {filler}" for name in ("AD", "FF") for filler in fillers),
        *(f"{metric.name} of optimum" for metric in HEADROOM_METRICS),
        *(s.name for s in (EVAL_X_EXPLANATION, EVAL_X_REST, EVAL_X_P, ENCODE_METER)),
        *(s.name for s in (ENERGY_KEPT, SOURCE_AUC, TARGET_SI_SDR)),
        *(s.name for s in (P_EXPLANATION, P_REST, REST_AS_TARGET)),
        *(score.name for score in (*LISTENER_SCORES, *TARGET_SCORES, *EVENT_SCORES)),
    ]
    assert sorted(", ".join(told[place:]).split(", ")) == sorted(checks)


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


def test_the_checks_of_the_readme_are_those_of_their_page():
    section = text_of(README).partition("## Results")[2].partition("## Models")[0]
    claims = section.partition("checks.md)")[2]
    shown = re.findall(r"(\d+) %|an AI of (\d+)", claims)
    page = text_of(RESULTS / "checks.md").partition("### noise")[0]

    def measured(column, row):
        head, body = next(table for table in tables(page) if column in table[0])
        cell = next(line for line in body if line[0] == row)[head.index(column)]
        return round(float(cell.split()[0]))

    assert [int("".join(number)) for number in shown] == [
        measured("imprint white ↓", "L-MAC"),
        measured("imprint white ↓", "all ones"),
        measured("listener explanation ↑", "L-MAC"),
        measured("listener rest ↓", "L-MAC"),
        measured("listener input", "L-MAC"),
        measured("listener explanation ↑", "energy"),
        measured("AI ↑", "wrong class"),
        measured("AI ↑", "L-MAC FT, lambda_g=0"),
    ]


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
