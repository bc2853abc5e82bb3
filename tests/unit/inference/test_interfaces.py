"""The shipped models and the two classes that read models, as a user calls them."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_lmac.domains.stft import zero_padding
from speechbrain_lmac.dsp.toy_sounds import render_clip
from speechbrain_lmac.hub.registry import (
    RECORD,
    SHIPPED,
    find_model,
    model_file,
    model_lines,
    read_record,
    shipped_files,
    shipped_models,
)
from speechbrain_lmac.hub.weights import fetch
from speechbrain_lmac.inference import AudioClassifier, AudioExplainer
from speechbrain_lmac.inference.explain_file import explain_file
from speechbrain_lmac.inference.results import FileExplanation, PromptExplanation
from speechbrain_lmac.utils.errors import InputError

CPU = {"device": "cpu"}
RATE = 16000
NAMES = sorted(shipped_models())
EXPLAINERS = [name for name in NAMES if name != "esc10-classifier"]


@pytest.fixture(scope="module")
def loaded():
    """`loaded(name)`: an explainer, once."""
    models = {}

    def load(name):
        if name not in models:
            models[name] = AudioExplainer.from_hparams(name, run_opts=CPU)
        return models[name]

    return load


@pytest.fixture
def copied(tmp_path):
    """A shipped model as a folder of its own."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name, path in shipped_files("esc10-lmac").items():
        shutil.copy(path, folder / name)
    return folder


def clip(index=0, seconds=1.0):
    """A generated sound, (N,), whose peak is not 1."""
    samples = render_clip(1234, index, RATE, seconds)["clip"]
    return torch.from_numpy(samples / 32768.0).float()


def write(path, wav, rate=RATE):
    soundfile.write(path, np.asarray(wav), rate, subtype="FLOAT")
    return path


# --- The shipped models ---------------------------------------------------------------


