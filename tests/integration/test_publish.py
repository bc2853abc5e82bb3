"""Publishing of a training as a model folder, and loading it from disk and hub."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from huggingface_hub import ModelCard, metadata_load

from recipes.publish import publish
from speechbrain_lmac.hub.registry import model_text, read_record
from speechbrain_lmac.hub.remote import Upload
from speechbrain_lmac.hub.weights import SAFETENSORS, read_weights, save_weights
from speechbrain_lmac.inference import AudioClassifier, AudioExplainer
from speechbrain_lmac.publishing.model_card import NON_COMMERCIAL, model_card
from speechbrain_lmac.publishing.publish import check_license
from speechbrain_lmac.utils.errors import InputError
from tests.hub_server import Hub, running

ROOT = Path(__file__).resolve().parents[2]
# The commands below load what they made in a process that starts.
pytestmark = pytest.mark.usefixtures("warm_children")
DRY = ("--repo=me/toy-lmac", "--dry-run")
CPU = {"device": "cpu"}


def card_body(folder):
    return (folder / "README.md").read_text().split("---\n", 2)[2]


@pytest.fixture(scope="module")
def published(run, trained_lmac, tmp_path_factory):
    """The folder of the command line, from inside recipes/."""
    folder = tmp_path_factory.mktemp("published") / "toy-lmac"
    command = [sys.executable, "publish.py", trained_lmac, *DRY]
    done = run([*command, f"--model_folder={folder}"], ROOT / "recipes")
    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout
    for path in folder.iterdir():  # files, sizes and card are shown
        assert f"  {path.name} " in done.stdout
        assert f"{path.stat().st_size:,} bytes" in done.stdout
    assert (folder / "README.md").read_text() in done.stdout
    return folder


def test_the_folder_holds_everything_and_nothing_of_this_computer(published, toy):
    names = {path.name for path in published.iterdir()}
    assert names == {
        *("README.md", "hyperparams.yaml", "model.json", "custom_interface.py"),
        *("model.ckpt", "interpreter.ckpt", "label_encoder.ckpt", "label_encoder.txt"),
        *("model.safetensors", "interpreter.safetensors"),
        *("example.wav", "example_explanation.wav", "example_rest.wav"),
    }
    for path in published.iterdir():
        content = path.read_bytes()
        for local in (str(ROOT), str(toy), "!include", "/tmp/"):
            assert local.encode() not in content, (path, local)
    assert len((published / "custom_interface.py").read_text().splitlines()) == 3
    lengths = {soundfile.info(path).frames for path in published.glob("*.wav")}
    assert lengths == {5 * 16000}


def test_both_files_of_weights_hold_the_same(published, trained_lmac):
    for name in ("model", "interpreter"):
        both = [read_weights(published / f"{name}{s}") for s in (".ckpt", SAFETENSORS)]
        assert both[0].keys() == both[1].keys()
        for key, value in both[0].items():
            assert (
                torch.equal(value, both[1][key]) and value.dtype == both[1][key].dtype
            )
        assert vars(both[0]) == vars(both[1])
        assert ("classifier" in vars(both[0])) == (name == "interpreter")


def test_an_interpreter_of_another_classifier_is_refused(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "mixed")
    model = AudioClassifier.from_hparams(folder, run_opts=CPU).mods.model
    torch.nn.init.normal_(model.linear.bias)
    save_weights(model, folder / f"model{SAFETENSORS}")
    AudioClassifier.from_hparams(published, run_opts=CPU)
    with pytest.raises(InputError, match="a different classifier"):
        AudioExplainer.from_hparams(folder, run_opts=CPU)


def test_weights_of_data_of_several_licences_need_one():
    terms = {"name": "Clotho", "license": "other", "credit": "each its\n own"}
    with pytest.raises(InputError, match=r"Clotho.*\(each its own\).*--license="):
        check_license(None, terms)
    check_license("cc-by-nc-4.0", terms)


def test_weights_of_non_commercial_data_need_a_license(
    trained_lmac, call, refused, tmp_path, capsys
):
    folder = copied(
        trained_lmac,
        tmp_path / "nc",
        lambda text: text.replace("license: cc0-1.0", "license: cc-by-nc-3.0"),
    )
    assert "--license=cc-by-nc-3.0" in refused(publish, folder, *DRY)
    message = refused(publish, folder, *DRY, "--license=apache-2.0")
    assert "apache-2.0" in message and "commercial" in message
    assert "'my own'" in refused(publish, folder, *DRY, "--license=my own")
    assert not (folder / "model").exists()
    call(publish, folder, *DRY, "--license=cc-by-nc-4.0")
    assert read_record(folder / "model").license == "cc-by-nc-4.0"
    card = (folder / "model" / "README.md").read_text()
    assert NON_COMMERCIAL in card
    assert model_text(folder / "model").startswith("NOT FOR COMMERCIAL USE: cc-by-nc-4")


def test_the_hub_reads_every_score_of_the_card(published):
    card, record = ModelCard.load(published / "README.md"), read_record(published)
    assert card.data.model_name == record.name == "toy-lmac"
    assert [
        (result.metric_type, result.metric_name, result.metric_value)
        for result in card.data.eval_results
    ] == [(name, name, score["mean"]) for name, score in record.metrics.items()]
    for result in card.data.eval_results:
        assert result.task_type == "audio-classification"
        assert result.dataset_name == record.dataset == "generated sounds"
        assert result.dataset_type == "generated-sounds"
        assert result.dataset_split == "test"


def test_a_score_that_is_not_finite_stays_off_the_hub(published):
    record = read_record(published)
    record.metrics["AI"]["mean"] = float("nan")
    card = ModelCard(model_card(record, "me/toy-lmac", "mine"))
    named = [result.metric_name for result in card.data.eval_results]
    assert named == [name for name in record.metrics if name != "AI"]
    assert "AI" in card.data.metrics and "| AI ↑ | nan |" in card.text


def test_the_card_has_terms_commands_scores_and_citation(published):
    front, body = metadata_load(published / "README.md"), card_body(published)
    record = read_record(published)
    assert front["license"] == record.license == "cc0-1.0"
    assert front["library_name"] == "speechbrain"
    assert front["pipeline_tag"] == "audio-classification"
    assert front["datasets"] == ["generated sounds"]
    assert front["metrics"] == list(record.metrics)
    assert front["tags"][-1] == "l-mac"
    assert record.interface == "AudioExplainer" and record.method == "L-MAC"
    assert "--data_folder=DATASET" in record.commands[-1]
    for name, value in record.metrics.items():
        assert f"| {name}" in body and f"| {value['mean']:.4g} |" in body
        assert value["low"] <= value["mean"] <= value["high"] and value["n"] == 6
    assert 'AudioExplainer.from_hparams("me/toy-lmac")' in body
    assert "@inproceedings{paissan2024listenable" in body
    assert "`foreign_class(" in body


def test_the_same_training_makes_the_same_files(
    published, trained_lmac, call, tmp_path, monkeypatch, capsys
):
    # The hub has them already: tests/integration/test_hub.py.
    upload = Upload("me/toy-lmac", "URL", "c0", changed=False, files=())
    monkeypatch.setattr("recipes.publish.upload_model", lambda *_, **__: upload)
    folder = f"--model_folder={tmp_path / 'again'}"
    call(publish, trained_lmac, "--repo=me/toy-lmac", folder)
    printed = capsys.readouterr().out
    assert "URL" in printed and "commit c0" in printed and "unchanged" in printed
    for path in published.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path


def test_the_loaded_model_says_what_the_trained_one_says(
    published, trained_lmac, tiny, classifier, interpreter, call, toy, tmp_path
):
    from recipes.explain import explain

    clip = toy / "audio" / "5-24-A-0.wav"
    options = [*tiny, classifier, interpreter, f"--output_folder={tmp_path / 'out'}"]
    call(explain, "hparams/toy_lmac.yaml", clip, *options)
    explained = AudioExplainer.from_hparams(published, run_opts=CPU).explain_file(clip)
    wav, _ = soundfile.read(
        tmp_path / "out" / "5-24-A-0_explanation.wav", dtype="float32"
    )
    torch.testing.assert_close(explained.explanation, torch.from_numpy(wav))


def test_speechbrain_loads_it_too(published, toy, tmp_path):
    from speechbrain.inference.interfaces import foreign_class

    clip = toy / "audio" / "5-24-A-0.wav"
    copied = shutil.copytree(published, tmp_path / "copied")  # bytecode is left in it
    theirs = foreign_class(
        source=str(copied),
        pymodule_file="custom_interface.py",
        classname="AudioExplainer",
        run_opts=CPU,
    )
    ours = AudioExplainer.from_hparams(published, run_opts=CPU)
    trusted = AudioExplainer.from_hparams(
        published, trust_remote_code=True, run_opts=CPU
    )
    wanted = ours.explain_file(clip)
    for model in (theirs, trusted):
        got = model.explain_file(clip)
        assert got.row() == wanted.row()
        assert torch.equal(got.mask, wanted.mask)


def test_a_classifier_is_published_and_named_as_a_source(
    trained_classifier, call, refused, tiny, short, tmp_path
):
    from recipes.train_lmac import train_lmac

    folder = tmp_path / "classifier"
    call(publish, trained_classifier, *DRY, f"--model_folder={folder}")
    assert read_record(folder).method == "classifier"
    assert list(read_record(folder).metrics) == ["accuracy"]
    model = AudioClassifier.from_hparams(folder, run_opts=CPU)
    probabilities, score, index, labels = model.classify_file(folder / "example.wav")
    assert probabilities.shape == (1, 6) and labels == [model.labels[int(index)]]
    assert score.item() == pytest.approx(probabilities.max().item())
    with pytest.raises(InputError, match="AudioExplainer .*'interpreter'"):
        AudioExplainer.from_hparams(folder)
    source = f"--classifier_source={folder}"
    out = f"--output_folder={tmp_path / 'trained'}"
    call(train_lmac, "hparams/toy_lmac.yaml", *tiny, *short, source, out)
    assert (tmp_path / "trained" / "interpreter.ckpt").is_file()


def test_l2i_is_published(trained_l2i, call, tmp_path):
    folder = tmp_path / "l2i"
    call(publish, trained_l2i, *DRY, f"--model_folder={folder}")
    assert read_record(folder).method == "L2I"
    model = AudioExplainer.from_hparams(folder, run_opts=CPU)
    one, other = (
        model.explain_file(folder / "example.wav", target=label)
        for label in model.labels[:2]
    )
    assert not torch.equal(one.mask, other.mask)  # L2I answers for any class


def test_an_example_of_ones_own_needs_its_credit(
    trained_lmac, call, refused, toy, tmp_path
):
    clip, folder = toy / "audio" / "5-24-A-0.wav", tmp_path / "model"
    assert "--credit" in refused(publish, trained_lmac, *DRY, f"--example={clip}")
    own = [f"--example={clip}", "--credit=by me, CC0", f"--model_folder={folder}"]
    call(publish, trained_lmac, *DRY, *own)
    assert soundfile.info(folder / "example.wav").frames == 16000
    assert "`example.wav`: by me, CC0" in (folder / "README.md").read_text()


def copied(folder, to, change=lambda text: text):
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("save", "model"))
    path = to / "hyperparams.yaml"
    path.write_text(change(path.read_text()))
    return to


@pytest.mark.parametrize(
    "repo", ["name", "a/b/c", "me/", "me/a b", "--", "https://hf.co/me/x"]
)
def test_a_wrong_name_is_refused_first(trained_lmac, refused, repo):
    message = refused(publish, trained_lmac, f"--repo={repo}", "--dry-run")
    assert "USER/NAME" in message


def test_what_is_no_finished_training_is_refused(
    trained_lmac, trained_lmac_mel, trained_nmf, refused, tmp_path
):
    assert "missing hyperparams.yaml" in refused(publish, tmp_path / "x", *DRY)
    half = copied(trained_lmac, tmp_path / "half")
    (half / "training.json").unlink()
    assert "finished" in refused(publish, half, *DRY)
    assert "STFT" in refused(publish, trained_lmac_mel, *DRY)
    assert "an interpreter" in refused(publish, trained_nmf, *DRY)


def test_a_classifier_that_is_not_where_it_was(
    trained_lmac, refused, tmp_path, monkeypatch
):
    # The name of the folder could be one of the hub, which is asked again and again.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    moved = copied(
        trained_lmac,
        tmp_path / "moved",
        lambda text: re.sub(r"( +source:)\s+\S+", r"\1 gone/classifier", text),
    )
    message = refused(publish, moved, *DRY)
    assert "gone/classifier" in message and "hyperparams.yaml" in message


def test_without_the_terms_of_the_data_nothing_is_published(
    trained_lmac, refused, tmp_path
):
    before = copied(
        trained_lmac,
        tmp_path / "before",
        lambda text: text.replace("license: cc0-1.0", "license: null"),
    )
    assert "terms: license" in refused(publish, before, *DRY)


def test_a_folder_that_holds_something_else_is_left_alone(
    trained_lmac, refused, tmp_path
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    other = f"--model_folder={tmp_path / 'mine'}"
    assert "no model.json" in refused(publish, trained_lmac, *DRY, other)


def test_a_result_folder_is_no_model(trained_lmac):
    with pytest.raises(InputError, match="speechbrain-lmac publish RESULTS"):
        AudioExplainer.from_hparams(trained_lmac)


STRANGER = """\
import json, sys
from speechbrain_lmac.inference import AudioExplainer
model = AudioExplainer.from_hparams("me/toy-lmac", run_opts={"device": "cpu"})
print(json.dumps(model.explain_file(sys.argv[1]).row()))
"""


def test_from_the_results_to_the_hub_and_to_a_stranger(trained_lmac, toy, tmp_path):
    clip = str(toy / "audio" / "5-24-A-0.wav")
    with running(Hub()) as hub:
        settings = {
            **{k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": hub.token,
            "OMP_NUM_THREADS": "1",
        }

        def run(*command, home):
            return subprocess.run(
                [sys.executable, *map(str, command)],
                cwd=tmp_path,
                env={**settings, "HF_HOME": str(tmp_path / home)},
                capture_output=True,
                text=True,
            )

        script = [ROOT / "recipes/publish.py", trained_lmac, "--repo=me/toy-lmac"]
        options = ["--private", "--verify", f"--model_folder={tmp_path / 'model'}"]
        done = run(*script, *options, home="mine")
        assert done.returncode == 0, done.stderr
        assert "uploaded, commit " in done.stdout
        assert len(hub.repos["me/toy-lmac"].commits) == 2
        assert hub.token not in done.stdout + done.stderr

        theirs = run("-c", STRANGER, clip, home="theirs")
        assert theirs.returncode == 0, theirs.stderr
        ours = AudioExplainer.from_hparams(tmp_path / "model", run_opts=CPU)
        row = json.loads(theirs.stdout.splitlines()[-1])
        assert row == pytest.approx(ours.explain_file(clip).row())
        # The verification fetches everything; a stranger fetches what is needed.
        assert hub.count("GET .*/resolve/.*/model.safetensors") == 2
        assert hub.count("GET .*/resolve/.*/model.ckpt") == 1
        assert hub.count("GET .*/resolve/.*/custom_interface.py") == 1
