"""Writing and reading classifiers, and what is said when it does not work."""

from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from speechbrain.lobes.models.Cnn14 import Cnn14

from speechbrain_lmac.classifiers import CNN14Classifier, CompactClassifier
from speechbrain_lmac.classifiers.checkpoint import load_classifier, save_classifier
from speechbrain_lmac.hub.weights import load_weights, save_weights
from speechbrain_lmac.utils.errors import InputError

LABELS = ["zebra", "dog barking", 'cat\'s "meow"', "grüße"]  # not sorted, awkward


def compact(n_classes=4, seed=0):
    torch.manual_seed(seed)
    model = CompactClassifier(n_classes, n_mels=16, channels=(3, 4))
    torch.nn.init.uniform_(model.norm.running_mean)  # buffers are saved as well
    return model.eval()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "new" / "classifier"
    save_classifier(compact(), LABELS, folder)
    return folder


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """The hub as it is without network and without anything fetched before."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", tmp_path / "hub")


def assert_equal_states(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_compact_comes_back_as_it_was(folder):
    other = compact(seed=1)
    assert load_classifier(other, str(folder)) == LABELS
    assert_equal_states(other, compact())
    assert sorted(path.name for path in folder.iterdir()) == [
        "label_encoder.txt",
        "model.ckpt",
    ]


def test_saving_again_replaces_the_model(folder):
    save_classifier(compact(seed=5), LABELS[::-1], folder)
    other = compact()
    assert load_classifier(other, str(folder)) == LABELS[::-1]
    assert_equal_states(other, compact(seed=5))
    assert len(list(folder.iterdir())) == 2


def test_cnn14_is_written_as_the_two_public_files(tmp_path):
    model = CNN14Classifier(4, n_mels=32, emb_dim=8)
    save_classifier(model, LABELS, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "embedding_model.ckpt",
        "classifier.ckpt",
        "label_encoder.txt",
    }
    # SpeechBrain's own modules read what was written, without any renaming.
    lobe, linear = Cnn14(32, 8, return_reps=True), torch.nn.Linear(8, 4)
    lobe.load_state_dict(torch.load(tmp_path / "embedding_model.ckpt"), strict=True)
    linear.load_state_dict(torch.load(tmp_path / "classifier.ckpt"), strict=True)
    assert_equal_states(lobe, model.embedding_model)
    assert_equal_states(linear, model.classifier)
    other = CNN14Classifier(4, n_mels=32, emb_dim=8)
    assert load_classifier(other, str(tmp_path)) == LABELS
    assert_equal_states(other, model)


def test_the_published_width_has_the_keys_and_shapes_of_the_public_files():
    with torch.device("meta"):
        ours = CNN14Classifier(n_classes=50)
        theirs = {
            "embedding_model.ckpt": Cnn14(80, 2048, return_reps=True),
            "classifier.ckpt": torch.nn.Linear(2048, 50),
        }
    assert ours.CHECKPOINTS.keys() == theirs.keys()
    for filename, name in ours.CHECKPOINTS.items():
        here, there = ours.get_submodule(name), theirs[filename]
        assert {k: v.shape for k, v in here.state_dict().items()} == {
            k: v.shape for k, v in there.state_dict().items()
        }


def test_without_class_names_there_are_none(folder, caplog):
    (folder / "label_encoder.txt").unlink()
    assert load_classifier(compact(), str(folder)) is None
    assert "label_encoder.txt" in caplog.text


def test_a_missing_file_is_named_with_what_replaces_it(folder):
    (folder / "model.ckpt").unlink()
    with pytest.raises(InputError) as error:
        load_classifier(compact(), str(folder))
    message = str(error.value)
    assert "cannot load model.ckpt" in message
    assert str(folder) in message
    assert "no such file" in message
    assert "--classifier_source" in message
    assert "train_classifier.py" in message


def test_another_class_count_is_said(folder):
    model = compact(n_classes=7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_classifier(model, str(folder))
    message = str(error.value)
    assert str(folder / "model.ckpt") in message
    assert "linear.weight is (4, 4) in the file and (7, 4) in the model" in message
    assert "n_classes" in message
    # Nothing of the file has been taken.
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("spoil", ["truncated", "text", "empty", "list"])
def test_a_spoilt_file_is_said_to_be_unreadable(folder, spoil):
    path = folder / "model.ckpt"
    if spoil == "list":
        torch.save([1, 2, 3], path)
    else:
        whole = path.read_bytes()
        path.write_bytes(
            {"truncated": whole[: len(whole) // 2], "text": b"hello\n", "empty": b""}[
                spoil
            ]
        )
    with pytest.raises(InputError, match=r"model\.ckpt is not a readable checkpoint"):
        load_classifier(compact(), str(folder))


def test_a_checkpoint_cannot_run_code(folder):
    class Harm:
        def __reduce__(self):
            return (pytest.fail, ("code of the checkpoint was run",))

    torch.save({"norm.weight": Harm()}, folder / "model.ckpt")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_classifier(compact(), str(folder))


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda state: state.pop("linear.bias"), "linear.bias is missing in the file"),
        (
            lambda state: state.update(extra=torch.ones(1)),
            "extra is unknown to the model",
        ),
    ],
    ids=["missing", "unknown"],
)
def test_other_keys_are_named(folder, change, said):
    state = torch.load(folder / "model.ckpt")
    change(state)
    torch.save(state, folder / "model.ckpt")
    with pytest.raises(InputError, match=said):
        load_classifier(compact(), str(folder))


def test_names_of_another_class_count_are_refused(folder, tmp_path):
    save_classifier(compact(3), LABELS[:3], tmp_path / "three")
    (tmp_path / "three/label_encoder.txt").replace(folder / "label_encoder.txt")
    with pytest.raises(InputError, match="names 3 classes, but the model has 4"):
        load_classifier(compact(), str(folder))


@pytest.mark.parametrize("text", ["no labels\n", "'cat' => none\n", ""])
def test_spoilt_names_are_named(folder, text):
    (folder / "label_encoder.txt").write_text(text)
    with pytest.raises(InputError, match="label_encoder.txt"):
        load_classifier(compact(), str(folder))


@pytest.mark.parametrize("source", ["results/no/such/folder", "../elsewhere", "a b"])
def test_a_folder_that_does_not_exist(source, no_network):
    with pytest.raises(InputError) as error:
        load_classifier(compact(), source)
    message = str(error.value)
    assert source in message
    assert "no such folder" in message
    assert "hub id" in message


def test_a_hub_id_without_network(no_network):
    with pytest.raises(InputError) as error:
        load_classifier(compact(), "someone/classifier")
    message = str(error.value)
    assert "cannot load model.ckpt from 'someone/classifier'" in message
    assert "the hub cannot be reached" in message
    assert "--classifier_source" in message


def test_an_interrupted_write_leaves_the_old_file_alone(folder, monkeypatch):
    before = (folder / "model.ckpt").read_bytes()

    def interrupted(path, content):
        with open(path, "wb") as stream:
            stream.write(content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_weights(compact(seed=3), folder / "model.ckpt")
    assert (folder / "model.ckpt").read_bytes() == before
    assert len(list(folder.iterdir())) == 2


def test_weights_keep_the_modules_own_type(folder):
    model = compact().double()
    load_weights(model, folder / "model.ckpt")
    assert model.linear.weight.dtype == torch.float64
