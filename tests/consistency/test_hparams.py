"""The YAML files: all can be built, no key is without effect, all are listed."""

import csv
import functools
import io
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from speechbrain_lmac.classifiers.clap.miniclap import save_clap
from speechbrain_lmac.config.inheritance import open_hparams
from speechbrain_lmac.config.loading import KNOWN_KEYS, load_experiment
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.domains.codec import save_codec
from speechbrain_lmac.evaluation.blocks import open_blocks
from speechbrain_lmac.evidence import check_mask
from speechbrain_lmac.explainers import (
    AmortizedExplainer,
    AttributionExplainer,
    L2IExplainer,
)
from speechbrain_lmac.explainers.bounds import IdealMask, OtherClipMask
from speechbrain_lmac.explainers.optimised import BestMask
from speechbrain_lmac.hub.weights import save_weights
from speechbrain_lmac.interpreters import L2IInterpreter
from speechbrain_lmac.interpreters.nmf import SpectralAutoencoder, load_dictionary
from speechbrain_lmac.interpreters.trained import hash_of_classifier, save_interpreter
from speechbrain_lmac.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / "hparams", ROOT / "hparams" / "ablations", ROOT / "tests" / "hparams"]
YAMLS = [
    path
    for folder in (FOLDERS[0], FOLDERS[2])
    for path in sorted(folder.glob("*.yaml"))
    if "_td_alpha" not in path.name  # an ablation: test_ablations.py
]
PARTS = sorted((ROOT / "hparams" / "parts").rglob("*.yaml"))
TABLES = sorted((ROOT / "tests" / "recipes").glob("*.csv"))
HEADER = (
    "Task,Dataset,Script_file,Hparam_file,Data_prep_file,Readme_file,Result_url,"
    "HF_repo,test_debug_flags,test_debug_checks,performance"
)
# For copies of an experiment, see docs/guide; tests/integration trains with them.
FOR_COPIES = {
    "parts/classifier/speechbrain.yaml",
    "parts/noise/folder.yaml",
    "parts/noise/generated.yaml",
}
# What makes the published networks small; a part that is not named stays as it is.
SMALL = {
    "classifier/cnn14.yaml": {"emb_dim": 64},
    "interpreter/published.yaml": {
        "hidden_channels": [256, 512, 1024, 64],
        "width": 16,
    },
    "interpreter/published_mel.yaml": {
        "hidden_channels": [256, 512, 1024, 64],
        "width": 16,
    },
    "interpreter/l2i_published.yaml": {
        "psi": {"hidden_channels": [256, 512, 1024, 64], "width": 16}
    },
    "interpreter/masknet_published.yaml": {
        "mask_net": {"width": 16, "intra_layers": 1, "inter_layers": 1},
        "upsampler": {"hidden_channels": [256, 512, 1024, 64], "width": 16},
    },
}
FEW = {  # of the slow baselines
    "SmoothGrad": {"n_samples": 1},
    "IG": {"n_steps": 1},
    "SHAP": {"n_samples": 1},
}
# The compact decoders, where the classifier is CNN14.
SMALL_WITH_CNN14 = {
    "interpreter/conv.yaml": {"hidden_channels": [256, 512, 1024, 64]},
    "interpreter/masknet.yaml": {
        "upsampler": {"hidden_channels": [256, 512, 1024, 64]}
    },
}
# Explained with esc50_table.yaml: the same parts, for another dataset.
SAME_ROWS = {"us8k_table.yaml"}
RATES = {  # else 16 kHz
    "classifier/clap_huggingface.yaml": 48000,
    "classifier/clap_microsoft.yaml": 44100,
}


def name_of(path):
    """What a test is called."""
    parts = path.is_relative_to(ROOT / "hparams" / "parts")
    return path.relative_to(ROOT / "hparams").as_posix() if parts else path.name


def yaml_of(name):
    """The experiment of a name."""
    (path,) = (p for f in FOLDERS for p in f.glob(f"{name}.yaml"))
    return path


@functools.cache
def text_of(path):
    """An experiment with its parents put in."""
    return open_hparams(path).getvalue()


def included(path):
    """The part that stands at each key of an experiment: {"model": "..."}."""
    text = text_of(path)
    return dict(
        re.findall(r"^(\w+): !include:(?:\S*/)?parts/(\S+)", text, re.MULTILINE)
    )


