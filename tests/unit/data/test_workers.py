"""Worker processes of a DataLoader, under every start method."""

import multiprocessing
import pickle
import shutil

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset

from speechbrain_lmac.config.training_keys import check_training_keys
from speechbrain_lmac.data.caption_dataset import CaptionDataset
from speechbrain_lmac.data.conditions import CleanCondition, MixtureCondition
from speechbrain_lmac.data.contaminants import OtherClips
from speechbrain_lmac.data.dataset import ClipDataset, collate_clips
from speechbrain_lmac.data.streams import ListedClips
from speechbrain_lmac.data_prep.captions_prepare import prepare_caption_table
from speechbrain_lmac.data_prep.toy_prepare import make_toy, prepare_toy
from speechbrain_lmac.dsp.toy_sounds import TOY_CLASSES
from speechbrain_lmac.evaluation.corpus import Batches
from speechbrain_lmac.utils.errors import InputError, message_of

RATE = 16000
LABELS = list(TOY_CLASSES)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Name to every kind of dataset that a DataLoader of ours gets."""
    folder = tmp_path_factory.mktemp("workers")
    make_toy(folder / "toy", n_clips=30, seconds=1.0, progress=False)
    toy = ClipDataset(
        prepare_toy, folder / "toy", TOY_CLASSES, len(TOY_CLASSES), RATE, 1.5
    )
    toy.prepare_manifests(folder / "json")
    paths = sorted((folder / "toy" / "audio").glob("*.wav"))
    captions = folder / "captions"
    captions.mkdir()
    rows = ["path,caption,split"]
    for split, path in zip(("train", "valid", "test"), paths[:3], strict=True):
        shutil.copy(path, captions)
        rows.append(f"{path.name},a tone,{split}")
    (captions / "captions.csv").write_text("\n".join(rows) + "\n")
    written = CaptionDataset(prepare_caption_table, captions, RATE, 1.5)
    written.prepare_manifests(folder / "written")
    listed = folder / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in paths[:3]))
    where = (toy, folder / "json", "test", LABELS)
    return {
        "clips": toy.load(folder / "json", "test", LABELS),
        "signals": toy.signals(folder / "json", "test"),
        "captions": written.load(folder / "written", "test", []),
        "clean": CleanCondition().open(*where).clips,
        "mixtures": MixtureCondition(OtherClips(), snr_db=0.0).open(*where).clips,
        "corpus": Batches(ListedClips(listed), RATE, 24000, 2, folder, (0, 1)),
    }


def test_every_dataset_can_go_to_another_process(datasets):
    for name, dataset in datasets.items():
        again = pickle.loads(pickle.dumps(dataset))
        if isinstance(dataset, IterableDataset):
            one, other = (torch.cat([b.wav for b in d]) for d in (dataset, again))
        else:
            one, other = (d[0]["signal"] for d in (dataset, again))
        assert torch.equal(one, other) and one.any(), name


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_give_the_batches_of_the_main_process(datasets, method):
    kinds = [d for d in datasets.values() if not isinstance(d, IterableDataset)]
    together = ConcatDataset(kinds)
    options = {"batch_size": 5, "collate_fn": collate_clips}
    expected = list(DataLoader(together, **options))
    context = multiprocessing.get_context(method)
    found = DataLoader(
        together, num_workers=1, multiprocessing_context=context, **options
    )
    for one, other in zip(found, expected, strict=True):
        assert one.ids == other.ids
        assert torch.equal(one.wav, other.wav)
        assert torch.equal(one.lens, other.lens)


class Broken(torch.utils.data.Dataset):
    """A clip that cannot be read."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise InputError("cannot read a.wav: it is truncated")


def test_the_error_of_a_worker_is_one_line():
    loader = DataLoader(Broken(), num_workers=1, multiprocessing_context="fork")
    with pytest.raises(InputError) as raised:
        next(iter(loader))
    assert message_of(raised.value) == "cannot read a.wav: it is truncated"
    assert message_of(InputError("a\nInputError: b")) == "a\nInputError: b"


@pytest.mark.parametrize("number", [-1, 1.5, "two", None, True])
def test_a_number_of_workers_is_whole_and_not_negative(number):
    with pytest.raises(InputError, match=f"num_workers .*{number}"):
        check_training_keys({"opt_class": torch.optim.Adam, "num_workers": number})
