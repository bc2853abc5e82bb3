"""Keys of one's own, classes of one's own, and numbers that no part can take."""

import logging
import multiprocessing
import sys
from pathlib import Path

import pytest
import torch

from speechbrain_lmac.config.loading import (
    RESOLVED,
    check_keys,
    extend_import_path,
    load_experiment,
)
from speechbrain_lmac.utils.console import open_console
from speechbrain_lmac.utils.errors import InputError

TOY = "hparams/toy_classifier.yaml"
NET = """\
import torch

class Net(torch.nn.Module):
    pass
"""


@pytest.fixture
def experiment(tmp_path):
    """`experiment(text)`: a file with that text, and a class to build."""

    def experiment(text):
        path = tmp_path / "experiment.yaml"
        path.write_text(f"seed: 1\n{text}")
        return path

    return experiment


@pytest.fixture(autouse=True)
def import_path(monkeypatch):
    """Undo what a file beside a YAML does to the import path."""
    monkeypatch.setattr(sys, "path", sys.path[:])


def test_modules_beside_the_file_and_beside_its_parents_are_found(experiment, tmp_path):
    parent = experiment("mine: !new:beside_parent.Counter\n")
    (tmp_path / "beside_parent.py").write_text("from collections import Counter\n")
    child = tmp_path / "folder" / "child.yaml"
    child.parent.mkdir()
    child.with_name("beside_child.py").write_text("def rate():\n    return 0.25\n")
    child.write_text(f"parent: ../{parent.name}\nlr: !applyref:beside_child.rate []\n")
    hparams, _, _ = load_experiment([str(child)])
    assert (hparams["lr"], hparams["mine"]) == (0.25, {})


# --- Keys -------------------------------------------------------------------------


def test_no_warning_for_keys_of_what_a_child_has_dropped(experiment, caplog):
    parent = experiment("mine: 1\nconditions: {a: !ref <mine>, b: 1}\n")
    child = parent.with_name("child.yaml")
    child.write_text(f"parent: {parent.name}\nconditions: [b]\n")
    check_keys(child)
    assert not caplog.records


def test_a_child_of_a_finished_run_may_have_its_keys(experiment, caplog):
    parent = experiment("")
    parent.write_text(f"{RESOLVED} today from:\n# x.yaml\nmine: 1\n")
    child = parent.with_name("child.yaml")
    child.write_text(f"parent: {parent.name}\nseed: 2\n")
    check_keys(child)
    assert not caplog.records


@pytest.mark.parametrize("key", ["trainig", "batchsize", "datasets", "objectives"])
def test_a_misspelt_key_is_refused(experiment, key):
    with pytest.raises(InputError, match=f"'{key}'; did you mean '"):
        check_keys(experiment(f"{key}: 1\n"))


@pytest.mark.parametrize(
    "key, hint",
    [("comment", ""), ("my_batch_size", "did you mean 'batch_size'?"), ("x", "")],
)
def test_a_key_of_one_s_own_is_a_warning(experiment, caplog, key, hint):
    check_keys(experiment(f"{key}: 1\n"))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"unknown key '{key}'" in record.getMessage()
    assert hint in record.getMessage()


def test_no_warning_for_keys_that_are_read_or_referred_to(experiment, caplog):
    check_keys(experiment("mine: 1\nlr: !ref <mine>\nother: !ref <lr>\n__x: 1\n"))
    assert [r.getMessage().split("'")[1] for r in caplog.records] == ["other"]


# --- Classes ----------------------------------------------------------------------


@pytest.mark.parametrize("place", ["beside", "current"])
def test_a_class_beside_the_file_or_in_the_current_folder(
    experiment, tmp_path, monkeypatch, place
):
    folder = tmp_path if place == "beside" else tmp_path / "current"
    folder.mkdir(exist_ok=True)
    (folder / f"net_{place}.py").write_text(NET)
    (folder / "torch.py").write_text("raise RuntimeError('hides what is installed')\n")
    monkeypatch.chdir(tmp_path if place == "beside" else folder)
    path = experiment(f"model: !new:net_{place}.Net\n")
    hparams, _, _ = load_experiment([str(path)])
    assert isinstance(hparams["model"], torch.nn.Module)
    assert type(hparams["model"]).__name__ == "Net"


