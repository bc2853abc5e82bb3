"""What a training lets one see and hear while it learns."""

import sys
import types

import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image

from recipes.plot_training import plot_training
from recipes.train_lmac import train_lmac
from speechbrain_lmac.training.loggers import WandBSamples
from speechbrain_lmac.utils.errors import InputError

YAML = "hparams/toy_lmac.yaml"


@pytest.fixture(scope="session")
def watched(train_once, classifier, tiny, short):
    """A training with samples of each epoch."""
    samples = "--train_logger={samples_every: 1, n_samples: 2, tensorboard: True}"
    return train_once("watched", train_lmac, YAML, *tiny, *short, classifier, samples)


def test_a_few_fixed_clips_can_be_heard_and_seen_of_each_epoch(watched):
    epochs = sorted((watched / "samples").iterdir())
    assert [path.name for path in epochs] == ["epoch_001", "epoch_002"]
    first, second = ({p.name for p in epoch.iterdir()} for epoch in epochs)
    assert first == second and len(first) == 2 * 3
    heard = []
    for epoch in epochs:
        (path, *_) = sorted(epoch.glob("*_explanation.wav"))
        wav, rate = soundfile.read(path)
        assert rate == 16000 and len(wav) == 16000
        heard.append(wav)
        (picture, *_) = sorted(epoch.glob("*.png"))
        with Image.open(picture) as image:
            assert image.width > 300
    assert (heard[0] != heard[1]).any()  # it has learned something


def test_to_watch_a_training_does_not_change_it(watched, trained_lmac):
    ours = torch.load(watched / "interpreter.ckpt", weights_only=True)
    theirs = torch.load(trained_lmac / "interpreter.ckpt", weights_only=True)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_tensorboard_has_the_curves_the_sounds_and_the_pictures(watched):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    events = accumulator.EventAccumulator(str(watched / "tb_logs"))
    events.Reload()
    tags = events.Tags()
    for name in ("loss", "mask_in", "mask_out", "mask_l1"):
        assert {f"{name}/train", f"{name}/valid"} <= set(tags["scalars"])
    assert "Fid-In/valid" in tags["scalars"]
    assert len([tag for tag in tags["audio"] if "/explanation" in tag]) == 2
    assert len([tag for tag in tags["images"] if "/picture" in tag]) == 2


class FakeRun:
    def __init__(self, settings):
        self.settings, self.logged = settings, []

    def log(self, values, step=None):
        self.logged.append((step, values))


@pytest.fixture
def wandb(monkeypatch):
    """What stands for Weights & Biases: its runs are kept."""
    runs = []

    def init(**settings):
        if "project" not in settings:
            raise ValueError("no project")
        runs.append(FakeRun(settings))
        return runs[-1]

    fake = types.ModuleType("wandb")
    fake.init, fake.runs = init, runs
    fake.Audio = lambda wav, sample_rate: ("audio", len(wav), sample_rate)
    fake.Image = lambda picture: ("image", picture.shape)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_wandb_gets_the_same(call, wandb, classifier, tiny, short, tmp_path):
    folder = tmp_path / "toy" / "1"
    options = [*tiny, *short, classifier, f"--output_folder={folder}"]
    logger = "{samples_every: 2, n_samples: 1, wandb: {project: p, mode: offline}}"
    call(train_lmac, YAML, *options, f"--train_logger={logger}")
    (run,) = wandb.runs
    assert run.settings == {
        **{"dir": str(folder), "id": "toy-1", "resume": "allow"},
        **{"project": "p", "mode": "offline"},
    }
    curves = [values for _, values in run.logged if "valid" in values]
    assert [values["epoch"] for values in curves] == [1, 2]
    assert {"loss", "mask_in", "Fid-In"} <= set(curves[0]["valid"])
    (samples,) = [values for _, values in run.logged if "train" not in values][:1]
    kinds = {name.split("/")[1]: value[0] for name, value in samples.items()}
    assert kinds == {"picture": "image", "explanation": "audio", "rest": "audio"}


def test_wandb_that_is_missing_or_refuses_is_one_error(wandb, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"wandb\.init.*no project"):
        WandBSamples(tmp_path, {"mode": "offline"})
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="package wandb"):
        WandBSamples(tmp_path, {"project": "p"})


# --- Curves ---------------------------------------------------------------------------


def test_curves_of_several_runs_in_one_picture(
    call, trained_lmac, trained_finetune, tmp_path, capsys
):
    for name in ("curves.png", "curves.pdf"):
        path = tmp_path / name
        call(plot_training, trained_lmac, trained_finetune, f"--output={path}")
        assert path.stat().st_size > 5000
    printed = capsys.readouterr().out
    best = pd.read_csv(trained_lmac / "epochs.csv")["valid_loss"].min()
    assert f"validation loss is {best:.4g}" in printed


def test_what_has_no_curves_is_one_error(refused, tmp_path):
    assert "missing epochs.csv" in refused(plot_training, tmp_path, "--output=a.png")
    assert ".png, .pdf" in refused(plot_training, tmp_path, "--output=a.xyz")
    (tmp_path / "epochs.csv").write_text("epoch,lr,valid_loss\n")
    assert "empty table" in refused(plot_training, tmp_path, "--output=a.png")
    (tmp_path / "epochs.csv").write_text("epoch,lr,valid_loss\n1,x,2\n")
    assert "epochs.csv: " in refused(plot_training, tmp_path, "--output=a.png")
