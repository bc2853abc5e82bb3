"""An evaluation that was made, opened again: its models, blocks and clips."""

from pathlib import Path

from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.evaluation.benchmark import open_benchmark
from speechbrain_lmac.metrics import metrics_by_name


def open_results(results: Path | str, overrides: list):
    """The benchmark of an evaluation, with all its clips.

    Arguments
    ---------
    results : Path
        The output folder of evaluate.py.
    overrides : sequence of str
        Options of the command line.

    Returns
    -------
    benchmark : Benchmark
        Without curves.

    Raises
    ------
    InputError
        When a model or the data are not where they were.
    """
    path, manifests = Path(results) / "hyperparams.yaml", Path(results) / "manifest"
    hparams, run_opts, _ = load_experiment([str(path), *overrides])
    hparams["dataset"].prepare_manifests(manifests)
    hparams |= {"n_clips": None, "curves": None}
    metrics = metrics_by_name(hparams["metrics"])
    return open_benchmark(hparams, run_opts, manifests, metrics)
