"""A manifest gives the same mixtures anywhere, at the levels that it says."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from speechbrain_lmac.data.conditions import (
    CleanCondition,
    MixtureCondition,
    StemCondition,
)
from speechbrain_lmac.data.contaminants import (
    CorpusNoise,
    CorpusSpeech,
    Generated,
    OtherClips,
    WhiteNoise,
)
from speechbrain_lmac.data.dataset import ClipDataset, collate_clips
from speechbrain_lmac.data.mixture_manifest import prepare_mixtures, sounds_of
from speechbrain_lmac.data.mixtures import MixtureClips, Sounds, lens_of
from speechbrain_lmac.data.online_noise import CorpusNoise as TrainingCorpusNoise
from speechbrain_lmac.data.online_noise import GeneratedNoise, Sometimes
from speechbrain_lmac.data_prep.noise_prepare import SoundFolder
from speechbrain_lmac.data_prep.toy_prepare import make_toy, prepare_toy
from speechbrain_lmac.dsp.mixing import measured_snr
from speechbrain_lmac.dsp.toy_sounds import TOY_CLASSES
from speechbrain_lmac.utils.errors import InputError

RATE = 16000
SNR_TOLERANCE_DB = 1e-4  # stems are rounded to float32
# The published signal-to-noise ratios.
PUBLISHED_DB = {
    "noise": 0.0,
    "corpus noise": 0.0,
    "mixtures": 12.0412,
    "speech": 12.0412,
    "white_noise": 6.0206,
}
KINDS = pytest.mark.parametrize("kind", PUBLISHED_DB)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Stereo noises, some at 44.1 kHz: half of them shorter than a clip."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "sounds").mkdir()
    rng = np.random.default_rng(7)
    for i in range(40):
        n_frames = 20000 if i % 2 else 60000
        sound = 0.05 * rng.standard_normal((n_frames, 2)).cumsum(0) / 20
        rate = 44100 if i < 6 else 32000  # the former is slow to resample
        soundfile.write(folder / "sounds" / f"{i}.wav", sound, rate)
    return SoundFolder(folder / "sounds", folder / "json")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """(dataset, manifest folder): a clip of each class and fold."""
    folder = tmp_path_factory.mktemp("toy")
    make_toy(folder / "toy", n_clips=30, seconds=1.0, progress=False)
    dataset = ClipDataset(
        prepare_toy, folder / "toy", TOY_CLASSES, len(TOY_CLASSES), RATE, 1.0
    )
    dataset.prepare_manifests(folder / "json")
    return dataset, folder / "json"


@pytest.fixture
def contaminants(corpus):
    """Name to contaminant."""
    return {
        "noise": Generated(),
        "corpus noise": CorpusNoise(corpus),
        "mixtures": OtherClips(),
        "speech": CorpusSpeech(corpus),
        "white_noise": WhiteNoise(),
    }


@pytest.fixture
def opened(toy, contaminants):
    """`opened(kind, **options)`: the condition on the test split."""

    def opened(kind, split="test", **options):
        condition = MixtureCondition(contaminants[kind], **options)
        return condition.open(*toy, split, list(TOY_CLASSES))

    return opened


def all_of(condition, batch_size=4, workers=0, order=None):
    """Id to mixture, as a loader gives them."""
    clips = condition.clips
    if order is not None:
        clips = torch.utils.data.Subset(clips, order)
    loader = DataLoader(
        clips, batch_size, num_workers=workers, collate_fn=collate_clips
    )
    return {
        clip: wav
        for batch in loader
        for clip, wav in zip(batch.ids, batch.wav, strict=True)
    }


# --- The same samples -----------------------------------------------------------------

RENDER = """
import hashlib, json, sys, torch
from speechbrain_lmac.dsp.audio import AudioReader
from speechbrain_lmac.data.mixtures import MixtureClips, Sounds

torch.set_num_threads(2)
data_root, noise_root, *manifests = sys.argv[1:]
read = AudioReader(16000)
sounds = Sounds({"data_root": (data_root, read), "noise_root": (noise_root, read)})
for manifest in manifests:
    record = json.load(open(manifest))
    clips = MixtureClips(record["clips"], sounds, record["n_samples"], 16000, [])
    torch.randn(7), torch.manual_seed(99)
    for clip in reversed(clips.ids):
        digest = hashlib.sha256()
        for wav in clips.render(clip):
            digest.update(wav.numpy().tobytes())
        print(manifest, clip, digest.hexdigest(), sep="\\t")
