"""Train experiments that differ by one key, and compare them in one table.

    python ablations.py hparams/toy_ablations.yaml

It trains each of the YAML's `experiments` with train_lmac.py, or with the script of its
key `trained_by` (a finished training is only tested again), explains the clips of its
`conditions` with all of them, and writes to `results/toy_ablations/1234`: `summary.md`
(the table, with a sentence on each row), `summary.csv`, `comparison.csv` and
`per_clip.csv`. `options` of the YAML are passed to every training. An experiment is a
YAML file, or a mapping in the list with a description `what` and its `parent`: its file
is written as `experiments/NAME.yaml`, which can be trained alone, too. The same command
resumes an interrupted run. Scroll to the bottom first.
"""

import logging
import subprocess
import sys
from pathlib import Path

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.evaluation.blocks import open_benchmark
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.interpreters import TrainedInterpreter
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.metrics.separation import scores_of
from speechbrain_lmac.reporting.ablation_page import ablation_page, read_ablations
from speechbrain_lmac.reporting.markdown import provenance
from speechbrain_lmac.reporting.scope import data_lines
from speechbrain_lmac.training.experiment import start_experiment
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import quiet_options, show
from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.errors import InputError

logger = logging.getLogger(__name__)

NEEDED = ["dataset", "experiments", "options", "conditions", "metrics", "split"]
RECIPES = Path(__file__).resolve().parent


def run_ablations(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="ablations")
    require_keys(hparams, NEEDED, source[0])
    hparams["metrics"] = metrics_by_name(hparams["metrics"])
    manifests = start_experiment(hparams, run_opts, source)
    folder = Path(hparams["output_folder"])
    ablations = read_ablations(hparams["experiments"], folder / "experiments")
    dataset, device = hparams["dataset"], check_device(run_opts.device)
    recipe = RECIPES / f"{trained_by(hparams)}.py"
    if not recipe.is_file():
        raise InputError(f"{source[0]}: trained_by: unknown recipe {recipe.stem}")
    blocks = {}
    for ablation in ablations:
        show(f"{ablation.name}: {ablation.what}")
        options = [f"--data_folder={dataset.data_folder}", *hparams["options"]]
        block, classifier = trained_block(recipe, ablation, options, device)
        blocks[ablation.name] = block
    trained = {**hparams, "blocks": blocks, "classifier": classifier}
    benchmark = open_benchmark(trained, run_opts, manifests, hparams["metrics"])
    per_clip = benchmark.score(folder / "rows", not run_opts.noprogressbar)
    header = provenance(
        argv,
        *data_lines(dataset.data_folder, manifests, hparams["split"], per_clip["clip"]),
        seed=hparams["seed"],
    )
    pages = []
    for name, condition in benchmark.conditions.items():
        scores = list(hparams["metrics"])
        if condition.truth.stems is not None:
            scores += scores_of(block.domain)
        rows = per_clip[per_clip["condition"] == name]
        about = [*header, benchmark.description(name)]
        seed = hparams["seed"]
        pages.append(ablation_page(ablations, rows, scores, name, about, seed))
    page, *others = pages
    for other in others:
        page.append(other)
    page.add_rows("per_clip", per_clip)
    page.write(folder / "summary.md")
    show((folder / "summary.md").read_text(encoding="utf-8"))


def trained_by(hparams):
    """Return the name of the recipe that trains the experiments.

    Until version 0.3 the key was `recipe`, which now names the file's own script.

    Example
    -------
    >>> trained_by({}), trained_by({"trained_by": "train_lmac_td"})
    ('train_lmac', 'train_lmac_td')
    """
    old = str(hparams.get("recipe", ""))
    if "trained_by" not in hparams and (old.endswith(".py") or old[:6] == "train_"):
        name = old.removesuffix(".py")
        logger.warning("the key `recipe: %s` is now `trained_by: %s`", old, name)
        return name
    return str(hparams.get("trained_by", "train_lmac")).removesuffix(".py")


def trained_block(recipe, ablation, options, device):
    """Train an experiment by a recipe; return its block and its classifier."""
    command = [sys.executable, str(recipe), str(ablation.path), *options]
    done = subprocess.run(
        [*command, "--noprogressbar", *quiet_options()], stderr=subprocess.PIPE
    )
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip()
        raise InputError(
            f"{ablation.name}: the training of {ablation.path} failed\n{message}"
        )
    hparams, _, _ = load_experiment([str(ablation.path), *options], training=True)
    interpreter = TrainedInterpreter(
        hparams["interpreter"], hparams["interpreter_checkpoint"]
    )
    domain, classifier = hparams["domain"].to(device), hparams["classifier"].to(device)
    kind = hparams.get("explainer", AmortizedExplainer)
    explainer = kind(domain, classifier, interpreter.to(device))
    block = Block(
        domain=domain, classifier=classifier, explainers={ablation.name: explainer}
    )
    return block, classifier


if __name__ == "__main__":
    main(run_ablations)