def overrides(path):
    """Options that make the parts small."""
    parts = included(path)
    with_cnn14 = "classifier/cnn14.yaml" in parts.values()
    known = SMALL | SMALL_WITH_CNN14 if with_cnn14 else SMALL
    small = {key: known[part] for key, part in parts.items() if part in known}
    text = text_of(path)
    baselines = re.search(r"^baselines:.*(?:\n    .*)*", text, re.MULTILINE)
    if baselines:
        small["baselines"] = {n: few for n, few in FEW.items() if n in baselines[0]}
    return [f"--{key}={value}" for key, value in small.items()]


def build(part, **arguments):
    """The object that a part makes."""
    arguments = {**SMALL.get(part, {}), **arguments}
    path = ROOT / "hparams" / "parts" / part
    return load_hyperpyyaml(f"part: !include:{path} {arguments}")["part"]


@functools.cache
def dataset(part):
    """The dataset that a part makes; everyone's, for nobody changes it."""
    return build(part, data_folder="none", sample_rate=16000)


def dataset_of(path):
    """The dataset of an experiment."""
    return dataset(included(path)["dataset"])


def part_of(path, key):
    """The object at a key of an experiment: small, untrained."""
    options = dict(option[2:].split("=", 1) for option in overrides(path))
    text = io.StringIO()
    YAML().dump({key: YAML().load(resolve(path, options))[key]}, text)
    return load_hyperpyyaml(text.getvalue())[key]


def trained_by(path, kind):
    """The experiment that trains what another one reads in `results/NAME`."""
    text = text_of(path)
    (name,) = set(re.findall(rf"!ref results/(\w+_{kind})/<seed>/", text))
    return yaml_of(name)


@pytest.fixture
def checkpoints(tmp_path, request):
    """`checkpoints(yaml)`: options that name what is trained before, untrained."""

    def checkpoints(path):
        parts, options = included(path), []
        text = text_of(path)
        if "classifier_source:" in text:
            labels = sorted(dataset_of(path).categories)
            part = (
                parts.get("model") or included(trained_by(path, "classifier"))["model"]
            )
            rate = {"sample_rate": 16000} if "waveform" in part else {}
            model = build(part, n_classes=len(labels), **rate)
            if not (tmp_path / "classifier").exists():  # one for table and trainings
                model.save(labels, tmp_path / "classifier")
            options.append(f"--classifier_source={tmp_path / 'classifier'}")
        if "clap_source: !ref results" in text:
            labels = dataset_of(path).categories
            clap = build(parts["clap"])
            words = " ".join(["this is the sound of", *labels]).replace("_", " ")
            clap.learn_words(sorted(set(words.split())), seed=0)
            if not (tmp_path / "clap").exists():
                save_clap(clap, tmp_path / "clap")
            options.append(f"--clap_source={tmp_path / 'clap'}")
        if "clap_microsoft" in parts.get("clap", ""):
            folder = request.getfixturevalue("microsoft_folder")
            options.append(f"--clap_source={folder}")
            options.append(f"--tokenizer_source={folder / 'tokenizer'}")
        if "clap_huggingface" in parts.get("clap", ""):
            folder = request.getfixturevalue("clap_folder")
            options.append(f"--clap_source={folder}")
        if "dictionary_checkpoint: !ref results" in text:
            domain = build(parts["domain"], sample_rate=16000)
            dictionary = SpectralAutoencoder().dictionary(domain)
            save_weights(dictionary, tmp_path / "dictionary.ckpt")
            options.append(f"--dictionary_checkpoint={tmp_path / 'dictionary.ckpt'}")
        if "codec_source:" in text:
            save_codec(build(parts["codec"], sample_rate=16000), tmp_path / "codec")
            options.append(f"--codec_source={tmp_path / 'codec'}")
        if "decoder" in parts:
            save_weights(part_of(path, "decoder"), tmp_path / "decoder.ckpt")
            options.append(f"--interpreter_checkpoint={tmp_path / 'decoder.ckpt'}")
        return options

    return checkpoints


