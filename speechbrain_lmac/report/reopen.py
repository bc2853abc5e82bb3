"""An evaluation that was made, opened again: its models, blocks and clips."""

from pathlib import Path

from speechbrain_lmac.experiment import load_experiment, open_benchmark


def open_results(results, overrides, n_clips=None):
    """The benchmark of an evaluation, with some of its clips.

    Arguments
    ---------
    results : Path
        The output folder of evaluate.py.
    overrides : sequence of str
        Options of the command line.
    n_clips : int, optional
        Of each condition, evenly spread. Without: all.

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
    hparams |= {"n_clips": n_clips, "curves": None}
    return open_benchmark(hparams, run_opts, manifests, hparams["metrics"])
