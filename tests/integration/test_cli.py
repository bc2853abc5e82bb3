"""The command speechbrain-lmac, as a user types it."""

import io
import re
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from speechbrain_lmac.cli import main
from speechbrain_lmac.config.recipe_key import COMMAND, recipe_of, recipe_to_run
from speechbrain_lmac.hub.registry import shipped_models

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = "explain models train evaluate config report publish".split()
FAST = ("--no_pictures", "--device=cpu")


@pytest.fixture
def cli(capsys):
    """`cli(argument, ...)`: exit status, what was printed, what was said of errors."""

    def cli(*arguments):
        try:
            main([str(argument) for argument in arguments])
            status = 0
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return cli


@pytest.fixture
def sounds(toy, tmp_path):
    """A folder with two sounds, one in a folder within, and what is no sound."""
    clips = sorted((toy / "audio").glob("5-*.wav"))
    (tmp_path / "sounds" / "more").mkdir(parents=True)
    for clip, name in zip(clips, ("a.wav", "more/b.WAV"), strict=False):
        (tmp_path / "sounds" / name).write_bytes(clip.read_bytes())
    (tmp_path / "sounds" / "notes.txt").write_text("no sound")
    return tmp_path / "sounds"


def test_the_literal_command_explains_a_file(run_literally, sounds, tmp_path):
    command = [sys.executable, "-m", "speechbrain_lmac.cli", "explain"]
    out = tmp_path / "out"
    options = [sounds / "a.wav", "--output_folder", out]
    done = run_literally([*command, *options], tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {
        *("a_explanation.wav", "a_input.wav", "a_rest.wav", "a.png"),
        *("explanations.csv", ".explained.jsonl"),
    }
    assert str(out) in done.stdout


def test_folders_patterns_and_lists_are_files(cli, sounds, tmp_path, monkeypatch):
    lines = f"{sounds / 'a.wav'}\n\n{sounds}\n"
    wanted = {
        str(sounds): ["a", "b"],
        str(sounds / "**" / "*.[wW]*"): ["a", "b"],
        str(sounds / "*.wav"): ["a"],
        "-": ["a", "b"],  # each file once
    }
    for number, (argument, names) in enumerate(wanted.items()):
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        out = tmp_path / str(number)
        status, _, err = cli("explain", argument, f"--output_folder={out}", *FAST)
        assert status == 0, err
        table = pd.read_csv(out / "explanations.csv")
        assert list(table["name"]) == names


def test_bad_files_among_good_ones_are_told_at_the_end(cli, sounds, tmp_path):
    (sounds / "broken.wav").write_bytes(b"RIFF no sound")
    (sounds / "empty.flac").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    bad = [tmp_path / "missing.wav", tmp_path / "nothing", str(sounds / "*.mp3")]
    out = tmp_path / "out"
    options = ["--no_check", *FAST]
    status, _, err = cli("explain", *bad, sounds, f"--output_folder={out}", *options)
    assert status == 2
    said = err[err.index("error: ") :]
    assert said.startswith("error: 5 of 7 files could not be explained:")
    for name in ("missing.wav", "nothing: no audio", "*.mp3: no file", "broken.wav"):
        assert name in said
    table = pd.read_csv(out / "explanations.csv")
    assert list(table["name"]) == ["a", "b"] and "encoding" not in table
    assert (out / "b_explanation.wav").is_file()


def test_what_is_finished_is_kept_when_it_is_interrupted(
    cli, sounds, tmp_path, monkeypatch
):
    from speechbrain_lmac.inference import explain_files as explained_files

    open_sound = explained_files.open_sound

    def interrupted(path):
        if "b.WAV" in str(path):
            raise KeyboardInterrupt
        return open_sound(path)

    monkeypatch.setattr(explained_files, "open_sound", interrupted)
    out = tmp_path / "out"
    status, _, err = cli("explain", sounds, f"--output_folder={out}", *FAST)
    assert status == 130 and "interrupted" in err
    assert list(pd.read_csv(out / "explanations.csv")["name"]) == ["a"]


def test_prompts_for_a_zero_shot_model(cli, sounds, tmp_path):
    out = tmp_path / "out"
    status, printed, err = cli(
        *("explain", sounds / "a.wav", "--model=esc10-lmac-zs", *FAST),
        *("--prompt=a dog barking", "--prompt=rain", f"--output_folder={out}"),
    )
    assert status == 0, err
    table = pd.read_csv(out / "explanations.csv")
    assert list(table["prompt"]) == ["a dog barking", "rain"]
    assert (out / "a_a-dog-barking_explanation.wav").is_file()


@pytest.mark.parametrize(
    "options, said",
    [
        (["--target=dog"], "lmac_conditional.yaml"),
        (["--prompt=dog"], "esc10-lmac-zs"),
        (["--model=esc10-lmac-zs", "--prompt="], "every prompt must contain words"),
        (["--model=esc10-lmac-zs", "--target=dgo"], "did you mean dog"),
        (["--model=esc10-classifier"], "key 'interpreter'"),
        (["--model=esc10-lmca"], "Did you mean esc10-lmac"),
    ],
)
def test_what_no_file_could_change_is_said_first(cli, sounds, tmp_path, options, said):
    out = tmp_path / "out"
    status, _, err = cli("explain", sounds, f"--output_folder={out}", *options)
    assert status == 2
    assert err.count("error: ") == 1 and said in err
    assert not out.exists()


def test_a_long_file_has_a_table_of_its_windows(cli, sounds, tmp_path):
    wav, rate = soundfile.read(sounds / "a.wav")
    soundfile.write(tmp_path / "long.wav", list(wav) * 8, rate)
    out = tmp_path / "out"
    status, _, err = cli(
        "explain", tmp_path / "long.wav", f"--output_folder={out}", *FAST
    )
    assert status == 0, err
    table = pd.read_csv(out / "long_windows.csv")
    assert list(table.columns[:3]) == ["start", "end", "predicted"]
    assert table["end"].iloc[-1] == pytest.approx(8, abs=0.01)
    (encoding,) = pd.read_csv(out / "explanations.csv")["encoding"]
    assert table["encoding"].mean() == pytest.approx(encoding)
    assert soundfile.info(out / "long_explanation.wav").frames == 8 * rate


def test_models_are_listed_and_told_of(cli):
    status, out, _ = cli("models", "list")
    assert status == 0
    for name, folder in shipped_models().items():
        assert name in out
        status, card, _ = cli("models", "info", name)
        assert card.strip() == (folder / "README.md").read_text("utf-8").strip()
    status, _, err = cli("models", "info")
    assert status == 2 and "models info" in err


def test_a_yaml_is_run_by_the_script_it_is_for(
    run, tiny, short, toy, tmp_path, trained_classifier, one_method, cli, warm_children
):
    command = [sys.executable, "-m", "speechbrain_lmac.cli"]
    out = tmp_path / "classifier"
    options = [*tiny, *short, f"--output_folder={out}"]
    done = run([*command, "train", "hparams/toy_classifier.yaml", *options], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (out / "classifier" / "model.ckpt").is_file()
    assert (out / "train_classifier.py").is_file()  # what ran is kept beside
    assert "recipes/train_classifier.py" in (out / "training.json").read_text()

    out = tmp_path / "evaluated"
    options = [*one_method, f"--output_folder={out}"]
    done = run([*command, "evaluate", *options], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (out / "summary.md").is_file()

    model = tmp_path / "model"
    options = ["--repo=me/it", "--dry-run", f"--model_folder={model}"]
    status, _, err = cli("publish", trained_classifier, *options)  # starts another
    assert status == 0, err
    assert (model / "model.json").is_file()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["train", "hparams/nothing.yaml"], "nothing.yaml"),
        (
            ["train", "hparams/toy_table.yaml"],
            "speechbrain-lmac evaluate ",
        ),
        (
            ["evaluate", "hparams/toy_lmac.yaml"],
            "speechbrain-lmac train hp",
        ),
        (["train", "{folder}/headless.yaml"], "headless.yaml: missing key `recipe`"),
        # As a YAML file for version 0.2 names it.
        (["train", "{folder}/codec.yaml"], "missing keys"),
        (["evaluate", "{folder}/codec.yaml"], "speechbrain-lmac train "),
        (["publish", "{folder}", "--repo=me/it"], "hyperparams.yaml"),
    ],
)
def test_a_yaml_for_something_else_is_refused(cli, tmp_path, arguments, said):
    (tmp_path / "headless.yaml").write_text("seed: 1\n")
    head = "# A codec.\n#   python pretrain_codec.py codec.yaml\n"
    (tmp_path / "codec.yaml").write_text(f"{head}seed: 1\n")
    arguments = [argument.format(folder=tmp_path) for argument in arguments]
    status, _, err = cli(*arguments)
    assert status == 2 and said in err


