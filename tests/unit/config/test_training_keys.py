"""The keys of a training: what version 0.3 had in a block, and what counts of them."""

import json

import pytest

from speechbrain_lmac.config.differences import differences as changes
from speechbrain_lmac.config.inheritance import HPARAMS, blocks_of, open_hparams
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.config.run_options import RunOptions
from speechbrain_lmac.config.training_keys import current_settings
from speechbrain_lmac.training.training_settings import (
    check_settings,
    differences,
    settings_of,
)
from speechbrain_lmac.utils.errors import InputError

OURS = "!new:speechbrain_lmac.training.schedules."
KEYS = "modules opt_class lr_annealing epoch_counter checkpointer train_logger".split()
KEYS += ["dataloader_options"]
BUILT = {*KEYS, "dataset", "domain", "model", "classifier", "interpreter"}
# Schedules of version 0.3 with the optimizer of their part file.
BLOCKS = {
    "toy_lmac": f"""
    opt_class: !name:torch.optim.AdamW
        lr: !ref <lr>
        weight_decay: 0.02
    schedule: {OURS}CosineSchedule
        lr: !ref <lr>
        warmup_epochs: 1
        number_of_epochs: !ref <number_of_epochs>
""",
    "esc50_lmac": f"""
    opt_class: !name:torch.optim.Adam
        lr: !ref <lr>
        weight_decay: 0.000002
        fused: True
    schedule: {OURS}PlateauSchedule
        first_epoch: 100
""",
    "esc50_classifier_cnn14": f"""
    opt_class: !name:torch.optim.Adam
        lr: !ref <lr>
        weight_decay: 0.000002
    schedule: {OURS}TriangularSchedule
        base_lr: 0.00000001
        max_lr: !ref <lr>
        step_size: 65000
""",
}
HEAD = """
training: !new:speechbrain_lmac.training.experiment.Training
    number_of_epochs: !ref <number_of_epochs>
    batch_size: !ref <batch_size>
    lr: !ref <lr>
    num_workers: 0
    use_tensorboard: False
    wandb: {}
    samples_every: 0
    n_samples: 3
    max_skipped_batches: 3"""


@pytest.fixture(params=BLOCKS)
def old_and_new(request, tmp_path):
    """A file of version 0.3, and the one of today."""
    new = HPARAMS / f"{request.param}.yaml"
    blocks = blocks_of(open_hparams(new).getvalue())
    kept = "".join(text for key, text in blocks.items() if key not in KEYS)
    old = tmp_path / "old.yaml"
    old.write_text(kept.rstrip() + HEAD + BLOCKS[request.param])
    return old, new


def without_logger(lines):
    """Not what the old block said of the logger, which are the defaults of today."""
    return [line for line in lines if not line.startswith("train_logger.")]


def test_the_old_block_is_lifted_to_the_keys_of_today(old_and_new):
    old, new = map(resolve, old_and_new)
    assert without_logger(changes(old, new)) == []
    one, other = ([k for k in blocks_of(text) if k in BUILT] for text in (old, new))
    assert one == other  # built in the same order


def test_options_reach_what_was_lifted(old_and_new):
    options = {"lr": "0.5", "number_of_epochs": "7", "num_workers": "2"}
    old, new = (resolve(path, options) for path in old_and_new)
    assert without_logger(changes(old, new)) == []


def test_what_the_old_block_said_of_skipped_batches_and_logs(old_and_new):
    old, _ = old_and_new
    text = old.read_text().replace("max_skipped_batches: 3", "max_skipped_batches: 9")
    old.write_text(text.replace("use_tensorboard: False", "use_tensorboard: True"))
    text = resolve(old)
    assert "\nnonfinite_patience: 9\n" in text and "\n  tensorboard: true\n" in text


def old_settings(path):
    """`settings.json` of version 0.3: the resolved block, flat."""
    import re

    from speechbrain_lmac.config import inheritance

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inheritance, "lift_block", lambda *_: False)
        settings = settings_of(resolve(path), RunOptions())
    left_out = r"training\.(num_workers|use_|wandb|samples|n_samples|max_skipped).*"
    return {k: v for k, v in settings.items() if not re.fullmatch(left_out, k)}


def test_a_training_of_an_earlier_version_goes_on(old_and_new, tmp_path):
    old, new = old_and_new
    stored, given = old_settings(old), settings_of(resolve(new), RunOptions())
    assert "training.schedule" in stored and "lr_annealing" in given
    assert differences(current_settings(stored), given) == []
    (tmp_path / "epochs.csv").touch()
    (tmp_path / "settings.json").write_text(json.dumps({"settings": stored}))
    check_settings(tmp_path, settings=given)
    other = settings_of(resolve(new, {"lr": "0.5", "batch_size": "3"}), RunOptions())
    with pytest.raises(InputError) as refused:
        check_settings(tmp_path, settings=other)
    for line in ("lr: ", "batch_size: ", "now 3"):
        assert line in str(refused.value)


def test_a_resolved_file_of_today_is_the_same_training(old_and_new, tmp_path):
    text = resolve(old_and_new[1])
    (tmp_path / "hyperparams.yaml").write_text(text)
    again = resolve(tmp_path / "hyperparams.yaml")
    one, other = (settings_of(each, RunOptions()) for each in (text, again))
    assert one == other


def test_what_is_null_counts_but_for_keys_at_the_top_which_are_as_good_as_absent():
    text = "augment: null\npart:\n    blank: null\n"
    assert settings_of(text, RunOptions()) == {"part.blank": None}


@pytest.mark.parametrize(
    "option, counts",
    [
        ("epoch_counter=!new:speechbrain.utils.epoch_loop.EpochCounter {limit: 9}", []),
        ("train_logger={samples_every: 3}", []),
        ("checkpointer={checkpoints_dir: elsewhere}", []),
        ("dataloader_options={num_workers: 4, pin_memory: True}", []),
        ("modules={again: !ref <domain>}", []),
        ("modules={own: !new:torch.nn.Identity {}}", ["modules.own"]),
        ("dataloader_options={drop_last: True}", ["dataloader_options.drop_last"]),
        ("lr_annealing={warmup_epochs: 3}", ["lr_annealing.warmup_epochs"]),
    ],
)
def test_of_the_keys_only_that_counts_which_changes_weights(option, counts):
    path, (key, _, value) = HPARAMS / "toy_lmac.yaml", option.partition("=")
    one, other = resolve(path), resolve(path, {key: value})
    before, after = (settings_of(text, RunOptions()) for text in (one, other))
    lines = differences(before, after)
    assert changes(one, other)
    assert [line.partition(":")[0] for line in lines] == counts


def test_the_include_of_a_part_that_is_gone_says_what_to_write(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "lr: 0.1\ntraining: !include:parts/training/adamw_cosine.yaml\n    lr: 0.1\n"
    )
    with pytest.raises(InputError, match="opt_class, lr_annealing") as refused:
        load_experiment([str(path)], training=True)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="'training'.*--nonfinite_patience"):
        load_experiment(["hparams/toy_lmac.yaml", "--training={lr: 0.1}"])
