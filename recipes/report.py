"""Write an HTML page of an evaluation: tables, audio and figures.

    python report.py results/toy_evaluate/1234

It reads the results of evaluate.py, explains some clips of each condition again with
each method of its table, and writes `results/toy_evaluate/1234/report/index.html` with
the audio and figures beside it: input, explanation and rest with a playhead over the
spectrogram and the mask, each clip's scores, sortable tables, curves, sanity checks,
confusion matrices. It opens from disk. `--n_clips` (default 12) clips of each condition
are shown, class by class; 0: all. `--single_file` embeds everything in the page.
`--figures` adds a PDF figure of each clip. `--data_folder` is the current folder of the
data, if they were moved.
"""

import json
import logging
from pathlib import Path

from speechbrain_lmac.reporting.html.clips import render_clips, spread
from speechbrain_lmac.reporting.html.page import (
    add_clips,
    copy_pictures,
    read_evaluation,
    write_page,
)
from speechbrain_lmac.reporting.html.reopen import open_results
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import atomic_folder

logger = logging.getLogger(__name__)


def report(argv):
    """Run the command above."""
    parser = Parser(__doc__)
    parser.add_argument("results", help="the output folder of evaluate.py")
    parser.add_argument(
        "--n_clips", type=int, default=12, help="clips per condition, 0: all"
    )
    parser.add_argument(
        "--single_file", action="store_true", help="embed everything in the page"
    )
    parser.add_argument(
        "--figures", action="store_true", help="add a PDF figure of each clip"
    )
    parser.add_argument(
        "--report_folder", help="the folder to write (default: RESULTS/report)"
    )
    parser.add_argument(
        "--data_folder", help="where the dataset is now (default: as recorded)"
    )
    args, overrides = parser.parse_known_args(argv)
    if args.n_clips < 0:
        raise InputError(f"--n_clips must be 0 (all) or more, got {args.n_clips}")
    results = Path(args.results)
    page, per_clip = read_evaluation(results)
    folder = Path(args.report_folder or results / "report")
    if folder.exists() and not (folder / "index.html").is_file():
        raise InputError(f"{folder} is not a report: use another --report_folder")
    if args.data_folder is not None:
        overrides.append(f"--dataset={{data_folder: {json.dumps(args.data_folder)}}}")
    with atomic_folder(folder) as draft:
        if not per_clip.empty:
            try:
                benchmark = open_results(results, overrides)
            except InputError as error:  # the tables need no clips
                page.notes.append(f"No clips: {error}")
                logger.warning("no clips in the report: %s", error)
            else:
                chosen = spread(per_clip, args.n_clips or None)
                clips = render_clips(benchmark, draft, chosen, args.figures)
                add_clips(page, clips, per_clip)
        copy_pictures(page, results, draft)
        write_page(page, draft, args.single_file)
        if args.single_file:
            remove_all_but_the_page(draft)
    show(f"open in a browser: {folder / 'index.html'}")


def remove_all_but_the_page(folder):
    """Remove the files that are embedded in the page."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        elif path.name != "index.html":
            path.unlink()


if __name__ == "__main__":
    main(report)
