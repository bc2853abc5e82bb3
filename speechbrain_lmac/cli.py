"""The command `speechbrain-lmac`.

    speechbrain-lmac explain clip.wav --model esc10-lmac --output_folder out
    speechbrain-lmac explain recordings "more/**/*.ogg" --model user/name \\
        --output_folder out
    ls *.wav | speechbrain-lmac explain - --model esc10-lmac-zs \\
        --prompt "a dog barking" --output_folder out
    speechbrain-lmac models list
    speechbrain-lmac models info esc10-lmac
    speechbrain-lmac train hparams/esc10_lmac.yaml --data_folder data/ESC-50
    speechbrain-lmac evaluate hparams/esc10_table.yaml --data_folder data/ESC-50
    speechbrain-lmac report results/esc10_table/1234
    speechbrain-lmac config hparams/esc10_lmac.yaml --diff hparams/esc50_lmac.yaml
    speechbrain-lmac publish results/esc10_lmac/1234 --repo user/name --dry-run

Exit status: 0, or 2 after an error message. `explain` skips unreadable files, and lists
them at the end.
"""

import argparse
import importlib.util
import runpy
import shlex
import sys
from collections.abc import Iterable
from typing import Any

from speechbrain_lmac import __version__
from speechbrain_lmac.utils.arguments import Parser, overrides_of, set_program
from speechbrain_lmac.utils.console import complain, exit_status, quiet_options, show
from speechbrain_lmac.utils.errors import InputError

RECIPES = "speechbrain_lmac.recipes"
TABLES = ("evaluate", "two_sources", "zero_shot_checks", "ablations", "roar")


def main(argv: list[str] | None = None) -> None:
    """Run a command, and end the process with its exit status."""
    try:
        status = exit_status(_run_command, argv)
    except KeyboardInterrupt:
        complain("interrupted; finished files are complete")
        status = 130
    if status:
        sys.exit(status)


def _run_command(argv: list[str]) -> None:
    args, others = command_parser().parse_known_args(argv)
    args.run(args, others)


class _CommandParser(Parser):
    """The parser of a subcommand; its namespace also has the raw arguments, `argv`.

    With `add_help=False` it parses nothing: a recipe script does.
    """

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Return the namespace and the other options, like `Parser`."""
        argv, others = list(args or ()), list[str]()
        if self.add_help:
            namespace, others = super().parse_known_args(argv, namespace)
        else:
            namespace = argparse.Namespace(**self._defaults)
        namespace.argv, namespace.parser = argv, self
        return namespace, others


def command_parser() -> Parser:
    """Return the parser; `run` in its namespace is the function of the command.

    `run(args, others)` takes the namespace, and the options for keys of a YAML file.
    """
    parser = Parser(
        prog="speechbrain-lmac",
        epilog=__doc__.replace(__doc__.splitlines()[0], "examples:", 1),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"speechbrain-lmac {__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(
        dest="command", metavar="command", required=True, parser_class=_CommandParser
    )

    def add(
        name: str, run: Any, summary: str, **options: Any
    ) -> argparse.ArgumentParser:
        options = {"description": f"{summary}.", **options}
        command = commands.add_parser(name, help=summary, **options)
        command.set_defaults(run=run)
        return command

    _add_explain(add("explain", explain, "Explain audio files with a model"))
    command = add("models", models, "List the shipped models, or print a model card")
    command.add_argument("action", choices=["list", "info"])
    command.add_argument(
        "model", nargs="?", help="for info: a shipped model, a folder or USER/NAME"
    )
    recipe = {
        "usage": "%(prog)s FILE.yaml [--KEY VALUE ...]",
        "description": "Run the script named by the key `recipe` of FILE.yaml. --KEY "
        "VALUE sets a top-level key of the file, or a run option of SpeechBrain, such "
        "as --device cuda.",
    }
    for name, kinds, summary in (
        ("train", ("train_",), "Train the model of an experiment file"),
        ("evaluate", TABLES, "Compute the table of an experiment file"),
    ):
        command = add(name, _run_recipe, summary, **recipe)
        command.set_defaults(kinds=kinds)
        command.add_argument("file", metavar="FILE.yaml")
    command = add("config", config, "Print a resolved experiment file, or differences")
    command.add_argument("file", metavar="FILE.yaml")
    command.add_argument(
        "--diff",
        metavar="OTHER.yaml",
        nargs="?",
        const="",
        help="print differences, FILE -> OTHER (default: its parent -> FILE)",
    )
    summary = "Write an HTML page of an evaluation, with audio and figures"
    add("report", _run_script, summary, add_help=False)
    add("publish", _run_script, "Upload a trained model to the hub", add_help=False)
    return parser


def _add_explain(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `explain`."""
    command.add_argument(
        "files",
        nargs="+",
        help="audio files, folders, patterns in quotes, or - (list on stdin)",
    )
    command.add_argument(
        "--model",
        default="esc10-lmac",
        help="a shipped model, a folder or USER/NAME on the hub (default: %(default)s)",
    )
    command.add_argument("--output_folder", required=True, help="folder of the results")
    command.add_argument("--target", help="class to explain (default: predicted)")
    command.add_argument("--prompt", action="append", help="text prompt (repeatable)")
    command.add_argument("--no_pictures", action="store_true", help="skip figures")
    command.add_argument("--pdf", action="store_true", help="write figures as PDF, too")
    command.add_argument(
        "--no_check", action="store_true", help="skip the column encoding (faster)"
    )
    command.add_argument("--again", action="store_true", help="redo finished files")
    command.add_argument(
        "--device", help="cpu, cuda, cuda:1 (default: the GPU, if any)"
    )
    command.add_argument("--revision", help="commit, tag or branch of a hub model")
    command.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="allow any class in the model's YAML: only for publishers you trust",
    )


