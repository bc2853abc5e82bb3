"""From sounds and sentences to explanations, by the commands that a user types."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.recipes.ablations import run_ablations
from speechbrain_lmac.recipes.evaluate import run_evaluation
from speechbrain_lmac.recipes.explain import explain
from speechbrain_lmac.recipes.train_lmac_zs import train_lmac_zs
from tests.integration.conftest import assert_alive

ROOT = Path(__file__).resolve().parents[2]
STFT, MEL = "hparams/toy_lmac_zs_stft.yaml", "tests/hparams/toy_lmac_zs_mel.yaml"
PROMPTS = ("a low hum", "the chirp, of a bird?")


@pytest.fixture(scope="session")
def clap(train_by_script, tiny, short):
    """The option that names a trained CLAP."""
    script = ["recipes/train_clap.py", "hparams/toy_clap.yaml"]
    folder = train_by_script("clap", *script, *tiny, *short, "--trunk_source=null")
    return f"--clap_source={folder / 'clap'}"


@pytest.fixture(scope="session")
def short_zs(short):
    """Options of every training here. At the rate of the YAML, which is meant for more
    steps, the masks of the first ones are empty."""
    return (*short, "--lr=0.0005")


@pytest.fixture(scope="session")
def trained(train_by_script, clap, tiny, short_zs):
    """The output folder of the command line, from inside recipes/."""
    script = ["train_lmac_zs.py", STFT]
    folder = train_by_script("zs", *script, *tiny, *short_zs, clap)
    assert_alive(folder)
    return folder


def test_the_zero_shot_accuracy_is_printed_first_and_recorded(trained):
    printed = trained.with_suffix(".txt").read_text(encoding="utf-8")
    record = json.loads((trained / "training.json").read_text())
    accuracy = 100 * record["zero_shot_accuracy"]
    assert record["zero_shot_clips"] == 6
    (line,) = [line for line in printed.splitlines() if line.startswith("zero-shot")]
    assert line == (
        f"zero-shot accuracy: {accuracy:.1f} % on 6 clips of the test split, with 6 "
        "prompts such as 'this is the sound of chirp'"
    )
    assert record["epochs"] == 2 and "mm_own" in record["test"]


def test_the_accuracy_is_that_of_its_classifier(trained, clap, tiny, toy):
    record = json.loads((trained / "training.json").read_text())
    hparams, _, _ = load_experiment([str(ROOT / STFT), *tiny, clap])
    dataset, classifier = hparams["dataset"], hparams["classifier"]
    clips = dataset.load(trained / "manifest", "test", classifier.labels)
    domain, right = hparams["domain"], 0
    for clip in clips:
        features = domain.features(domain.encode(clip["signal"][None]))
        nearest = classifier.audio(features).embedding @ classifier.text.T
        right += int(nearest.argmax()) == clip["label"]
    assert record["zero_shot_accuracy"] == pytest.approx(right / len(clips))


def test_the_terms_are_in_the_log(trained):
    epochs = pd.read_csv(trained / "epochs.csv")
    terms = ["match", "mask_l1", "diversity", "mask_out", "mm_own", "mm_other", "loss"]
    names = [f"{part}_{term}" for part in ("train", "valid") for term in terms]
    names += [f"valid_{metric}" for metric in ("AI", "AD", "AG", "FF", "Fid-In", "MM")]
    assert np.isfinite(epochs[names].to_numpy()).all()
    by_hand = (
        epochs["train_match"]
        + 0.25 * epochs["train_mask_l1"]
        + 0.1 * epochs["train_diversity"]
    )
    np.testing.assert_allclose(epochs["train_loss"], by_hand, rtol=1e-4)


def test_two_processes_train_one_interpreter(two_ranks, clap, tiny, short_zs):
    assert_alive(two_ranks("train_lmac_zs.py", STFT, *tiny, *short_zs, clap))


def test_a_training_before_its_end_has_told_its_accuracy(
    call, clap, tiny, short, tmp_path, monkeypatch, capsys
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("speechbrain_lmac.training.experiment.fit_and_test", stop)
    with pytest.raises(KeyboardInterrupt):
        call(train_lmac_zs, STFT, *tiny, *short, clap, "--output_folder=out")
    assert "zero-shot accuracy: " in capsys.readouterr().out
    assert "zero-shot accuracy: " in (tmp_path / "out" / "log.txt").read_text()
    assert not (tmp_path / "out" / "training.json").exists()  # it is not finished


def test_resumed_is_undisturbed(call, trained, clap, tiny, tmp_path):
    options = [*tiny, "--batch_size=6", "--lr=0.0005", clap, "--output_folder=out"]
    schedule = "--lr_annealing={number_of_epochs: 2}"
    call(train_lmac_zs, STFT, *options, schedule, "--number_of_epochs=1")
    call(train_lmac_zs, STFT, *options, schedule, "--number_of_epochs=2")
    resumed = torch.load(tmp_path / "out" / "interpreter.ckpt")
    undisturbed = torch.load(trained / "interpreter.ckpt")
    for name, value in undisturbed.items():
        assert torch.equal(value, resumed[name]), name


@pytest.fixture
def ready(tiny, clap, trained):
    """Options of a command that explains."""
    return [*tiny, clap, f"--interpreter_checkpoint={trained}/interpreter.ckpt"]


def test_a_file_is_explained_for_each_prompt(call, toy, ready, tmp_path, capsys):
    clips = [toy / "audio" / name for name in ("5-24-A-0.wav", "5-25-A-1.wav")]
    prompts = [f"--prompt={prompt}" for prompt in PROMPTS]
    call(explain, STFT, *clips, *prompts, "--output_folder=out", *ready)
    table = pd.read_csv(tmp_path / "out" / "explanations.csv")
    assert table["prompt"].tolist() == [*PROMPTS, *PROMPTS]
    hum = "5-24-A-0_a-low-hum"
    assert table["name"][0] == hum and table["name"].is_unique
    for name in table["name"]:
        for part in ("_input.wav", "_explanation.wav", "_rest.wav", ".png"):
            assert (tmp_path / "out" / f"{name}{part}").is_file()
    names = ["similarity", "similarity_explanation", "similarity_rest"]
    assert table[names].abs().to_numpy().max() <= 1
    assert table["mask_mean"].nunique() == 4
    assert "similarity_explanation" in capsys.readouterr().out
    # What is told is what the towers say of the sound that is written.
    hparams, _, _ = load_experiment([str(ROOT / STFT), *ready])
    domain, classifier = (
        hparams["domain"],
        hparams["classifier"].with_prompts(PROMPTS, None),
    )
    for part, told in (("input", "similarity"), ("explanation", names[1])):
        wav, _ = soundfile.read(tmp_path / "out" / f"{hum}_{part}.wav", dtype="float32")
        whole, _ = soundfile.read(tmp_path / "out" / f"{hum}_input.wav")
        level = float(np.abs(whole).max())
        features = domain.features(domain.encode(torch.tensor(wav)[None] / level))
        near = classifier.audio(features).embedding[0] @ classifier.text[0]
        # The inverse STFT of what was masked is not its STFT again.
        assert table[told][0] == pytest.approx(near.item(), abs=0.02)


def test_a_target_is_named_by_its_class(call, toy, ready, tmp_path):
    clip = toy / "audio" / "5-24-A-0.wav"
    rows = {}
    for target in ("chirp", "hum"):
        folder = f"--output_folder={tmp_path / target}"
        call(explain, STFT, clip, f"--target={target}", folder, *ready)
        table = pd.read_csv(tmp_path / target / "explanations.csv")
        (rows[target],) = table.to_dict("records")
        assert rows[target]["explained"] == target
    assert rows["chirp"]["mask_mean"] != rows["hum"]["mask_mean"]


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--prompt="], "words"),
        (["--prompt=hum", "--prompt= hum "], "repeated hum"),
        (["--prompt=hum", "--target=hum"], "target"),
        (["--prompt=hippopotamus"], "hippopotamus"),
    ],
)
def test_invalid_prompts(refused, toy, ready, tmp_path, options, expected):
    clip = toy / "audio" / "5-24-A-0.wav"
    folder = f"--output_folder={tmp_path / 'out'}"
    assert expected in refused(explain, STFT, clip, *options, folder, *ready)


def test_prompts_need_a_classifier_with_text(
    refused, toy, classifier, interpreter, tiny, tmp_path
):
    clip = toy / "audio" / "5-24-A-0.wav"
    options = [*tiny, classifier, interpreter, f"--output_folder={tmp_path / 'out'}"]
    message = refused(explain, "hparams/toy_lmac.yaml", clip, "--prompt=hum", *options)
    assert "esc10_lmac_zs_stft.yaml" in message


def test_prompts_need_an_interpreter_with_a_condition(
    refused, toy, ready, tiny, tmp_path
):
    text = (
        f"parent: {STFT}\n"
        "interpreter: !include:parts/interpreter/conv.yaml\n"
        "    hidden_channels: !ref <clap[audio][channels]>\n"
        "    widths: [12, 16, 24, 32]\n"
        "    frequency:\n        sample_rate: !ref <sample_rate>\n"
    )
    (tmp_path / "unconditioned.yaml").write_text(text)
    clip = toy / "audio" / "5-24-A-0.wav"
    options = ["--prompt=hum", f"--output_folder={tmp_path / 'out'}", *ready]
    message = refused(explain, tmp_path / "unconditioned.yaml", clip, *options)
    assert "train_lmac_zs.py" in message


def test_pairs_at_once_is_a_count(refused, clap, tiny, short):
    options = [*tiny, *short, clap, "--pairs_at_once=0"]
    message = refused(train_lmac_zs, STFT, *options)
    assert "pairs_at_once" in message and "got 0" in message


def test_the_tables_compare_both_domains(call, ready, trained, clap, tiny, tmp_path):
    options = [*tiny, clap, "--number_of_epochs=1", "--batch_size=16"]
    call(train_lmac_zs, MEL, *options, "--output_folder=mel")
    stft = {"LMAC-ZS": trained, "LMAC-ZS, sources": trained}
    blocks = {"STFT": stft, "Mel": {"LMAC-ZS": "mel"}}
    options = [*tiny, clap, f"--blocks={json.dumps(blocks, default=str)}"]
    options += ["--conditions=clean,noise", "--n_clips=2", "--output_folder=out"]
    call(run_evaluation, "tests/hparams/toy_zs_table.yaml", *options)
    rows = pd.read_csv(tmp_path / "out" / "per_clip.csv")
    methods = ["GradCAM", "GradCAM++", "SmoothGrad", "IG", "LMAC-ZS"]
    controls = ["random cells", "random blocks", "all ones"]
    for block in ("STFT", "Mel"):
        own = rows[rows["block"] == block]
        sources = ["LMAC-ZS, sources"] if block == "STFT" else []
        assert own["method"].unique().tolist() == [*methods, *sources, *controls]
        assert own["condition"].unique().tolist() == ["clean", "noise"]
        ones = own[own["method"] == "all ones"]
        assert (ones[["AI", "AD", "AG"]] == 0).all(axis=None)


def test_ablations_train_by_their_recipe(call, clap, tiny, tmp_path, warm_children):
    short = ["--number_of_epochs=1", "--batch_size=16", clap, "--device=cpu"]
    short += ["--dataset={clip_seconds: 1.0}"]
    options = f"--options={json.dumps(short)}"
    few = "--experiments=LMAC-ZS,attention"
    yaml = ROOT / "hparams" / "toy_zs_ablations.yaml"
    call(run_ablations, yaml, *tiny, options, few, "--output_folder=out")
    rows = pd.read_csv(tmp_path / "out" / "per_clip.csv")
    assert rows["method"].unique().tolist() == ["LMAC-ZS", "attention"]
    by_method = rows.groupby("method")["MM"].mean()
    assert by_method["LMAC-ZS"] != by_method["attention"]