@pytest.fixture
def trainings(checkpoints, tmp_path, monkeypatch):
    """`trainings(yaml)` leaves what the blocks of a table name, untrained."""
    monkeypatch.chdir(tmp_path)

    def trainings(path):
        blocks = text_of(path).partition("\nblocks:")[2].partition("\nchecks:")[0]
        for name, fold in set(re.findall(r"results/(\S+?)/<seed>(/fold)?", blocks)):
            training = yaml_of(name.rpartition("/")[2])
            argv = [str(training), *checkpoints(training), *overrides(training)]
            hparams, _, (_, resolved) = load_experiment(argv, training=True)
            interpreter, classifier = hparams["interpreter"], hparams["classifier"]
            if isinstance(interpreter, L2IInterpreter):
                checkpoint = hparams["dictionary_checkpoint"]
                load_dictionary(interpreter.dictionary, checkpoint, hparams["domain"])
            folder = tmp_path / "results" / name / ("1234/fold10" if fold else "1234")
            folder.mkdir(parents=True)
            (folder / "hyperparams.yaml").write_text(resolved, encoding="utf-8")
            file = folder / "interpreter.ckpt"
            save_interpreter(interpreter, file, hash_of_classifier(classifier))

    return trainings


def table_rows():
    """The rows of all tables of recipes."""
    for table in TABLES:
        with open(table, newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


# --- Experiments --------------------------------------------------------------------


@pytest.mark.parametrize("path", YAMLS, ids=name_of)
def test_experiment_can_be_built_and_fits_together(path, checkpoints, trainings):
    argv = [str(path), *checkpoints(path), *overrides(path)]
    hparams, _, _ = load_experiment(argv)

    dataset = hparams["dataset"]
    trainings(path)
    blocks = open_blocks(hparams).values() if "blocks" in hparams else ()
    # One where it is slow; tests/integration/test_tables.py has more in a table.
    slow = blocks or "microsoft" in included(path).get("clap", "")
    wav = torch.randn(
        1 if slow else 2, 4000, generator=torch.Generator().manual_seed(0)
    )
    rate = RATES.get(included(path).get("clap"), 16000)
    for block in blocks:
        assert dataset.sample_rate == block.domain.sample_rate == rate
        for name, explainer in block.explainers.items():
            if path.name in SAME_ROWS:
                continue
            if isinstance(explainer, AttributionExplainer):
                explainer.background = lambda: wav  # there is no training clip
            if isinstance(explainer, OtherClipMask):
                explainer.clips = lambda: torch.cat([wav.flip(1), -wav])
            if isinstance(explainer, BestMask):
                explainer.steps = 1
            if isinstance(explainer, IdealMask):
                explainer.explain = partial(explainer.explain_mixture, wav, wav / 2)
            assert_explains(explainer, wav, block.domain, dataset.n_classes, name)
    if "experiments" in hparams:
        return  # each is an experiment of its own: tests/consistency/test_ablations.py
    if blocks:
        for condition in hparams["conditions"].values():
            assert callable(condition.open)
        return
    domain = hparams["domain"]
    assert dataset.sample_rate == domain.sample_rate == rate
    if "model" not in hparams and "codec" in hparams:
        encoded = domain.encode(wav)
        torch.testing.assert_close(domain.decode(encoded), wav, rtol=0, atol=1e-4)
        return
    if "captioned" in hparams:
        clap, captions = hparams["clap"], hparams["captioned"].captions
        assert captions.categories == sorted(dataset.categories)
        text = clap.learn_words(captions.words(), seed=0).eval().text(["the sound"])
        heard = clap.audio(domain.features(domain.encode(wav))).embedding
        assert (heard @ text.T).shape == (2, 1)
        return
    if "autoencoder" in hparams:
        rep = domain.encode(wav).rep
        assert hparams["autoencoder"](rep).shape == rep.shape
        return
    model = hparams["model"] if "model" in hparams else hparams["classifier"]
    classes = hparams.get("esc50", dataset)  # of captions: what is explained afterwards
    assert model.n_classes == len(classes.categories)
    if "classifier" not in hparams:
        features = domain.features(domain.encode(wav))
        output = hparams["model"].eval()(features)
        assert output.logits.shape == (2, classes.n_classes)
        return
    if "judge" in hparams:
        encoded = domain.encode(wav)
        check_mask(hparams["masks"](encoded, [(0,), (1,)]), encoded.rep)
        judged = hparams["judge"].eval()(domain.features(encoded)).logits
        own = hparams["classifier"](domain.features(encoded)).logits
        torch.testing.assert_close(judged, own)
        return
    assert_explains(trained_explainer(hparams), wav, domain, classes.n_classes)


def assert_explains(explainer, wav, domain, n_classes, name="trained"):
    """A mask of the right shape in 0..1, by a classifier of this many classes."""
    explanation = explainer.explain(wav)
    check_mask(explanation.mask, domain.encode(wav).rep)
    assert explanation.logits.shape == (len(wav), n_classes), name


def trained_explainer(hparams):
    """What the interpreter of a training explains with."""
    domain, interpreter = hparams["domain"], hparams["interpreter"]
    kind = hparams.get("explainer", AmortizedExplainer)
    if isinstance(interpreter, L2IInterpreter):
        kind = L2IExplainer
        checkpoint = hparams["dictionary_checkpoint"]
        load_dictionary(interpreter.dictionary, checkpoint, domain)
    return kind(domain, hparams["classifier"], interpreter)


@pytest.mark.parametrize("path", YAMLS, ids=name_of)
def test_header_names_the_command(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    header = "\n".join(line for line in lines if line.startswith("#"))
    (command,) = re.findall(r"^#   (python .*)$", header, re.MULTILINE)
    python, script, hparams, *_ = shlex.split(command)
    assert python == "python"
    assert (ROOT / "recipes" / script).is_file()
    assert hparams == path.relative_to(ROOT).as_posix()
    listed = {(row["Script_file"], row["Hparam_file"]) for row in table_rows()}
    assert (f"recipes/{script}", hparams) in listed


@pytest.mark.parametrize("path", YAMLS, ids=name_of)
def test_scalars_that_every_experiment_has(path):
    text = text_of(path)
    keys = re.findall(r"^(\w+):", text, re.MULTILINE)
    assert keys[:3] == ["recipe", "seed", "__set_seed"]
    of_fold = "/fold<fold>" if "fold" in keys else ""
    assert f"output_folder: !ref results/{path.stem}/<seed>{of_fold}\n" in text
    assert not [key for key in keys if keys.count(key) > 1]


TRAININGS = [path for path in YAMLS if "\nopt_class:" in text_of(path)]


@pytest.mark.parametrize("path", TRAININGS, ids=name_of)
def test_every_training_has_the_workers_at_the_top(path):
    text = text_of(path)
    assert "\nnum_workers: 0\n" in text
    (options,) = re.findall(r"^dataloader_options:\n(?:    .*\n)+", text, re.MULTILINE)
    assert "\n    num_workers: !ref <num_workers>\n" in options


@pytest.mark.parametrize("name", ["toy_classifier", "toy_lmac_zs_stft"])
@pytest.mark.parametrize(
    "option", ["--num_workers", "--dataloader_options={num_workers: 2}"]
)
def test_workers_of_a_training_are_an_option(name, option, checkpoints):
    path = ROOT / "hparams" / f"{name}.yaml"
    given = [option] if "=" in option else [option, "2"]
    hparams, _, _ = load_experiment([str(path), *checkpoints(path), *given])
    assert hparams["dataloader_options"]["num_workers"] == 2


def test_no_key_is_an_option_of_speechbrain():
    from speechbrain.utils.run_opts import RunOptions

    options = RunOptions().as_dict()
    for path in YAMLS:
        text = text_of(path)
        for key in {*re.findall(r"^([a-z]\w*):", text, re.MULTILINE), *KNOWN_KEYS}:
            assert key not in options, f"{key} in {path.name}"


# --- Parts --------------------------------------------------------------------------


def mappings(node, place=()):
    """(place, mapping) of every mapping in a YAML document."""
    if isinstance(node, CommentedMap):
        yield place, node
    items = node.items() if isinstance(node, CommentedMap) else enumerate(node)
    for key, value in items:
        if isinstance(value, (CommentedMap, CommentedSeq)):
            yield from mappings(value, (*place, key))


def parsed(part):
    """A part as ruamel's document, which keeps the tags."""
    return YAML().load(part.read_text(encoding="utf-8"))


def load_part(part, document, folder):
    """Build a part, its placeholders filled with a number."""
    YAML().dump(document, folder / "part.yaml")
    text = (folder / "part.yaml").read_text(encoding="utf-8")
    text = re.sub(r"!PLACEHOLDER.*", "8000", text)
    text = text.replace("!include:", f"!include:{part.parent}/")
    (folder / "part.yaml").write_text(text, encoding="utf-8")
    key = part.parent.name
    experiment = folder / "experiment.yaml"
    text = f"{key}: !include:part.yaml\n__referred: !ref <{key}>\n"
    experiment.write_text(text, encoding="utf-8")
    return load_experiment([str(experiment)])[0][key]


def places():
    """Each mapping of each part, but for those that are free.

    The terms of an objective, the classes with tags of a second listener, the settings
    of wandb.init, which checks them, and a function that SpeechBrain's AddNoise calls.
    """
    free = (("terms",), ("tags",), ("wandb",))
    for part in PARTS:
        for place, _ in mappings(parsed(part)):
            name = f"{name_of(part)} {'.'.join(map(str, place))}"
            if place not in free and place[-1:] != ("noise_funct",):
                yield pytest.param(part, place, id=name)


@pytest.mark.parametrize("part, place", places())
def test_no_mapping_of_a_part_takes_an_unknown_key(part, place, tmp_path):
    document = parsed(part)
    node = document
    for key in place:
        node = node[key]
    node["no_such_key"] = 1
    with pytest.raises(InputError, match="no_such_key"):
        load_part(part, document, tmp_path)


@pytest.mark.parametrize("path", YAMLS, ids=name_of)
def test_every_part_can_be_reached_from_the_command_line(path):
    # Without arguments it needs `{}`: HyperPyYAML overrides mappings only.
    text = path.read_text(encoding="utf-8")
    bare = re.findall(r"^(\w+): !include:\S+\n(?!    )", text, re.MULTILINE)
    assert not bare, f"write `!include:... {{}}` for {bare}"


def test_every_part_is_used_by_an_experiment():
    ablations = (ROOT / "hparams" / "ablations").glob("*.yaml")
    used = {
        f"parts/{part}"
        for path in (*YAMLS, *ablations)
        for part in re.findall(r"!include:\S*parts/(\S+)", text_of(path))
    } | FOR_COPIES
    for part in (*PARTS, *PARTS):  # what a part includes itself, and that again
        if name_of(part) in used:
            text = part.read_text(encoding="utf-8")
            inner = re.findall(r"!include:(\S+)", text)
            used |= {name_of((part.parent / name).resolve()) for name in inner}
    assert {name_of(part) for part in PARTS} == used


def test_published_weights_of_lmac_td(tmp_path):
    part = ROOT / "hparams" / "parts" / "objective" / "lmac_td.yaml"
    objective = load_part(part, parsed(part), tmp_path)
    assert objective.weights == {
        "mask_in": 4.0,
        "mask_out": 0.2,
        "spectrogram_l1": 0.4,  # of a plain mean in the public code, too
        "sum_to_input": 0.0,
    }
    assert objective.terms.keys() == objective.weights.keys()


# Their table of deviations says so.
OTHER_WEIGHTS = ("esc10_lmac_td.yaml",)


def test_published_weights_of_the_objective(tmp_path):
    part = ROOT / "hparams" / "parts" / "objective" / "lmac.yaml"
    weights = load_part(part, parsed(part), tmp_path).weights
    # 6.4: the public code's 0.4 is summed over a batch of 16 (docs/methods.md, L1
    # weight).
    assert weights["mask_in"] == 4.0
    assert weights["mask_out"] == 0.2
    assert weights["mask_l1"] == 6.4
    assert weights["total_variation"] == 0.0
    part = ROOT / "hparams" / "parts" / "objective" / "l2i.yaml"
    assert load_part(part, parsed(part), tmp_path).weights == {
        "reconstruction": 10.0,
        "activations_l1": 0.8,
        "distillation": 1.0,
    }
    for path in YAMLS:
        if "objective" in included(path) and path.name not in OTHER_WEIGHTS:
            assert not re.search(r"\bweights:", text_of(path)), path.name


# --- Rows ---------------------------------------------------------------------------


def test_every_experiment_has_a_row():
    listed = {row["Hparam_file"] for row in table_rows()}
    ablations = {n for n in listed if re.search("hparams/ablations/|_td_alpha", n)}
    assert listed - ablations == {p.relative_to(ROOT).as_posix() for p in YAMLS}


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.name)
def test_rows_name_files_that_exist(table):
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[0] == HEADER
    with open(table, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for key in ("Script_file", "Hparam_file", "Data_prep_file", "Readme_file"):
                assert (ROOT / row[key]).is_file(), f"{row[key]} ({key})"
            assert row["Dataset"] == table.stem
            assert re.fullmatch(r"file_exists=\[[\w./,-]+\]", row["test_debug_checks"])
            dataset = dataset_of(ROOT / row["Hparam_file"])
            prepare = getattr(dataset.prepare, "func", dataset.prepare)
            prep = prepare.__module__.rsplit(".", 1)[-1]
            assert row["Data_prep_file"] == f"data_prep/{prep}.py"