def explain(args: argparse.Namespace, others: list[str]) -> None:
    """`explain`: explain audio files with a model."""
    args.parser.check_known(others)
    from speechbrain_lmac.inference import AudioExplainer
    from speechbrain_lmac.inference.explain_files import explain_files
    from speechbrain_lmac.utils.hashing import fingerprint_of

    model = AudioExplainer.from_hparams(
        args.model,
        trust_remote_code=args.trust_remote_code,
        revision=args.revision,
        run_opts=None if args.device is None else {"device": args.device},
    )
    explain_files(
        args.files,
        model.requests(args.target, args.prompt, check=not args.no_check),
        args.output_folder,
        pictures=[] if args.no_pictures else ["png", *["pdf"] * args.pdf],
        settings=fingerprint_of(
            model.explainer, model.window_seconds, args.target, args.prompt
        ),
        again=args.again,
    )


def models(args: argparse.Namespace, others: list[str]) -> None:
    """`models`: list the shipped models, or show a model card."""
    args.parser.check_known(others)
    from speechbrain_lmac.hub.registry import find_model, model_lines, model_text

    if args.action == "list":
        show("\n".join(model_lines()), always=True)
    elif args.model is None:
        raise InputError("models info needs a model, such as esc10-lmac")
    else:
        show(model_text(find_model(args.model)), always=True)


def config(args: argparse.Namespace, others: list[str]) -> None:
    """`config`: print a resolved experiment file, or how two of them differ."""
    from speechbrain_lmac.config.differences import differences
    from speechbrain_lmac.config.inheritance import find_hparams, parents_of
    from speechbrain_lmac.config.loading import extend_import_path
    from speechbrain_lmac.config.resolving import resolve

    path = find_hparams(args.file)
    extend_import_path(path)
    resolved = resolve(path, overrides_of(others))
    if args.diff is None:
        show(resolved.rstrip("\n"), always=True)
        return
    if args.diff:
        other = find_hparams(args.diff)
        extend_import_path(other)
        lines = differences(resolved, resolve(other))
    elif not parents_of(path):
        raise InputError(f"{path} has no parent: give a file after --diff")
    else:
        lines = differences(resolve(parents_of(path)[0]), resolved)
    show("\n".join(lines) or "no difference", always=True)


def _run_recipe(args: argparse.Namespace, others: list[str]) -> None:
    """`train` and `evaluate`: run the script of an experiment file."""
    from speechbrain_lmac.config.inheritance import find_hparams
    from speechbrain_lmac.config.recipe_key import recipe_to_run

    path = find_hparams(args.file)
    recipe = recipe_to_run(path)
    if not recipe.startswith(args.kinds):
        command = "speechbrain-lmac " + ("evaluate" if recipe in TABLES else "train")
        raise InputError(
            f"{path} is for {recipe}.py, not for {args.command}: run "
            f"`{command} {shlex.quote(args.file)}`"
        )
    _run(recipe, args.argv)


def _run_script(args: argparse.Namespace, others: list[str]) -> None:
    """`report` and `publish`: run the script of that name."""
    set_program(f"speechbrain-lmac {args.command}")
    _run(args.command, args.argv)


def _run(recipe: str, argv: list[str]) -> None:
    """Run a recipe as a script, with its own exit status."""
    spec = importlib.util.find_spec(f"{RECIPES}.{recipe}")
    assert spec is not None and spec.origin is not None
    quiet = [] if "--quiet" in argv else quiet_options()  # given before the command
    sys.argv = [spec.origin, *argv, *quiet]
    runpy.run_path(spec.origin, run_name="__main__")


if __name__ == "__main__":
    main()
