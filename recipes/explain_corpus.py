"""Explain and score a corpus of any size with a trained interpreter.

    python explain_corpus.py hparams/esc10_lmac.yaml --list paths.txt \
        --output_folder out
    torchrun --nproc_per_node=2 explain_corpus.py hparams/esc10_lmac.yaml \
        --shards 'corpus-{000000..000099}.tar' --output_folder out

It reads a list of files, one per line, or the shards of a WebDataset, as a stream:
memory does not grow with their number. Every clip is padded or cut to the length of the
training's (`clip_seconds`). `out/corpus.csv` has a row for each clip in the order of
the corpus, with the classifier's outputs for the clip, its explanation and the rest,
and the scores; an unreadable clip has a row with the error. The same command resumes an
interrupted run after the last finished part, with any number of processes. Scroll to
the bottom first.
"""

from pathlib import Path

from speechbrain.utils.distributed import ddp_init_group

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.config.recipe_key import check_trains
from speechbrain_lmac.data.streams import ListedClips, ShardedClips
from speechbrain_lmac.evaluation.corpus import explain_corpus
from speechbrain_lmac.inference.loading import class_names, open_explainer
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import progress_bar, show
from speechbrain_lmac.utils.distributed import rank_and_size
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import check_folder


def run(argv):
    """Run the command above."""
    parser = Parser(__doc__)
    parser.add_argument(
        "param_file", metavar="FILE.yaml", help="YAML file of the training"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--list", help="a text file with one path per line")
    source.add_argument("--shards", help="tar archives, such as 'name-{000..099}.tar'")
    parser.add_argument("--output_folder", required=True, help="folder of the results")
    parser.add_argument("--part_size", type=int, default=1000, help="rows per part")
    parser.add_argument("--clips_at_once", type=int, default=32, help="batch size")
    parser.add_argument(
        "--workers", type=int, choices=[0, 1], default=1, help="loaders"
    )
    parser.add_argument("--sounds", action="store_true", help="also write the audio")
    args, overrides = parser.parse_known_args(argv)
    check_folder(args.output_folder)
    check_trains(args.param_file, "explain_corpus.py")
    hparams, run_opts, (path, _) = load_experiment([args.param_file, *overrides])
    require_keys(hparams, ["dataset"], path)
    ddp_init_group(run_opts)  # does nothing unless torchrun started us
    explainer, device = open_explainer(hparams, run_opts, path)
    corpus = (
        ShardedClips(args.shards)
        if args.shards
        else ListedClips(args.list, args.part_size)
    )
    first = rank_and_size()[0] == 0
    with progress_bar(unit="clip", disable=run_opts.noprogressbar or not first) as bar:
        counts = explain_corpus(
            explainer,
            corpus,
            class_names(explainer.classifier),
            hparams["dataset"].n_samples,
            args.output_folder,
            batch_size=args.clips_at_once,
            num_workers=args.workers,
            sounds=args.sounds,
            device=device,
            progress=bar.update,
        )
    if counts is None:
        return
    table = Path(args.output_folder) / "corpus.csv"
    show(f"{counts['clips'] - counts['failed']} clips explained, in {table}")
    if counts["failed"]:
        kinds = (f"{n} x {kind}" for kind, n in counts["errors"].most_common(10))
        raise InputError(
            f"{counts['failed']} of {counts['clips']} clips could not be explained; "
            f"errors, as in their rows of {table}:\n  " + "\n  ".join(kinds)
        )


if __name__ == "__main__":
    main(run)
