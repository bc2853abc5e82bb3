"""The shipped models: build them from trainings, check their scores.

    python models.py make --data_folder /path/to/ESC-50
    python models.py check --data_folder /path/to/ESC-50
    python models.py cards --data_folder /path/to/ESC-50

`make` needs the finished trainings of `MODELS` in `results/` (`make models` trains
them) and writes `speechbrain_lmac/pretrained`. `check` scores the shipped models again
on the clean test clips and ends with status 2 if a score differs from the card; with
`--output docs/results/models.md` it writes a page of the scores and times. `cards` does
the same and then adds the scores that a card does not have yet. Names of models limit a
command to them.
"""

import functools
import json
from dataclasses import replace
from tempfile import TemporaryDirectory

from speechbrain_lmac import inference
from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.data_prep.esc50_prepare import prepare_esc50
from speechbrain_lmac.hub.registry import (
    SHIPPED,
    read_record,
    share_weights,
    shipped_models,
    size_of,
    write_record,
)
from speechbrain_lmac.hub.weights import SAFETENSORS
from speechbrain_lmac.metrics import ALL_METRICS, HEARD_METRICS
from speechbrain_lmac.publishing.card_scores import differences, measure, time_model
from speechbrain_lmac.publishing.model_card import metrics_table, model_card
from speechbrain_lmac.publishing.model_folder import open_trained
from speechbrain_lmac.publishing.publish import GENERATED, make_model
from speechbrain_lmac.training.training_record import read_training
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.system import command_line, versions

MODELS = {
    "esc10-classifier": "results/esc10_classifier_compact/1234",
    "esc10-lmac": "results/esc10_lmac/1234",
    "esc10-lmac-finetuned": "results/esc10_lmac_finetune/1234",
    "esc10-lmac-td": "results/esc10_lmac_td/1234",
    "esc10-lmac-zs": "results/esc10_lmac_zs_sources/1234",
}
# Earlier trainings whose weights are in the model.
BEFORE = {
    "esc10-lmac": ["esc10_classifier_compact"],
    "esc10-lmac-finetuned": ["esc10_classifier_compact", "esc10_lmac"],
    "esc10-lmac-td": ["esc10_classifier_compact", "esc10_codec"],
    "esc10-lmac-zs": ["esc10_classifier_compact", "esc10_clap"],
}
METRICS = {metric.name for metric in (*ALL_METRICS, *HEARD_METRICS)}
LARGEST = 4e6  # bytes of a model
LARGEST_ALL = 20e6
TEST_FOLDS = {"train_folds": [1, 2, 3], "valid_folds": [4], "test_folds": [5]}


def models(argv):
    """Run the commands above."""
    parser = Parser(__doc__)
    parser.add_argument("action", choices=["make", "check", "cards"])
    parser.add_argument("names", nargs="*", help="models (default: all)")
    parser.add_argument("--data_folder", required=True, help="ESC-50 or ESC-10")
    parser.add_argument("--output", help="for check: Markdown page to write")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.names) - set(MODELS))
    if unknown:
        raise InputError(f"unknown model {unknown[0]}; known: {', '.join(MODELS)}")
    names = args.names or list(MODELS)
    if args.action == "make":
        make(names, args.data_folder)
    else:
        measured = check(names, args.data_folder)
        if args.action == "cards":
            write_cards(measured)
        if args.output is not None:
            lines = page(measured, command_line(argv))
            write_text("\n".join(lines) + "\n", args.output)


def make(names, data_folder):
    """Write the models into the package."""
    override = f"--dataset={{data_folder: {json.dumps(str(data_folder))}}}"
    for name in names:
        trained = open_trained(MODELS[name], [override])
        before = [read_training(f"results/{f}/1234") for f in BEFORE.get(name, [])]
        make_model(trained, SHIPPED / name, name, before=before)
        show(
            "\n".join([f"{name}:", *metrics_table(read_record(SHIPPED / name).metrics)])
        )
        for path in (SHIPPED / name).glob(f"*{SAFETENSORS}"):
            path.unlink()  # a second copy of the weights
    share_weights()
    sizes = {name: size_of(name) for name in shipped_models()}
    too_large = [name for name, size in sizes.items() if size > LARGEST]
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    if too_large or sum(path.stat().st_size for path in files) > LARGEST_ALL:
        raise InputError(f"the models are too large for the package: {sizes}")


def check(names, data_folder):
    """Score the models again; raise if scores differ from their cards."""
    with TemporaryDirectory() as manifests:
        return _check(names, data_folder, manifests)


def _check(names, data_folder, manifests):
    """Return the measured scores, with manifests of the recordings in a folder."""
    wrong, found = [], {}
    for name in names:
        record = read_record(SHIPPED / name)
        dataset = ClipDataset(
            functools.partial(prepare_esc50, **TEST_FOLDS, subset="esc10"),
            data_folder,
            record.classes,
            len(record.classes),
        )
        model = getattr(inference, record.interface).from_hparams(name)
        metrics = [metric for metric in record.metrics if metric in METRICS]
        measured = measure(model, dataset, metrics, manifest_folder=manifests)
        show("\n".join([f"{name}:", *metrics_table(measured)]))
        found[name] = measured
        wrong += [f"{name}: {line}" for line in differences(record.metrics, measured)]
    if wrong:
        raise InputError("scores differ from the cards:\n  " + "\n  ".join(wrong))
    show("All scores equal those of the cards.")
    return found


def write_cards(measured):
    """Add the scores that are not yet in the records and cards of their models."""
    for name, metrics in measured.items():
        record = read_record(SHIPPED / name)
        added = {key: metrics[key] for key in metrics if key not in record.metrics}
        record = replace(record, metrics={**record.metrics, **added})
        write_record(record, SHIPPED / name)
        card = model_card(record, name, GENERATED)
        write_text(card, SHIPPED / name / "README.md")


def page(measured, command):
    """Return the lines of a page on the models: scores and times."""
    lines = [
        "# The models of the package",
        "",
        f"- command: `{command}`",
        "- data: the clean test clips of ESC-10, fold 5; example clips for the times",
        f"- versions: {versions()}",
        "",
        "Means over clips, measured again of the shipped weights; the cards have the "
        "95 % intervals.",
        "",
    ]
    scores = list(dict.fromkeys(n for found in measured.values() for n in found))
    lines += [
        "| model | MB | " + " | ".join(scores) + " |",
        "|---" * (len(scores) + 2) + "|",
    ]
    for name, found in measured.items():
        size = size_of(name) / 1e6
        cells = [f"{found[s]['mean']:.4g}" if s in found else "" for s in scores]
        lines.append(f"| {name} | {size:.1f} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Time for a clip of 5 s: *cold*, a new process that imports, loads and "
        "explains; *warm*, from file to waveform with a loaded model; *batch*, "
        "`explain_batch` of 16 clips.",
        "",
        "| model | cold, s | warm, s | batch, clips/s |",
        "|---|---|---|---|",
    ]
    for name in measured:
        if read_record(SHIPPED / name).interface == "AudioExplainer":
            times = time_model(name)
            lines.append(
                f"| {name} | {times['cold']:.2f} | {times['warm']:.3f} | "
                f"{times['clips_per_second']:.1f} |"
            )
    return lines


if __name__ == "__main__":
    main(models)