def test_an_experiment_is_shown_with_everything_put_in(cli, tmp_path):
    yaml = "hparams/ablations/esc10_finetune_16.yaml"
    status, shown, err = cli("config", yaml, "--lr", "0.25")
    assert (status, err) == (0, "")
    assert "lr: 0.25" in shown and "!include" not in shown and "!ref" not in shown
    again = tmp_path / "shown.yaml"  # it is an experiment itself
    again.write_text(shown)
    status, lines, _ = cli("config", again, "--diff", yaml)
    rate = re.search(r"^lr: (.+)$", cli("config", yaml)[1], re.MULTILINE)[1]
    told = [f"lr: 0.25 -> {rate}", f"opt_class.lr: 0.25 -> {rate}"]
    assert (status, lines.splitlines()[:2]) == (0, told)
    assert all(": 0.25 -> " in line for line in lines.splitlines())
    assert cli("config", yaml, "--diff", yaml) == (0, "no difference\n", "")
    status, lines, _ = cli("config", yaml, "--diff", "hparams/esc10_lmac_finetune.yaml")
    assert "objective.weights.guidance: 16.0 -> 4.0" in lines.splitlines()
    lines = cli("config", yaml, "--lr", "0.25", "--diff")[1].splitlines()
    assert f"lr: {rate} -> 0.25" in lines
    assert "objective.weights.guidance: 4.0 -> 16.0" in lines
    status, _, err = cli("config", "hparams/esc10_lmac.yaml", "--diff")
    assert status == 2 and "esc10_lmac.yaml" in err and "--diff" in err


