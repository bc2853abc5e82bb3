"""Create a listening test of explanations, or score its answers.

    python listening_test.py create results/esc10_table_ood/1234 \
        --methods "L-MAC" "GradCAM++" "random blocks" --clips 9 --output_folder test

It writes `test/page`: `index.html`, a blind and randomised test that runs from disk
(the two questions of the papers' study, sliders from 1 to 100, a training page, an
attention check; each participant gets a JSON file to send back), and the stimuli as a
table for other tools (`stimuli.csv`). All stimuli of a clip are equally loud (ITU-R
BS.1770). `test/key.csv` has the method of each stimulus: keep it from the participants.

    python listening_test.py score test answers/*.json

It excludes participants who did not finish or failed the attention check, and writes
`mos.csv`, `pairs.csv`, `ratings.csv`, `mos.png` and `summary.md` to `test/scores`.
"""

import json
from pathlib import Path

from speechbrain_lmac.plots.charts import write_opinions
from speechbrain_lmac.reporting.html.reopen import open_results
from speechbrain_lmac.reporting.listening_test.design import (
    TEST_FILE,
    choose_trials,
    write_test,
)
from speechbrain_lmac.reporting.listening_test.opinions_page import opinion_page
from speechbrain_lmac.reporting.listening_test.scoring import (
    opinion_scores,
    paired_tests,
    read_answers,
    read_test,
)
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.csv_files import write_csv
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import atomic_folder
from speechbrain_lmac.utils.system import command_line


def listening_test(argv):
    """Run the commands above."""
    parser = Parser(__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    making = actions.add_parser("create", help="write the pages of a test")
    making.add_argument("results", help="the output folder of evaluate.py")
    making.add_argument(
        "--methods", nargs="+", required=True, help="names in its table"
    )
    making.add_argument(
        "--clips", type=int, default=9, help="number of clips (default: %(default)s)"
    )
    making.add_argument("--seed", type=int, default=1234, help="seed of the draws")
    making.add_argument("--condition", help="default: the first in the table")
    making.add_argument("--block", help="default: the first listenable block")
    making.add_argument("--output_folder", required=True, help="folder of the test")
    making.add_argument(
        "--data_folder", help="where the dataset is now (default: as recorded)"
    )
    making.add_argument(
        "--title", default="What did the computer hear?", help="title of the pages"
    )
    scoring = actions.add_parser("score", help="score the answers")
    scoring.add_argument("test", help="the output folder of create")
    scoring.add_argument("answers", nargs="+", help="JSON files of the participants")
    args, overrides = parser.parse_known_args(argv)
    if args.action == "create":
        create(args, overrides)
    else:
        score(args, argv)


def create(args, overrides):
    """Write the pages of a test."""
    if args.clips < 1:
        raise InputError(f"--clips must be at least 1, got {args.clips}")
    if len(set(args.methods)) != len(args.methods) or len(args.methods) < 2:
        raise InputError("--methods needs at least two different methods")
    folder = Path(args.output_folder)
    if folder.exists() and not (folder / TEST_FILE).is_file():
        raise InputError(f"{folder} is not a test: use another --output_folder")
    if args.data_folder is not None:
        overrides.append(f"--dataset={{data_folder: {json.dumps(args.data_folder)}}}")
    benchmark = open_results(args.results, overrides)
    condition = args.condition or next(iter(benchmark.conditions))
    benchmark.check_condition(condition, "the listening test")
    block = chosen_block(benchmark, args.block)
    trials = choose_trials(
        block, benchmark, condition, args.methods, args.clips, args.seed
    )
    with atomic_folder(folder) as draft:
        write_test(trials, draft, block.domain.sample_rate, args.seed, args.title)
    show(
        f"for the participants: {folder / 'page'} (index.html opens from disk)\n"
        f"not for the participants: {folder / 'key.csv'}, {folder / TEST_FILE}"
    )


def chosen_block(benchmark, name):
    """Return the listenable block of a name, or the first one."""
    blocks = {n: b for n, b in benchmark.blocks.items() if b.domain.listenable}
    if name is None and blocks:
        return next(iter(blocks.values()))
    if name not in blocks:
        raise InputError(
            f"--block: unknown listenable block {name!r}; known: "
            f"{', '.join(blocks) or 'none'}"
        )
    return blocks[name]


def score(args, argv):
    """Score the answers."""
    key, record = read_test(args.test)
    answers = read_answers(args.answers, key, record)
    scores, pairs = opinion_scores(answers), paired_tests(answers)
    folder = Path(args.test) / "scores"
    write_csv(answers.ratings, folder / "ratings.csv")
    write_csv(scores, folder / "mos.csv")
    write_csv(pairs, folder / "pairs.csv")
    write_opinions(scores, folder / "mos.png")
    page = opinion_page(record, answers, scores, pairs, command_line(argv))
    page.write(folder / "summary.md")
    show(page.text().removesuffix("\n"))


if __name__ == "__main__":
    main(listening_test)
