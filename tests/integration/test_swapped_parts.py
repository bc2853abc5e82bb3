"""Each key of a training swapped by YAML, as in a recipe of SpeechBrain."""

import json

import pandas as pd
import pytest
import torch

from speechbrain_lmac.recipes.train_classifier import train_classifier
from speechbrain_lmac.recipes.train_lmac import train_lmac
from tests.integration.conftest import assert_equal_weights

YAML = "hparams/toy_classifier.yaml"
SCHEDULERS = "!new:speechbrain.nnet.schedulers."
CHECKPOINTER = """--checkpointer=!new:speechbrain.utils.checkpoints.Checkpointer
    checkpoints_dir: !ref <output_folder>/save
    recoverables:
        counter: !ref <epoch_counter>
"""


@pytest.fixture
def train(call, tiny, short, tmp_path):
    """`train(option, ...)`: the output folder of two epochs of three steps."""

    def train(*options):
        names = {option.partition("=")[0] for option in options}
        given = [o for o in (*tiny, *short) if o.partition("=")[0] not in names]
        call(train_classifier, YAML, *given, *options, "--output_folder=out")
        return tmp_path / "out"

    return train


def weights(folder):
    return torch.load(folder / "classifier" / "model.ckpt")


def newest(folder):
    """Names of what is in the newest checkpoint."""
    return {path.stem for path in max((folder / "save").glob("CKPT*")).iterdir()}


def test_a_module_more_is_kept_and_counts(train):
    own = "{in_features: 2, out_features: 3}"
    out = train(
        f"--modules={{own: !new:torch.nn.Linear {own}}}", "--number_of_epochs=1"
    )
    assert {"own", "model", "counter", "optimizer"} <= newest(out)
    settings = json.loads((out / "settings.json").read_text())["settings"]
    assert settings["modules.own.out_features"] == 3
    assert not [key for key in settings if key.startswith("modules.model")]


def test_a_scheduler_of_speechbrain_sets_the_rate_and_is_kept(train):
    step = "{initial_value: 0.5, decay_factor: 0.1, decay_drop: 1}"
    out = train(f"--lr_annealing={SCHEDULERS}StepScheduler {step}", "--lr=0.25")
    # The optimizer's own rate, then what the scheduler made of the epoch before.
    assert pd.read_csv(out / "epochs.csv")["lr"].tolist() == pytest.approx(
        [0.25, 0.005]
    )


def test_a_scheduler_of_steps_is_called_after_each_of_them(train):
    cycle = "{base_lr: 0.1, max_lr: 0.7, step_size: 6}"
    out = train(
        f"--lr_annealing={SCHEDULERS}CyclicLRScheduler {cycle}", "--opt_class={lr: 0.1}"
    )
    # Of the last step of each epoch: the third and the sixth.
    assert pd.read_csv(out / "epochs.csv")["lr"].tolist() == pytest.approx([0.3, 0.6])
    assert "schedule" in newest(out)


def test_a_counter_that_stops_early(train):
    stopper = "!new:speechbrain.utils.epoch_loop.EpochCounterWithStopper"
    out = train(
        f"--epoch_counter={stopper} {{limit: 9, limit_to_stop: 1, limit_warmup: 0, "
        "direction: min}",
        *("--opt_class={lr: 0.0}", "--lr_annealing={lr: 0.0}", "--augment=null"),
    )
    losses = pd.read_csv(out / "epochs.csv")["valid_loss"]
    assert len(losses) < 9 and losses.argmin() == len(losses) - 2


def test_the_checkpointer_of_speechbrain_goes_on_as_ours(train, trained_classifier):
    schedule = "--lr_annealing={number_of_epochs: 2}"
    train(CHECKPOINTER, schedule, "--number_of_epochs=1")
    out = train(CHECKPOINTER, schedule, "--number_of_epochs=2")
    assert {"counter", "model", "optimizer"} <= newest(out)
    assert "checksums" not in newest(out)
    assert_equal_weights(weights(out), weights(trained_classifier))


def test_a_logger_of_speechbrain(call, tiny, classifier, tmp_path):
    logger = "!new:speechbrain.utils.train_logger.FileTrainLogger"
    options = [*tiny, classifier, "--output_folder=out", "--number_of_epochs=1"]
    logger = f"--train_logger={logger} {{save_file: !ref <output_folder>/mine.txt}}"
    call(train_lmac, "hparams/toy_lmac.yaml", *options, logger)
    assert "Fid-In: " in (tmp_path / "out" / "mine.txt").read_text()
    assert not (tmp_path / "out" / "train_log.txt").exists()


def test_options_of_the_loader(train, trained_classifier, monkeypatch):
    from speechbrain_lmac.training.base_brain import RecordingBrain

    seen, fit = [], RecordingBrain.fit_batch

    def fit_batch(brain, batch):
        seen.append(batch.ids)
        return fit(brain, batch)

    monkeypatch.setattr(RecordingBrain, "fit_batch", fit_batch)
    # 18 clips in batches of 7: the last of 4 is left out; in the validation none is.
    out = train(
        "--dataloader_options={drop_last: True, shuffle: False, batch_size: 7}",
        "--num_workers=1",
    )
    assert [len(ids) for ids in seen] == [7, 7, 7, 7]
    assert seen[0] == seen[2] == sorted(seen[0])
    record = json.loads((out / "training.json").read_text())
    ours = json.loads((trained_classifier / "training.json").read_text())
    assert record["test"].keys() == ours["test"].keys()