def test_every_experiment_file_says_which_script_it_is_for():
    folders = ("hparams", "hparams/ablations", "benchmarks/hparams")
    files = [path for name in folders for path in (ROOT / name).glob("*.yaml")]
    assert len(files) > 30
    for path in files:
        (head,) = COMMAND.findall(path.read_text(encoding="utf-8"))
        assert recipe_of(path) == recipe_to_run(path) == head, path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    status, out, _ = cli(command, "--help")
    assert status == 0 and "usage: " in out
    status, out, _ = cli("--help")
    assert status == 0 and re.search(rf"speechbrain-lmac {command} ", out)
    assert re.search(rf"^    {command}  +\w+", out, re.MULTILINE)  # with its summary


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("explain a.wav --output_folder=out --device banana", "device banana: no such"),
        ("explain a.wav --output_folder=out --device cuda:99", "device cuda:99: "),
        ("explain a.wav --output_folder", "--output_folder needs"),
        ("explain a.wav --output_folder=out --output_folder=o", "is given twice"),
        ("explain a.wav --output_folder=out --modle x", "did you mean --model?"),
        ("explain", "required: files, --output_folder"),
        ("models", "required: action"),
        ("models list --model x", "unknown option --model"),
        ("train", "required: FILE.yaml"),
        ("evaluate hparams", "hparams is a folder"),
        ("train hparams/toy_classifier.yaml --lr", "--lr needs"),
        ("report", "required: results"),
        ("", "required: command"),
        ("--queit explain", "did you mean --quiet?"),
    ],
)
def test_a_wrong_command_line_is_one_line(cli, tmp_path, arguments, said):
    status, out, err = cli(*arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and said in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("first", [True, False])
def test_quiet(cli, sounds, tmp_path, first):
    words = ["explain", sounds / "a.wav", f"--output_folder={tmp_path / 'out'}", *FAST]
    words.insert(0 if first else len(words), "--quiet")
    assert cli(*words) == (0, "", "")
    assert (tmp_path / "out" / "a_explanation.wav").is_file()


def test_no_command_and_a_wrong_one(cli):
    assert cli()[0] == 2
    status, _, err = cli("describe")
    assert status == 2 and "explain" in err


# --- Which function a command line calls, and with what ------------------------------


@pytest.fixture
def calls(monkeypatch):
    """Records the calls of the functions behind the commands, which do not run."""
    calls = []

    def record(name, result=None):
        def called(*arguments, **options):
            calls.append((name, *arguments, *sorted(options.items())))
            return result

        return called

    class Model:
        explainer, window_seconds = "explainer", 5.0

        def requests(self, target, prompts, check):
            return [target, prompts, check]

    def from_hparams(source, **options):
        return record(f"load {source}", Model())(**options)

    def run_path(script, run_name):
        calls.append((Path(script).stem, *sys.argv[1:]))

    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr("runpy.run_path", run_path)
    monkeypatch.setattr(
        "speechbrain_lmac.inference.AudioExplainer.from_hparams", from_hparams
    )
    for name, result in {
        "inference.explain_files.explain_files": None,
        "hub.registry.model_lines": ["models"],
        "hub.registry.find_model": "folder",
        "hub.registry.model_text": "card",
        "config.resolving.resolve": "lr: 1",
        "config.differences.differences": [],
    }.items():
        recorder = record(name.rpartition(".")[2], result)
        monkeypatch.setattr(f"speechbrain_lmac.{name}", recorder)
    return calls


LOADED = (("revision", None), ("run_opts", None), ("trust_remote_code", False))
TOY, TABLE = "hparams/toy_lmac.yaml", "hparams/toy_table.yaml"


def explained(
    files, target=None, prompts=None, pictures=("png",), again=False, check=True
):
    """The call of `explain_files`, without the fingerprint of the settings."""
    options = [("again", again), ("pictures", list(pictures))]
    return ("explain_files", files, [target, prompts, check], "o", *options)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ("explain a.wav --output_folder o", explained(["a.wav"])),
        (
            "explain --output_folder=o a.wav - --pdf",
            explained(["a.wav", "-"], pictures=("png", "pdf")),
        ),
        (
            "--quiet explain a.wav --output_folder o --again",
            explained(["a.wav"], again=True),
        ),
        (
            "explain a --no_pictures b --output_folder o",
            explained(["a", "b"], pictures=()),
        ),
        (
            "explain a --output_folder o --no_check",
            explained(["a"], check=False),
        ),
        (
            "explain a --prompt x --output_folder o --prompt=-y",
            explained(["a"], None, ["x", "-y"]),
        ),
        (
            "explain a --target dog --output_folder o --output_folder=o",
            explained(["a"], "dog"),
        ),
        ("models list", ("model_lines",)),
        ("models list esc10-lmac", ("model_lines",)),
        ("--quiet models info esc10-lmac", ("model_text", "folder")),
        (f"config {TOY}", ("resolve", "toy_lmac.yaml", {})),
        (
            f"config --lr -1 {TOY} --seed=2",
            ("resolve", "toy_lmac.yaml", {"lr": "-1", "seed": "2"}),
        ),
        (f"config {TOY} --diff {TABLE}", ("differences", "lr: 1", "lr: 1")),
        (f"train {TOY}", ("train_lmac", TOY)),
        (f"train --lr -1 {TOY} --debug", ("train_lmac", "--lr", "-1", TOY, "--debug")),
        (
            f"train {TOY} --start_over --data_folder=~/x",
            ("train_lmac", TOY, "--start_over", "--data_folder=~/x"),
        ),
        (f"--quiet train {TOY} --lr 1", ("train_lmac", TOY, "--lr", "1", "--quiet")),
        (f"train {TOY} --quiet", ("train_lmac", TOY, "--quiet")),
        (f"evaluate {TABLE} --device cpu", ("evaluate", TABLE, "--device", "cpu")),
        (
            "report results --n_clips 3 --figures",
            ("report", "results", "--n_clips", "3", "--figures"),
        ),
        ("report --single_file results", ("report", "--single_file", "results")),
        ("--quiet report results", ("report", "results", "--quiet")),
        ("report --help", ("report", "--help")),
        ("report", ("report",)),
        (
            "publish --dry-run results --repo a/b",
            ("publish", "--dry-run", "results", "--repo", "a/b"),
        ),
        ("publish results --new -x --", ("publish", "results", "--new", "-x", "--")),
    ],
)
def test_a_command_line_calls_its_function(cli, calls, arguments, expected):
    status, _, err = cli(*arguments.split())
    assert (status, err) == (0, "")
    found = tuple(x.name if isinstance(x, Path) else x for x in calls[-1])
    found = tuple(x for x in found if not (isinstance(x, tuple) and x[0] == "settings"))
    assert found == expected