def test_processes_that_are_spawned_find_it_too(experiment, tmp_path):
    (tmp_path / "net_spawned.py").write_text("def double(x):\n    return 2 * x\n")
    path = experiment("explainer: !name:net_spawned.double\n")
    double = load_experiment([str(path)])[0]["explainer"]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(double, [3]) == [6]


def test_a_resolved_file_finds_what_lies_beside_the_one_it_was_made_of(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "mine").mkdir()
    resolved = tmp_path / "results" / "hyperparams.yaml"
    resolved.write_text(f"# Generated 2024-01-01 from:\n# {tmp_path}/mine/a.yaml\na: 1")
    folders = extend_import_path(resolved)
    expected = [str(tmp_path / "results"), str(tmp_path / "mine"), str(Path.cwd())]
    assert folders == expected
    assert set(expected) <= set(sys.path)


def test_a_missing_class_and_the_searched_folders(experiment, tmp_path, monkeypatch):
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    path = experiment("model: !new:no_such_net.Net\n")
    with pytest.raises(InputError) as refused:
        load_experiment([str(path)])
    assert "class no_such_net.Net" in str(refused.value)
    assert f"{tmp_path}, {tmp_path / 'current'})" in str(refused.value)


def test_a_class_whose_file_cannot_be_imported(experiment, tmp_path):
    (tmp_path / "net_broken.py").write_text("import no_such_package\n")
    with pytest.raises(InputError, match="net_broken.*no_such_package"):
        load_experiment([str(experiment("model: !new:net_broken.Net\n"))])


def test_what_a_user_s_class_refuses_is_one_line(experiment, tmp_path):
    (tmp_path / "net_fussy.py").write_text(
        "class Net:\n    def __init__(self):\n        raise ValueError('no\\nway')\n"
    )
    with pytest.raises(InputError, match=r"no way \(ValueError\)"):
        load_experiment([str(experiment("model: !new:net_fussy.Net\n"))])


# --- Numbers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "option, message",
    [
        ("--lr=-0.1", "lr must be a number of at least 0, got -0.1"),
        ("--lr=null", "lr must be a number of at least 0, got None"),
        ("--lr=.inf", "--lr must be a finite number, got '.inf'"),
        ("--opt_class={lr: .nan}", "Invalid learning rate: nan"),
        (
            "--lr_annealing={lr: hello}",
            "lr must be a number of at least 0, got 'hello'",
        ),
        ("--num_workers=-1", "num_workers must be a whole number of at least 0"),
        ("--train_logger={samples_every: 0.5}", "samples_every must be a whole number"),
        (
            "--train_logger={n_samples: 0}",
            "n_samples must be a whole number of at least 1",
        ),
        ("--nonfinite_patience=-1", "nonfinite_patience must be a whole number"),
        ("--dataloader_options={num_workers: -1}", "num_workers must be a whole"),
        ("--dataloader_options={batch_size: 0}", "batch_size must be a whole number"),
        ("--dataloader_options={drop_lst: True}", "did you mean 'drop_last'?"),
        ("--dataloader_options={prefetch_factor: 2}", "dataloader_options: prefetch_"),
        ("--dataloader_options={sampler: 3}", "'int' has no len()"),
        ("--opt_class=!name:torch.optim.LBFGS {}", "argument: 'closure'"),
        ("--training={lr: 0.1}", "--nonfinite_patience"),
        ("--opt_class={weight_decay: -1}", "weight_decay value: -1"),
        ("--lr_annealing={warmup_epochs: -1}", "warmup_epochs must be"),
        ("--batch_size=true", "--batch_size must be a whole number, got 'true'"),
        ("--seed=hello", "--seed must be a whole number"),
        ("--sample_rate=0", "must be"),
        ("--dataset={clip_seconds: -1}", "clip_seconds must be a number of at least"),
        ("--augment={mixup: {probability: 2}}", "probability must be a number from 0"),
    ],
)
def test_a_number_that_a_part_cannot_take(option, message):
    with pytest.raises(InputError) as refused:
        load_experiment([TOY, option])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("weight", [".nan", "hello", "true"])