def test_these_models_come_with_the_package():
    assert set(NAMES) == {
        *("esc10-classifier", "esc10-lmac", "esc10-lmac-finetuned"),
        *("esc10-lmac-td", "esc10-lmac-zs"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_small_licensed_and_credited(name):
    folder, record = shipped_models()[name], read_record(shipped_models()[name])
    assert sum(path.stat().st_size for path in shipped_files(name).values()) <= 4e6
    assert record.name == name
    assert record.license == "cc-by-3.0" and "freesound" in record.credit
    assert all(command.startswith("python recipes/") for command in record.commands)
    assert record.metrics["accuracy"]["n"] == 80
    card = (folder / "README.md").read_text(encoding="utf-8")
    for told in (record.license, record.credit, *record.commands, *record.classes):
        assert told in card


def test_all_shipped_models_are_small():
    files = [path for folder in shipped_models().values() for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) <= 20e6


def test_each_file_of_weights_is_shipped_once():
    folders = shipped_models().values()
    weights = [path.read_bytes() for f in folders for path in f.glob("*.ckpt")]
    assert len(set(weights)) == len(weights) and len(weights) == 8
    shared = shipped_files("esc10-lmac")["model.ckpt"]
    assert shared == shipped_models()["esc10-classifier"] / "model.ckpt"


def test_a_shipped_model_is_loaded_the_safe_way_whatever_is_asked(loaded):
    trusted = AudioExplainer.from_hparams(
        "esc10-lmac", trust_remote_code=True, run_opts=CPU
    )
    wav = clip(0)[None]
    assert torch.equal(
        trusted.explain_batch(wav).mask, loaded("esc10-lmac").explain_batch(wav).mask
    )


def test_the_list_of_models_has_a_line_for_each():
    head, *lines = model_lines()
    assert [line.split()[0] for line in lines] == NAMES
    fid = read_record(shipped_models()["esc10-lmac"]).metrics["Fid-In"]["mean"]
    (line,) = [line for line in lines if line.startswith("esc10-lmac ")]
    assert f"Fid-In {fid:.3g}" in line and "L-MAC" in line and "MB" in line


@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_example_of_a_model_is_what_it_says_today(loaded, name):
    folder = shipped_models()[name]
    explained = loaded(name).explain_file(folder / "example.wav")
    for part in ("explanation", "rest"):
        wav, _ = soundfile.read(folder / f"example_{part}.wav", dtype="float32")
        difference = np.abs(getattr(explained, part).numpy() - wav).max()
        assert difference <= 2 / 32768  # 16 bits


# --- Batches --------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_batch_is_explained_at_the_inputs_length_and_level(loaded, name):
    model = loaded(name)
    wavs = torch.stack([clip(0), 0.1 * clip(0), clip(1)])
    explained = model.explain_batch(wavs)
    assert explained.explanation.shape == explained.rest.shape == wavs.shape
    assert explained.mask.shape == explained.magnitude.shape
    assert 0 <= explained.mask.min() and explained.mask.max() <= 1
    assert len(explained.labels) == len(explained.predicted) == 3
    assert explained.labels == explained.predicted
    assert set(explained.labels) <= set(model.labels)
    for share in (explained.confidence, explained.confidence_in):
        assert share.shape == (3,) and 0 <= share.min() and share.max() <= 1
    # The level changes what is heard, and nothing else.
    torch.testing.assert_close(explained.mask[0], explained.mask[1], atol=1e-3, rtol=0)
    quieter = 0.1 * explained.explanation[0]
    assert (explained.explanation[1] - quieter).abs().max() < 1e-3 * quieter.abs().max()
    assert not any(p.requires_grad for p in model.mods.parameters())


def test_a_file_is_explained_as_a_batch_of_one(loaded, tmp_path):
    model, wav = loaded("esc10-lmac"), clip(2)
    from_file = model.explain_file(write(tmp_path / "a.wav", wav))
    from_batch = model.explain_batch(wav[None])
    torch.testing.assert_close(from_file.explanation, from_batch.explanation[0])
    torch.testing.assert_close(from_file.mask, from_batch.mask[0])
    assert from_file.explained == from_batch.labels[0]
    assert from_file.confidence_in == pytest.approx(from_batch.confidence_in.item())
    assert isinstance(from_file, FileExplanation) and len(from_file.windows) == 1


def test_what_lies_behind_a_recording_does_not_count(loaded):
    model, lens = loaded("esc10-lmac"), torch.tensor([0.5, 1.0])
    wavs = torch.stack([clip(0), clip(1)])
    other = wavs.clone()
    other[0, RATE // 2 :] = 0.9
    one, two = (model.explain_batch(w, lens) for w in (wavs, other))
    assert torch.equal(one.mask, two.mask)
    assert torch.equal(one.explanation, two.explanation)
    assert not torch.equal(one.mask, model.explain_batch(wavs).mask)
    assert torch.equal(model(wavs, lens).mask, one.mask)
    assert not zero_padding(other, lens)[0, RATE // 2 :].any()


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_padded_clip_is_explained_as_it_is_alone(name, loaded):
    model = loaded(name)
    recorded = (5000, 16000, 5000, 11000)
    wavs = torch.stack([clip(i) for i in range(4)])
    found = model.explain_batch(wavs, torch.tensor(recorded) / 16000, check=True)
    for item, n in enumerate(recorded):
        alone = model.explain_batch(wavs[item : item + 1, :n], check=True)
        for field, value in vars(alone).items():
            padded = getattr(found, field)[item]
            if not torch.is_tensor(value):
                assert padded == value[0], field
                continue
            own = value[0]
            if own.dim() and not field.startswith("logits"):
                assert not padded[len(own) :].any()
                assert len(padded) == (16000 if own.dim() == 1 else 87)
                padded = padded[: len(own)]
            torch.testing.assert_close(padded, own, rtol=1e-4, atol=1e-5, msg=field)


def test_a_target_of_each_clip_stays_with_it(loaded):
    model = loaded("esc10-lmac-zs")
    wavs, lens = torch.stack([clip(i) for i in range(3)]), torch.tensor([0.9, 1.0, 0.3])
    names = [model.labels[i] for i in (4, 0, 2)]
    assert model.explain_batch(wavs, lens, names).labels == names


def test_a_padded_clip_is_classified_as_it_is_alone():
    model = AudioClassifier.from_hparams("esc10-classifier", run_opts=CPU)
    wavs = torch.stack([clip(0), clip(1)])
    wavs[0, 5000:] = 0.9
    found, *_ = model.classify_batch(wavs, torch.tensor([5000 / 16000, 1.0]))
    alone, *_ = model.classify_batch(wavs[:1, :5000])
    torch.testing.assert_close(found[0], alone[0], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(model.classify_batch(wavs)[0][0], alone[0], atol=0.01)


@pytest.mark.parametrize(
    "wavs, lens, named",
    [
        (torch.zeros(16000), None, r"got \(16000,\)"),
        (torch.zeros(2, 0), None, r"got \(2, 0\)"),
        (torch.zeros(1, 2, 100), None, r"got \(1, 2, 100\)"),
        (torch.tensor([[0.0, 1.0], [0.0, float("nan")]]), None, r"waveforms \[1\]"),
        (torch.zeros(2, 100), torch.tensor([0.5]), "lens"),
        (torch.zeros(1, 100), torch.tensor([1.5]), "lens.*1.5"),
    ],
)
def test_a_wrong_batch_is_refused(loaded, wavs, lens, named):
    with pytest.raises(ValueError, match=named):
        loaded("esc10-lmac").explain_batch(wavs, lens)


# --- What is asked for ----------------------------------------------------------------


def test_a_zero_shot_model_answers_each_prompt(loaded, tmp_path):
    model = loaded("esc10-lmac-zs")
    path = write(tmp_path / "a.wav", clip(0))
    dog, rain = model.explain_file(path, prompts=["a dog barking", "rain on a roof"])
    assert isinstance(dog, PromptExplanation)
    assert (dog.explained, rain.explained) == ("a dog barking", "rain on a roof")
    assert not torch.equal(dog.mask, rain.mask)
    assert -1 <= dog.similarity <= 1
    (alone,) = model.explain_file(path, prompts=["a dog barking"])
    torch.testing.assert_close(alone.mask, dog.mask, rtol=1e-4, atol=1e-5)
    assert alone.similarity == pytest.approx(dog.similarity)
    by_class = model.explain_file(path, target="dog")
    assert by_class.explained == "dog"


@pytest.mark.parametrize(
    "name, request_of, named",
    [
        ("esc10-lmac", {"target": "dog"}, "lmac_conditional.yaml"),
        ("esc10-lmac", {"prompts": ["dog"]}, "esc10_lmac_zs_stft.yaml"),
        ("esc10-lmac-zs", {"prompts": [""]}, "every prompt"),
        ("esc10-lmac-zs", {"prompts": ["dog", "dog"]}, "prompt.*dog"),
        ("esc10-lmac-zs", {"prompts": ["qwertz"]}, "qwertz"),
        ("esc10-lmac-zs", {"prompts": ["dog"], "target": "dog"}, "target and prompts"),
        ("esc10-lmac-zs", {"target": "dgo"}, "did you mean dog"),
    ],
)
def test_a_target_or_prompt_that_the_mask_does_not_depend_on_is_refused(
    loaded, tmp_path, name, request_of, named
):
    path = write(tmp_path / "a.wav", clip(0))
    with pytest.raises(InputError, match=named):
        loaded(name).explain_file(path, **request_of)


def test_targets_of_a_batch(loaded):
    model = loaded("esc10-lmac-zs")
    wavs = torch.stack([clip(0), clip(0)])
    both = model.explain_batch(wavs, target=["dog", "rain"])
    assert both.labels == ["dog", "rain"]
    assert not torch.equal(both.mask[0], both.mask[1])
    assert model.explain_batch(wavs, target="rain").labels == ["rain", "rain"]
    with pytest.raises(InputError, match=r"\b1 targets .*\b2\b"):
        model.explain_batch(wavs, target=["dog"])


# --- Long files -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """Fourteen seconds of generated sounds, in stereo at 22050 Hz."""
    parts = [render_clip(1234, index, 22050, 3.5)["clip"] / 32768 for index in range(4)]
    wav = np.concatenate(parts)
    path = tmp_path_factory.mktemp("long") / "long.wav"
    return write(path, np.stack([wav, wav], 1), 22050)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_long_file_is_explained_in_windows(loaded, long_file, name):
    model = loaded(name)
    explained = model.explain_file(long_file)
    assert explained.input.shape == explained.explanation.shape == (4 * 77175,)
    assert explained.mask.shape == (14 * RATE // 186 + 1, 513)
    for maps in (explained.mask, explained.magnitude, explained.explanation):
        assert torch.isfinite(maps).all()
    assert 0 <= explained.mask.min() and explained.mask.max() <= 1 + 1e-5
    windows = explained.windows
    assert windows[0].start == 0 and windows[-1].end == pytest.approx(14, abs=1e-3)
    assert all(w.end - w.start == pytest.approx(5, abs=0.02) for w in windows)
    assert all(b.start < a.end for a, b in zip(windows, windows[1:], strict=False))
    for which in ("confidence", "confidence_in", "confidence_out"):
        mean = np.mean([getattr(window, which) for window in windows])
        assert getattr(explained, which) == pytest.approx(mean)


def test_the_first_window_is_explained_as_the_beginning_alone(loaded, long_file):
    model = loaded("esc10-lmac")
    explained = model.explain_file(long_file)
    first = explained.windows[0]
    assert explained.windows[1].start > 2
    wav, _ = soundfile.read(long_file, dtype="float32")
    from torchaudio.functional import resample

    heard = resample(torch.from_numpy(wav[:, 0]), 22050, RATE)
    alone = model.explain_batch(heard[None, : round(first.end * RATE)])
    # Until the second window begins, nothing else is heard.
    n_frames = int(explained.windows[1].start * RATE / 186) - 1
    torch.testing.assert_close(
        explained.mask[:n_frames], alone.mask[0, :n_frames], rtol=1e-4, atol=1e-5
    )
    assert first.predicted == first.explained == alone.predicted[0]


@pytest.mark.parametrize("seconds, n_windows", [(5.01, 1), (7.49, 1), (7.51, 3)])
def test_a_file_a_little_longer_than_a_window_is_heard_as_a_whole(
    loaded, tmp_path, seconds, n_windows
):
    path = write(tmp_path / "a.wav", clip(0, seconds))
    assert len(loaded("esc10-lmac").explain_file(path).windows) == n_windows


def test_the_windows_of_a_target_are_all_explained_for_it(loaded, long_file):
    explained = loaded("esc10-lmac-zs").explain_file(long_file, target="dog")
    assert explained.explained == "dog"
    assert {window.explained for window in explained.windows} == {"dog"}


def test_windows_are_joined_without_clicks(loaded, tmp_path):
    # A steady tone at the level 0.5: where windows meet nothing may jump.
    model = loaded("esc10-lmac")
    time = torch.arange(14 * RATE) / RATE
    path = write(tmp_path / "tone.wav", 0.5 * torch.sin(2 * torch.pi * 440 * time))
    explained = model.explain_file(path)
    steps = explained.explanation.diff(n=2).abs()
    edges = {round(w.start * RATE) for w in explained.windows[1:]}
    edges |= {round(w.end * RATE) for w in explained.windows[:-1]}
    at_edges = max(steps[edge - 5 : edge + 5].max() for edge in edges)
    # A click would stand out from the tone's own curvature, 0.5 (2 pi 440 / 16000)^2.
    assert at_edges <= 1.1 * 0.5 * (2 * np.pi * 440 / RATE) ** 2


def test_windows_of_the_whole_are_the_input(loaded, long_file):
    from speechbrain_lmac.explainers import AllOnesExplainer

    model = loaded("esc10-lmac")
    everything = AllOnesExplainer(model.mods.domain, model.classifier)
    explained = explain_file(
        everything, long_file, model.labels, window_seconds=model.window_seconds
    )
    error = (explained.explanation - explained.input).square().sum()
    assert error / explained.input.square().sum() < 1e-4
    assert len(explained.windows) == 5


# --- Classifiers ----------------------------------------------------------------------


def test_the_classifier_of_a_model_is_the_classifier(loaded, tmp_path):
    alone = AudioClassifier.from_hparams("esc10-classifier", run_opts=CPU)
    within = AudioClassifier.from_hparams("esc10-lmac", run_opts=CPU)
    wavs = torch.stack([clip(0), clip(1)])
    probabilities, score, index, labels = alone.classify_batch(wavs)
    assert torch.equal(probabilities, within.classify_batch(wavs)[0])
    assert torch.equal(score, probabilities.max(1).values)
    assert labels == [alone.labels[i] for i in index]
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    assert labels == loaded("esc10-lmac").explain_batch(wavs).predicted


def test_a_long_file_is_classified_by_the_mean_of_its_windows(loaded, long_file):
    model = AudioClassifier.from_hparams("esc10-classifier", run_opts=CPU)
    probabilities, score, index, labels = model.classify_file(long_file)
    assert probabilities.shape == (1, 10)
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    assert labels == [loaded("esc10-lmac").explain_file(long_file).predicted]


# --- Where models are -----------------------------------------------------------------


@pytest.mark.parametrize(
    "source, named",
    [
        ("esc10-lmca", r"'esc10-lmca'.* esc10-lmac\?"),
        ("results/esc10_lmac/1234/save", "'results/esc10_lmac/1234/save'"),
        ("results/nothing", "'results/nothing'.*esc10-lmac"),
        ("", "''|hyperparams.yaml"),
    ],
)
def test_an_unknown_model(source, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=named):
        AudioExplainer.from_hparams(source)


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", "", ".", ".."])
def test_files_outside_of_a_model_are_refused(name):
    with pytest.raises(InputError, match=re.escape(repr(name))):
        model_file(find_model("esc10-lmac"), name)


def test_a_link_out_of_a_model_is_refused(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / RECORD).symlink_to(shipped_models()["esc10-lmac"] / RECORD)
    with pytest.raises(InputError, match=f"{RECORD}.*link"):
        model_file(tmp_path / "model", RECORD)


@pytest.mark.parametrize("name", ["hyperparams.yaml", "model.ckpt", "README.md"])
@pytest.mark.parametrize("target", ["/dev/zero", "fifo", "loop", "nothing", "folder"])
def test_a_file_that_cannot_be_read_is_one_error(copied, tmp_path, name, target):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (copied / name).unlink()
    (copied / name).symlink_to(target if target[0] == "/" else tmp_path / target)
    with pytest.raises(InputError, match=f"{name}.*(cannot be read|device)") as caught:
        model_file(find_model(copied), name)
    assert "\n" not in str(caught.value)


def test_a_fifo_in_the_folder_is_one_error(copied):
    (copied / "model.ckpt").unlink()
    os.mkfifo(copied / "model.ckpt")
    with pytest.raises(InputError, match="model.ckpt.*device"):
        AudioExplainer.from_hparams(copied, run_opts=CPU)


def test_a_snapshot_in_the_cache_of_the_hub_is_a_model(copied, tmp_path):
    cache = tmp_path / "models--u--n"
    snapshot = cache / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for number, path in enumerate(copied.iterdir()):
        path.rename(cache / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    model = AudioExplainer.from_hparams(snapshot, run_opts=CPU)
    assert model.labels[0] == "chainsaw"
    # A link to it is one, too, and so is a folder of links to it.
    (tmp_path / "link").symlink_to(snapshot)
    AudioExplainer.from_hparams(tmp_path / "link", run_opts=CPU)
    AudioExplainer.from_hparams(links_to(snapshot, tmp_path / "links"), run_opts=CPU)
    # What lies beside the repository is not of it.
    (tmp_path / "secret").write_text("secret")
    (snapshot / "README.md").unlink()
    (snapshot / "README.md").symlink_to("../../../secret")
    with pytest.raises(InputError, match="README.md.*link"):
        model_file(find_model(snapshot), "README.md")


def links_to(model, folder):
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def test_a_folder_of_links_to_a_model_is_a_model(copied, tmp_path):
    links = links_to(copied, tmp_path / "links")
    AudioExplainer.from_hparams(links, run_opts=CPU)
    AudioExplainer.from_hparams(links_to(links, tmp_path / "again"), run_opts=CPU)
    # With a YAML of its own it is another model, whose links lead out.
    (links / "hyperparams.yaml").unlink()
    shutil.copy(copied / "hyperparams.yaml", links)
    with pytest.raises(InputError, match="model.ckpt.*link"):
        AudioExplainer.from_hparams(links, run_opts=CPU)


def test_a_link_makes_no_model_of_any_folder(copied, tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "README.md").write_text("secret")
    (tmp_path / "secrets" / "settings.yaml").write_text("a: 1\n")
    for name in ("README.md", "hyperparams.yaml"):
        (copied / name).unlink()
    (copied / "README.md").symlink_to(tmp_path / "secrets" / "README.md")
    for yaml in ("settings.yaml", "hyperparams.yaml"):  # the latter is not there
        link = copied / "hyperparams.yaml"
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / "secrets" / yaml)
        with pytest.raises(InputError, match="README.md.*link"):
            model_file(find_model(copied), "README.md")


def test_a_folder_called_like_a_shipped_model_is_one_only_with_a_yaml(
    copied, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("esc10-lmac").mkdir()
    Path("esc10-lmac", "explanations.csv").write_text("x\n")
    assert find_model("esc10-lmac") == shipped_models()["esc10-lmac"]
    assert fetch("esc10-lmac", "model.ckpt").is_relative_to(SHIPPED)
    shutil.rmtree("esc10-lmac")
    copied.rename("esc10-lmac")
    assert find_model("esc10-lmac") == Path("esc10-lmac")
    assert fetch("esc10-lmac", "model.ckpt") == Path("esc10-lmac", "model.ckpt")


@pytest.mark.parametrize(
    "before, after, named",
    [
        ("window_seconds: 5.0", "window_seconds: -1", "window_seconds"),
        ("window_seconds: 5.0", "window_seconds: x", "window_seconds"),
        ("!name:speechbrain_lmac.explainers.AmortizedExplainer", "x", "explainer"),
        ("    model: !ref <model>\n    interp", "    interp", "model"),
        ("        interpreter: !ref <interpreter>\n", "", "interpreter"),
        ("channels: [16, 32", "channels: [8, 32", "CompactClassifier"),
        ("n_mels: 80\nmodel", "n_mels: eighty\nmodel", "n_mels|eighty"),
    ],
)
def test_a_model_whose_parts_do_not_fit_is_one_error(copied, before, after, named):
    path = copied / "hyperparams.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(InputError, match=named):
        AudioExplainer.from_hparams(copied, run_opts=CPU)


@pytest.mark.parametrize("name", ["model.ckpt", "label_encoder.ckpt"])
def test_a_missing_file_of_a_model(copied, name):
    (copied / name).unlink()
    with pytest.raises(InputError, match=f"(no|missing) file.* {name}"):
        AudioExplainer.from_hparams(copied, run_opts=CPU)


def test_class_names_of_another_model(copied):
    (copied / "label_encoder.ckpt").write_text(
        "'dog' => 0\n================\n'starting_index' => 0\n"
    )
    with pytest.raises(InputError, match="label_encoder.ckpt .* 10 .* got 1$"):
        AudioExplainer.from_hparams(copied, run_opts=CPU)


def test_a_classifier_explains_nothing():
    with pytest.raises(InputError, match="AudioExplainer .*'interpreter'"):
        AudioExplainer.from_hparams("esc10-classifier")