def test_options_of_a_model_are_passed_to_its_loader(cli, calls):
    command = "explain a --output_folder o --model m --device cpu --revision v1"
    cli(*command.split(), "--trust_remote_code")
    options = {"trust_remote_code": True, "revision": "v1"}
    assert calls[0] == (
        "load m",
        *sorted([*options.items(), ("run_opts", {"device": "cpu"})]),
    )
    calls.clear()
    cli("explain", "a", "--output_folder=o")
    assert calls[0] == ("load esc10-lmac", *LOADED)


@pytest.mark.parametrize(
    "arguments, status",
    [
        ("--help", 0),
        ("--help explain", 0),
        ("--quiet --version", 0),
        ("explain --help", 0),
        (f"train {TOY} -h", 0),
        ("models list --help", 0),
        ("-x explain", 2),
        ("--quiet", 2),
        ("--quiet=1 models list", 2),
        ("--model=esc10-lmac explain a.wav --output_folder o", 2),
        ("--model esc10-lmac explain a.wav --output_folder o", 2),
        ("--lr=1 config hparams/toy_lmac.yaml", 2),
        ("expl a.wav --output_folder o", 2),
        ("explain a.wav --out o", 2),
        ("explain a.wav --output_folder o -x", 2),
        ("models list a b", 2),
        ("models show", 2),
        (f"config {TOY} stray", 2),
        (f"config {TOY} --debug=1", 2),
        (f"train {TOY} stray", 2),
        (f"train {TABLE}", 2),
    ],
)
def test_a_command_line_ends_before_anything_is_called(cli, calls, arguments, status):
    ended, out, err = cli(*arguments.split())
    assert (ended, calls) == (status, [])
    assert bool(out) == (status == 0) and err.count("\n") == (status == 2)