def test_a_weight_that_is_no_number(experiment, weight):
    path = experiment("objective: !include:parts/objective/lmac.yaml {}\n")
    with pytest.raises(InputError, match="mask_l1 .* finite number"):
        load_experiment([str(path), f"--objective={{weights: {{mask_l1: {weight}}}}}"])


def test_no_warning_about_torchvision(capfd):
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", "import speechbrain_lmac.training.loggers"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_warning_of_a_key_is_one_line_on_standard_error(experiment, capsys):
    open_console()
    check_keys(experiment("my_note: 1\n"))
    err = capsys.readouterr().err
    assert err.startswith("warning: ") and err.count("\n") == 1
    assert "'my_note'" in err


@pytest.mark.parametrize("option", ["--max_grad_norm=1", "--precision=bf16", "--debug"])
def test_options_of_trainings_are_refused_elsewhere(option):
    argv = [TOY, option]
    assert "modules" in load_experiment(argv, training=True)[0]
    with pytest.raises(InputError, match=f"{option.split('=')[0]} .*trainings"):
        load_experiment(argv)
    with pytest.raises(InputError, match="--start_over .*trainings"):
        load_experiment([argv[0], "--start_over"])


# --- Run options of SpeechBrain ---------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        (["--compile", "--device=banana"], "device banana: "),
        (["--device=cpu", "--data_parallel_backend"], "--data_parallel_backend needs"),
        (
            ["--ckpt_interval_minutes=1", "--ckpt_interval_steps=1"],
            "--ckpt_interval_minutes and --ckpt_interval_steps",
        ),
    ],
)
def test_run_options_that_cannot_work(options, message):
    with pytest.raises(InputError, match=message):
        load_experiment([TOY, *options], training=True)


@pytest.mark.parametrize(
    "text, message",
    [
        ("device: banana", "device banana: "),
        ("device: cpu\nprecision: fp16", "--precision fp16 needs a GPU"),
        ("device: cpu\ndata_parallel_backend: true", "--data_parallel_backend needs"),
        (
            "ckpt_interval_minutes: 1\nckpt_interval_steps: 1",
            "--ckpt_interval_minutes and --ckpt_interval_steps",
        ),
        ("precision: fp17", "precision at the top of the YAML .* got 'fp17'"),
        ("max_grad_norm: hello", "max_grad_norm .* type float.*'hello'"),
        ("grad_accumulation_factor: 0", "grad_accumulation_factor must be"),
        ("ckpt_interval_steps: true", "ckpt_interval_steps .*type int.*True"),
    ],
)
def test_run_options_in_the_file_are_checked_like_those_of_the_command(
    experiment, text, message
):
    with pytest.raises(InputError, match=message):
        load_experiment([str(experiment(f"{text}\n"))], training=True)


def test_run_options_in_the_file_are_read_and_the_command_comes_first(
    experiment, caplog
):
    path = experiment("norm: 1\nmax_grad_norm: !ref <norm>\nprecision: bf16\n")
    argv = [str(path), "--device=cpu"]
    _, run_opts, _ = load_experiment(argv, training=True)
    assert (run_opts.max_grad_norm, run_opts.precision) == (1, "bf16")
    _, run_opts, _ = load_experiment([*argv, "--max_grad_norm=2"], training=True)
    assert (run_opts.max_grad_norm, run_opts.precision) == (2, "bf16")
    _, run_opts, _ = load_experiment(argv)  # which computes in float32
    assert run_opts.precision == "fp32"
    assert not caplog.records


def test_run_options_in_a_file_whose_parent_has_none(tmp_path):
    (tmp_path / "parent.yaml").write_text("seed: 1\nlr: 2")  # and no end of the line
    child = tmp_path / "child.yaml"
    child.write_text("parent: parent.yaml\nmax_grad_norm: 1.5\n")
    hparams, run_opts, _ = load_experiment([str(child)], training=True)
    assert (hparams["lr"], run_opts.max_grad_norm) == (2, 1.5)
    child.write_text("parent: parent.yaml\nmax_gradnorm: 1.5\n")
    with pytest.raises(InputError, match="'max_gradnorm'.*'max_grad_norm'"):
        load_experiment([str(child)], training=True)