"""


def test_another_process_with_other_threads_and_order_hears_the_same(
    toy, corpus, contaminants
):
    expected, manifests = {}, []
    for added in contaminants.values():
        path, record = prepare_mixtures(*toy, "test", added)
        manifests.append(path)
        sounds = sounds_of(toy[0], added)
        clips = MixtureClips(record["clips"], sounds, RATE, RATE, [])
        for clip in clips.ids:
            digest = hashlib.sha256()
            for wav in clips.render(clip):
                digest.update(wav.numpy().tobytes())
            expected[str(path), clip] = digest.hexdigest()
    assert len(set(expected.values())) == len(expected) == 12 * len(PUBLISHED_DB)
    command = [sys.executable, "-c", RENDER, toy[0].data_folder, corpus.root]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [*command, *manifests], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = [line.split("\t") for line in done.stdout.splitlines()]
    assert {(path, clip): digest for path, clip, digest in found} == expected


@KINDS
def test_workers_batches_and_order_change_nothing(kind, opened):
    condition = opened(kind)
    alone = all_of(condition, batch_size=1)
    turned = list(reversed(range(len(condition.clips))))
    others = all_of(condition, batch_size=5, workers=2, order=turned)
    assert alone.keys() == others.keys()
    for clip, wav in alone.items():
        assert torch.equal(wav, others[clip]), clip


@KINDS
def test_opened_again_it_is_the_same(kind, opened, toy):
    first = opened(kind)
    again = opened(kind)
    assert again.fingerprint == first.fingerprint
    assert again.clips.entries == first.clips.entries
    other = opened(kind, seed=5)
    assert other.fingerprint != first.fingerprint
    assert other.clips.entries != first.clips.entries


def test_a_draw_does_not_depend_on_the_other_clips(toy, contaminants, opened, tmp_path):
    """Half of the clips, in another order, get what they got among all."""
    dataset, folder = toy
    for name in ("train", "valid", "test"):
        clips = json.loads((folder / f"{name}.json").read_text())
        half = dict(list(clips.items())[::-2])
        (tmp_path / f"{name}.json").write_text(json.dumps(half))
    for kind in ("noise", "speech", "white_noise"):
        whole = opened(kind).clips.entries
        condition = MixtureCondition(contaminants[kind])
        part = condition.open(dataset, tmp_path, "test", list(TOY_CLASSES))
        assert 0 < len(part.clips) < len(whole)
        for clip, entry in part.clips.entries.items():
            assert entry == whole[clip]


# --- Levels ---------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("snr_db", [None, -5.0])
def test_stems_have_the_stated_ratio_and_add_up(kind, snr_db, opened):
    condition = opened(kind, snr_db=snr_db)
    expected = PUBLISHED_DB[kind] if snr_db is None else snr_db
    batch = collate_clips([condition.clips[i] for i in range(len(condition.clips))])
    foreground, background = condition.truth.stems(batch.ids)
    assert torch.equal(foreground + background, batch.wav)
    assert foreground.dtype == torch.float32
    torch.testing.assert_close(batch.wav.abs().amax(1), torch.ones(len(batch.ids)))
    for stems in zip(foreground, background, strict=True):
        assert measured_snr(*stems) == pytest.approx(expected, abs=SNR_TOLERANCE_DB)


@KINDS
def test_the_foreground_is_the_clip_but_for_its_level(kind, opened, toy):
    clean = toy[0].load(toy[1], "test", list(TOY_CLASSES))
    wavs = {item["id"]: item for item in clean}
    condition = opened(kind)
    for clip in condition.clips.ids[:4]:
        original = wavs[condition.clips.entries[clip]["base"]]
        _, foreground, _ = condition.clips.render(clip)
        level = foreground.abs().max()
        torch.testing.assert_close(
            foreground, level * original["signal"], atol=1e-6, rtol=1e-5
        )


def test_labels_and_ids(opened, toy):
    labels = list(TOY_CLASSES)
    clean = {i["id"]: i["label"] for i in toy[0].load(toy[1], "test", labels)}
    condition = opened("noise")
    assert condition.clips.ids == [f"{clip}+{k}" for clip in clean for k in (0, 1)]
    for item in (condition.clips[0], condition.clips[5]):
        assert item["label"] == clean[item["id"].split("+")[0]]
    category = condition.clips.entries[condition.clips.ids[0]]["category"]
    assert labels[condition.clips[0]["label"]] == category


def test_clean_clips_are_those_of_the_dataset(toy):
    labels = list(TOY_CLASSES)
    condition = CleanCondition().open(*toy, "valid", labels)
    plain = toy[0].load(toy[1], "valid", labels)
    assert len(condition.clips) == len(plain) == 6
    for item, other in zip(condition.clips, plain, strict=True):
        assert (item["id"], item["label"]) == (other["id"], other["label"])
        assert torch.equal(item["signal"], other["signal"])
    assert condition.truth.stems is None
    assert condition.description == "clean: 6 clips of the split valid"


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_a_clean_clip_is_padded_and_one_with_noise_is_not(toy, corpus, seconds):
    """Clips of 1 s; noises of 0.6 to 1.9 s, joined until they fill the length."""
    dataset = ClipDataset(
        prepare_toy, toy[0].data_folder, TOY_CLASSES, len(TOY_CLASSES), RATE, seconds
    )
    added = [CorpusNoise(corpus), WhiteNoise()]
    opened = [CleanCondition(), *(MixtureCondition(each) for each in added)]
    lens = [
        {item["lens"] for item in c.open(dataset, toy[1], "test", TOY_CLASSES).clips}
        for c in opened
    ]
    assert lens == [{min(1.0, 1 / seconds)}, {1.0}, {1.0}]


def test_two_short_sounds_are_padded_behind_the_longer_one(toy):
    dataset = ClipDataset(
        prepare_toy, toy[0].data_folder, TOY_CLASSES, len(TOY_CLASSES), RATE, 4.0
    )
    condition = MixtureCondition(OtherClips(), per_clip=1)
    clips = condition.open(dataset, toy[1], "test", TOY_CLASSES).clips
    assert clips[0]["lens"] == 0.25
    assert not clips[0]["signal"][RATE:].any()
    speech = {"pieces": [{"wav": "{data_root}/no.wav", "start": 100, "length": 90000}]}
    lengths = {"{data_root}/clip.wav": 500, "{data_root}/no.wav": 2100}
    sounds = Sounds({"data_root": ("", lambda path: torch.ones(lengths[named(path)]))})
    entry = {"foreground": "{data_root}/clip.wav", "background": speech}
    assert lens_of(entry, sounds, 8000) == 0.25  # 2000 samples of speech
    assert lens_of({**entry, "background": None}, sounds, 8000) == 0.0625


def named(path):
    return "{data_root}" + path


def test_known_stems_add_up_to_the_clip_that_is_heard(toy):
    stems_folder = f"{toy[0].data_folder}/stems"
    condition = StemCondition(stems_folder).open(*toy, "test", list(TOY_CLASSES))
    batch = collate_clips([condition.clips[i] for i in range(5)])
    foreground, background = condition.truth.stems(batch.ids)
    torch.testing.assert_close(foreground + background, batch.wav)
    assert not torch.allclose(foreground, batch.wav, atol=0.01)


# --- Protocols ------------------------------------------------------------------------


def classes_of_pieces(toy, condition):
    """(class of the clip, class and split of the background) of each mixture."""
    clips = {}
    for split in ("train", "valid", "test"):
        for clip in json.loads((toy[1] / f"{split}.json").read_text()).values():
            clips[clip["wav"]] = (clip["category"], split)
    for entry in condition.clips.entries.values():
        (piece,) = entry["background"]["pieces"]
        yield clips[entry["foreground"]], clips[piece["wav"]], entry["base"]


def test_ours_adds_another_class_of_the_same_split(toy, opened):
    found = list(classes_of_pieces(toy, opened("mixtures", per_clip=3)))
    assert len(found) == 3 * 6
    for (category, split), (other, other_split), _ in found:
        assert category != other
        assert split == other_split == "test"


def test_the_contaminants_of_a_clip_differ(opened):
    entries = opened("mixtures", per_clip=3).clips.entries
    for clip in {entry["base"] for entry in entries.values()}:
        wavs = [entries[f"{clip}+{k}"]["background"]["pieces"][0]["wav"] for k in "012"]
        assert len(set(wavs)) == 3


def test_published_mixes_fold_4_with_fold_5_of_any_class(toy, opened):
    found = list(
        classes_of_pieces(toy, opened("mixtures", protocol="published", per_clip=10))
    )
    assert {pair[0][1] for pair in found} == {"valid"}
    assert {pair[1][1] for pair in found} == {"test"}
    assert any(clip[0] == other[0] for clip, other, _ in found)


def test_published_speech_is_one_file_from_its_beginning(opened):
    condition = opened("speech", protocol="published")
    lengths = set()
    for clip, entry in condition.clips.entries.items():
        (piece,) = entry["background"]["pieces"]
        assert piece["start"] == 0
        lengths.add(piece["length"])
        background = condition.clips.render(clip)[2]
        assert not background[piece["length"] :].any()
    # 20,000 frames: at 32 kHz 10,000 samples, at 44.1 kHz 7257.
    assert RATE in lengths and lengths & {10000, 7257} and len(lengths) <= 3


def test_a_corpus_is_used_in_the_part_of_the_split_only(opened, corpus):
    for split in ("valid", "test"):
        files = {
            piece["wav"]
            for entry in opened("corpus noise", split).clips.entries.values()
            for piece in entry["background"]["pieces"]
        }
        # Written by the first that opens it.
        part = json.loads((corpus.manifest_folder / f"{split}.json").read_text())
        allowed = {f"{{noise_root}}/{name}" for name in part}
        assert files and files <= allowed


def test_the_line_about_a_condition(opened):
    assert opened("mixtures").description == (
        "mixtures: 12 mixtures of 6 clips of the split test with other clips of the "
        "split test, 12.04 dB"
    )
    assert opened("speech", snr_db=3).description == (
        "speech: 12 mixtures of 6 clips of the split test with sounds (test part), "
        "3.00 dB"
    )


# --- Noise in training ----------------------------------------------------------------


@pytest.fixture(params=["generated", "corpus"])
def noise(request, corpus):
    if request.param == "generated":
        return GeneratedNoise(RATE, snr_db=6.0)
    noise = TrainingCorpusNoise(corpus, RATE, snr_db=6.0)
    noise.prepare()
    return noise


def clips(n=3):
    return torch.randn(n, RATE, generator=torch.Generator().manual_seed(0))


def keys(n=3, epoch=1):
    return [(1234, epoch, f"clip{i}") for i in range(n)]


def test_noise_of_a_clip_depends_on_its_key_alone(noise):
    together = noise.mix(clips(), keys(), "train")[0]
    torch.randn(5)
    alone = noise.mix(clips()[1:2], keys()[1:2], "train")[0]
    assert torch.equal(together[1:2], alone)
    assert torch.equal(noise.mix(clips(), keys(), "train")[0], together)
    later = noise.mix(clips(), keys(epoch=2), "train")[0]
    assert not any(torch.equal(*pair) for pair in zip(together, later, strict=True))
    same_clip = noise.mix(clips()[:1].repeat(2, 1), keys(2), "train")[0]
    assert not torch.equal(*same_clip)


def test_the_stock_of_a_part_is_its_own_and_all_of_it_is_heard():
    noise = GeneratedNoise(RATE, n_noises=3)
    mixed = {
        part: [noise.noise((1, 1, f"clip{i}"), RATE, part) for i in range(40)]
        for part in ("train", "test")
    }
    # A noise that is turned by an offset has the same spectrum of magnitudes.
    prints = {
        part: {
            tuple(torch.fft.rfft(wav).abs()[50:55].round(decimals=1).tolist())
            for wav in wavs
        }
        for part, wavs in mixed.items()
    }
    assert len(prints["train"]) == len(prints["test"]) == 3
    assert not prints["train"] & prints["test"]
    assert not torch.equal(mixed["train"][0], mixed["train"][1])
    fresh = GeneratedNoise(RATE, n_noises=3)  # another process, in another order
    last = fresh.noise((1, 1, "clip39"), RATE, "train")
    assert torch.equal(last, mixed["train"][39])


def test_some_clips_get_noise_and_the_others_stay_as_they_are():
    noise = Sometimes(GeneratedNoise(RATE, n_noises=4), probability=0.5)
    mixed = noise.mix(clips(60), keys(60), "train")[0]
    noisy = (mixed != clips(60)).any(1)
    assert 18 <= noisy.sum() <= 42  # four standard deviations around 30
    always = noise.noise.mix(clips(60), keys(60), "train")[0]
    assert torch.equal(mixed[noisy], always[noisy])
    assert [noise.adds(key, "train") for key in keys(60)] == noisy.tolist()
    alone = noise.mix(clips(60)[7:8], keys(60)[7:8], "train")[0]
    assert torch.equal(alone, mixed[7:8])
    later = (noise.mix(clips(60), keys(60, epoch=2), "train")[0] != clips(60)).any(1)
    assert not torch.equal(later, noisy)


@pytest.mark.parametrize("probability, noisy", [(0.0, 0), (1.0, 3)])
def test_none_or_all_get_noise(probability, noisy):
    noise = Sometimes(GeneratedNoise(RATE, n_noises=2), probability)
    mixed = noise.mix(clips(), keys(), "test")[0]
    assert (mixed != clips()).any(1).sum() == noisy
    with pytest.raises(InputError, match="probability .*1.5"):
        Sometimes(noise, 1.5)


def test_parts_draw_apart(noise):
    drawn = [noise.mix(clips(), keys(), part)[0] for part in ("train", "valid", "test")]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


def test_noise_has_its_ratio_and_the_model_s_level(noise):
    mixed = noise.mix(clips(), keys(), "train")[0]
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed.abs().amax(1), torch.ones(3))
    for wav, clip, key in zip(mixed, clips(), keys(), strict=True):
        other = noise.noise(key, RATE, "train")
        basis = torch.stack([clip, other]).double()
        shares = torch.linalg.lstsq(basis.T, wav.double()[:, None]).solution[:, 0]
        rest = wav - shares @ basis
        assert rest.abs().max() < 1e-5
        parts = shares[:, None] * basis
        assert measured_snr(*parts) == pytest.approx(6.0, abs=1e-3)


def test_the_clean_part_has_the_level_it_has_in_the_mixture(noise):
    mixed, clean = noise.mix(clips(), keys(), "train")
    assert all(noise.adds(key, "train") for key in keys())
    for wav, part, clip, key in zip(mixed, clean, clips(), keys(), strict=True):
        gain = (part / clip).median()
        torch.testing.assert_close(part, gain * clip)
        other = noise.noise(key, RATE, "train")
        rest = wav - part
        cosine = torch.nn.functional.cosine_similarity(rest, other, dim=0)
        assert cosine == pytest.approx(1.0, abs=1e-5)  # the rest is the noise


def test_a_clip_without_noise_is_its_own_clean_part():
    noise = Sometimes(GeneratedNoise(RATE, n_noises=2), probability=0.5)
    mixed, clean = noise.mix(clips(20), keys(20), "train")
    same = (mixed == clean).all(1)
    assert torch.equal(same, (mixed == clips(20)).all(1))
    assert 0 < same.sum() < 20


def test_a_silent_clip_becomes_noise(noise):
    mixed = noise.mix(torch.zeros(1, RATE), keys(1), "train")[0]
    assert mixed.isfinite().all() and mixed.abs().max() == 1


def test_a_training_reads_the_files_of_its_part_only(corpus):
    noise = TrainingCorpusNoise(corpus, RATE)
    noise.prepare()
    for part in ("train", "valid", "test"):
        read = []
        noise.mix(clips(1), keys(1), part)[0]
        reader = noise.reader.sources["noise_root"][1]
        noise.reader.sources["noise_root"] = (
            corpus.root,
            lambda path, reader=reader, read=read: read.append(path) or reader(path),
        )
        noise.mix(clips(20), keys(20), part)[0]
        names = json.loads((corpus.manifest_folder / f"{part}.json").read_text())
        assert read and {os.path.basename(path) for path in read} <= set(names)
