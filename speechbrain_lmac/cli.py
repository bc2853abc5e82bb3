"""The command `speechbrain-lmac`: what the recipes do, from anywhere.

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

Exit status: 0, or 2 with one line that says what is wrong and what to do. Of many files
those that can be read are explained, whatever is wrong with the others.
"""

import argparse
import importlib.util
import itertools
import runpy
import sys

from speechbrain_lmac import __version__
from speechbrain_lmac.utils.arguments import Parser, overrides_of
from speechbrain_lmac.utils.console import complain, exit_status, show
from speechbrain_lmac.utils.errors import InputError

RECIPES = "speechbrain_lmac.recipes"


def main(argv: list[str] | None = None) -> None:
    """The command line; ends the process with its exit status."""
    try:
        status = exit_status(_run_command, argv)
    except KeyboardInterrupt:
        complain("interrupted; what is finished is kept")
        status = 130
    if status:
        sys.exit(status)


def _run_command(argv: list[str]) -> None:
    command, arguments = _command(argv)
    COMMANDS[command](arguments)


def _command(argv: list[str]) -> tuple:
    """The name of a command, and its arguments: options before the name are its too."""
    options = list(itertools.takewhile(lambda word: word.startswith("-"), argv))
    parser = Parser(
        prog="speechbrain-lmac",
        epilog=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"speechbrain-lmac {__version__}"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("command", choices=list(COMMANDS))
    rest = argv[len(options) :]
    parser.parse_args([*rest[:1], *options])
    return rest[0], [*rest[1:], *options]


def explain(argv: list[str]) -> None:
    """`explain`: audio files with a model."""
    parser = _parser("explain", "What made the classifier decide?")
    parser.add_argument("files", nargs="+", help="files, folders, patterns, or -")
    parser.add_argument(
        "--model",
        default="esc10-lmac",
        help="of the package, a folder, or USER/NAME on the hub (default: %(default)s)",
    )
    parser.add_argument("--output_folder", required=True, help="where to write")
    parser.add_argument("--target", help="class to explain (default: the predicted)")
    parser.add_argument("--prompt", action="append", help="in words; more than once")
    parser.add_argument("--no_pictures", action="store_true", help="which take time")
    parser.add_argument("--pdf", action="store_true", help="pictures for a paper, too")
    parser.add_argument(
        "--again", action="store_true", help="redo what is already explained"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: what there is)")
    parser.add_argument("--revision", help="of a model on the hub")
    parser.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="build whatever the model's YAML says; for publishers that you trust",
    )
    args = parser.parse_args(argv)
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
        model.requests(args.target, args.prompt),
        args.output_folder,
        pictures=[] if args.no_pictures else ["png", *["pdf"] * args.pdf],
        settings=fingerprint_of(
            model.explainer, model.window_seconds, args.target, args.prompt
        ),
        again=args.again,
    )


def models(argv: list[str]) -> None:
    """`models`: those that come with the package, and what is known of one."""
    parser = _parser("models", "Models of the package.")
    parser.add_argument("action", choices=["list", "info"])
    parser.add_argument("model", nargs="?", help="of info: a name, a folder, USER/NAME")
    args = parser.parse_args(argv)
    from speechbrain_lmac.hub.registry import find_model, model_lines, model_text

    if args.action == "list":
        show("\n".join(model_lines()), always=True)
    elif args.model is None:
        raise InputError("models info needs the name of a model, as esc10-lmac")
    else:
        show(model_text(find_model(args.model)), always=True)


def train(argv: list[str]) -> None:
    """`train`: the training script that a YAML file is for."""
    _run_recipe("train", argv, ("train_",))


def evaluate(argv: list[str]) -> None:
    """`evaluate`: the script that a YAML file of a table is for."""
    tables = ("evaluate", "two_sources", "zero_shot_checks", "ablations", "roar")
    _run_recipe("evaluate", argv, tables)


def config(argv: list[str]) -> None:
    """`config`: an experiment with everything put in, or how two of them differ."""
    parser = _parser("config", "What a YAML file says, with everything put in.")
    parser.add_argument("file", metavar="FILE.yaml")
    parser.add_argument(
        "--diff",
        metavar="OTHER.yaml",
        nargs="?",
        const="",
        help="only what differs from that, here -> there; without a name: from the "
        "parent, there -> here",
    )
    args, others = parser.parse_known_args(argv)
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
        raise InputError(f"{path} has no parent: name what --diff compares it with")
    else:
        lines = differences(resolve(parents_of(path)[0]), resolved)
    show("\n".join(lines) or "no difference", always=True)


def report(argv: list[str]) -> None:
    """`report`: a page of an evaluation, to hear and to see."""
    _run("report", argv)


def publish(argv: list[str]) -> None:
    """`publish`: a trained model, to the hub."""
    _run("publish", argv)


def _parser(command: str, description: str | None) -> Parser:
    return Parser(description, prog=f"speechbrain-lmac {command}")


def _run_recipe(command: str, argv: list[str], kinds: tuple[str, ...]) -> None:
    """Run the script that the key `recipe` of a YAML file names."""
    if {"-h", "--help"} & set(argv):
        print(
            f"usage: speechbrain-lmac {command} FILE.yaml [--key value ...]\n\n"
            "The script is the one that the key `recipe` of the file names; keys of "
            "the file, and\noptions of SpeechBrain such as --device cuda, are set "
            "behind it."
        )
        return
    from speechbrain_lmac.config.inheritance import find_hparams
    from speechbrain_lmac.config.recipe_key import recipe_to_run

    parser = _parser(command, None)
    parser.add_argument("file", metavar="FILE.yaml")
    args, _ = parser.parse_known_args(argv)
    path = find_hparams(args.file)
    recipe = recipe_to_run(path)
    if not recipe.startswith(kinds):
        raise InputError(f"{path} is for {recipe}.py, not for {command}")
    _run(recipe, argv)


def _run(recipe: str, argv: list[str]) -> None:
    """Run a recipe as a script, with its own exit status."""
    script = importlib.util.find_spec(f"{RECIPES}.{recipe}").origin
    sys.argv = [script, *argv]
    runpy.run_path(script, run_name="__main__")


COMMANDS = {
    "explain": explain,
    "evaluate": evaluate,
    "train": train,
    "config": config,
    "report": report,
    "publish": publish,
    "models": models,
}


if __name__ == "__main__":
    main()
