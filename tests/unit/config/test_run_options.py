"""The command line: values arrive as they were written, mistakes are one line."""

import pytest

from speechbrain_lmac.config.run_options import read_command
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.errors import InputError

VALUES = "x #1|2024|[x]|a: b|true|x=y|with space|~/data|-x|null|1e-4||{a: 1}|!ref <x>"


@pytest.mark.parametrize("value", VALUES.split("|"))
@pytest.mark.parametrize("joined", [False, True])
def test_a_value_arrives_as_it_was_written(value, joined):
    words = [f"--key={value}"] if joined else ["--key", value]
    name, run_opts, overrides = read_command([*words, "--debug", "a.yaml"])
    assert (name, run_opts.debug, overrides) == ("a.yaml", True, {"key": value})


def test_run_options_are_speechbrain_s():
    words = ["a.yaml", "--device", "cuda:1", "--max_grad_norm=-1", "--lr", "-0.1"]
    words += ["--optimizer_step_limit", "3", "--jit_module_keys", "x", "y"]
    _, run_opts, overrides = read_command(words)
    assert (run_opts.device, run_opts.max_grad_norm) == ("cuda:1", -1.0)
    assert (run_opts.optimizer_step_limit, run_opts.jit_module_keys) == (3, ["x", "y"])
    assert {"device", "max_grad_norm", "jit_module_keys"} <= run_opts.overridden_args
    assert overrides == {"lr": "-0.1"}
    assert run_opts.precision == "fp32" and "precision" not in run_opts.overridden_args


@pytest.mark.parametrize(
    "words, message",
    [
        ("", "required: FILE.yaml"),
        ("a.yaml stray", "unexpected argument 'stray'"),
        ("a.yaml --lr", "--lr needs"),
        ("a.yaml --lr --debug", "--lr needs"),
        ("a.yaml --device", "--device needs"),
        ("a.yaml --noprogresbar", "did you mean --noprogressbar"),
        ("a.yaml --debug=1", "--debug takes no value, got '1'"),
        ("a.yaml --lr 1 --lr=2", "--lr is given twice: '1' and '2'"),
        ("a.yaml --device=cpu --device cuda", "--device is given twice"),
        ("a.yaml --precision fp8", "invalid choice: 'fp8'"),
        ("a.yaml --distributed_backend x", "invalid choice: 'x'"),
        ("a.yaml --grad_accumulation_factor x", "invalid int value: 'x'"),
        ("a.yaml --grad_accumulation_factor 0", "whole number of at least 1, got 0"),
        ("a.yaml --max_grad_norm nan", "max_grad_norm must be a finite number"),
        ("a.yaml -x", "unexpected argument '-x'"),
    ],
)
def test_what_is_refused(words, message):
    with pytest.raises(InputError, match=message) as refused:
        read_command(words.split())
    assert "\n" not in str(refused.value)


def test_the_same_value_twice_is_no_mistake():
    words = ["a.yaml", "--lr=1", "--lr", "1", "--debug", "--debug"]
    assert read_command(words)[2] == {"lr": "1"}


@pytest.fixture
def parser():
    """That of a command with arguments, options and a list."""
    parser = Parser("Explain.\n\nMore.", prog="explain.py")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--output_folder", required=True)
    parser.add_argument("--prompt", action="append")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--pdf", action="store_true")
    return parser


def test_arguments_and_options_may_be_mixed(parser):
    words = "a --output_folder o b --prompt x --prompt y --lr 1 --methods m n --pdf -"
    args, others = parser.parse_known_args([*words.split(), "--debug", "c"])
    assert (args.files, args.output_folder) == (["a", "b", "-", "c"], "o")
    assert (args.prompt, args.methods, args.pdf) == (["x", "y"], ["m", "n"], True)
    assert others == ["--lr=1", "--debug"]
    assert not hasattr(args, "quiet")


@pytest.mark.parametrize(
    "words, message",
    [
        ("a", "--output_folder"),
        ("a --output_folder", "--output_folder needs"),
        ("a --output_folder x --output_folder y", "given twice: 'x' and 'y'"),
        ("a --output_folder o --out p", "unknown option --out"),
        ("a --output_folder o --promt x", "--promt; did you mean --prompt?"),
    ],
)
def test_a_command_s_own_options(parser, words, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")) as refused:
        parser.parse_args(words.split())
    assert "explain.py --help" in str(refused.value)
    assert "\n" not in str(refused.value)