# --- What the documentation tells a user to type -------------------------------------

PAGES = [ROOT / "README.md", ROOT / "docs" / "guide" / "explain.md"]


def code_of(page, kind):
    """The lines of the blocks of code in a page, with all sounds called clip.wav."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL)
    return re.sub(r"\bdog\.ogg\b", "clip.wav", "\n".join(blocks)).splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_explains_a_file(page, sounds, tmp_path, monkeypatch):
    found = {}
    (tmp_path / "clip.wav").write_bytes((sounds / "a.wav").read_bytes())
    monkeypatch.chdir(tmp_path)
    exec("\n".join(code_of(page, "python")), found)
    explained = found["explained"]
    assert explained.explanation.shape == explained.rest.shape == (16000,)
    assert 0 <= explained.confidence <= 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_explain_a_file(page, run, sounds, tmp_path):
    lines = [x for x in code_of(page, "sh") if x.startswith("speechbrain-lmac ")]
    assert len(lines) >= 2
    (tmp_path / "clip.wav").write_bytes((sounds / "a.wav").read_bytes())
    for line in lines:
        script = [sys.executable, "-m", "speechbrain_lmac"]
        done = run([*script, *shlex.split(line)[1:]], tmp_path)
        assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").glob("*.wav")}
    assert {"clip_explanation.wav", "clip_a-dog-barking_explanation.wav"} <= names
