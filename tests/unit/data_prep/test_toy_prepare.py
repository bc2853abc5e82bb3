"""The toy dataset's laws: exact stems, known SNR, separable, reproducible."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_lmac.data_prep import toy_prepare
from speechbrain_lmac.data_prep.toy_prepare import main, make_toy
from speechbrain_lmac.dsp import toy_sounds
from speechbrain_lmac.dsp.toy_sounds import (
    BACKGROUND_DBFS,
    SNR_DB,
    TOY_CLASSES,
    render_clip,
)
from speechbrain_lmac.utils.errors import InputError
from tests.warm import warm_output

N_CLASSES = 6
SNR_TOLERANCE_DB = 0.02  # rounding to 16 bit, of stems 44 dB below full scale


def read_int16(path):
    return soundfile.read(path, dtype="int16")[0]


def rows_of(folder):
    with open(folder / "meta" / "esc50.csv", newline="") as file:
        return list(csv.DictReader(file))


def files_of(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def energy(samples):
    return np.sum(samples.astype(np.float64) ** 2)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """60 clips of 5 s: two of each class in each fold."""
    return make_toy(tmp_path_factory.mktemp("data") / "toy", 60, progress=False)


def test_layout_is_esc50s_with_stems(toy):
    rows = rows_of(toy)
    columns = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    measured = ["snr_db", "pitch_hz", "n_events", "start_s", "end_s"]
    assert list(rows[0]) == [*columns, *measured]
    names = sorted(row["filename"] for row in rows)
    for folder in ("audio", "stems/foreground", "stems/background"):
        assert sorted(p.name for p in (toy / folder).iterdir()) == names
    for row in rows:
        assert TOY_CLASSES[int(row["target"])] == row["category"]
        assert row["filename"].startswith(f"{row['fold']}-")
        assert row["filename"].endswith(f"-{row['target']}.wav")
    info = soundfile.info(toy / "audio" / names[0])
    assert (info.frames, info.samplerate, info.channels) == (80000, 16000, 1)
    assert info.subtype == "PCM_16"


def test_classes_and_folds_are_balanced(toy):
    cells = [(row["fold"], row["category"]) for row in rows_of(toy)]
    assert len(set(TOY_CLASSES)) == N_CLASSES
    assert len(set(cells)) == 5 * N_CLASSES
    assert all(cells.count(cell) == 2 for cell in cells)


def test_clip_is_the_sum_of_its_stems_and_does_not_clip(toy):
    for row in rows_of(toy):
        clip, foreground, background = (
            read_int16(toy / folder / row["filename"]).astype(np.int32)
            for folder in ("audio", "stems/foreground", "stems/background")
        )
        np.testing.assert_array_equal(clip, foreground + background)
        assert np.abs(clip).max() <= 0.95 * 32768


def test_snr_is_what_the_table_says_and_fills_its_range(toy):
    stated = []
    for row in rows_of(toy):
        foreground, background = (
            read_int16(toy / "stems" / stem / row["filename"])
            for stem in ("foreground", "background")
        )
        measured = 10 * np.log10(energy(foreground) / energy(background))
        stated.append(float(row["snr_db"]))
        assert measured == pytest.approx(stated[-1], abs=SNR_TOLERANCE_DB)
    assert SNR_DB[0] <= min(stated) < SNR_DB[0] + 1
    assert SNR_DB[1] - 1 < max(stated) <= SNR_DB[1]


def test_events_fill_a_part_of_the_clip_only(toy):
    starts = []
    for row in rows_of(toy):
        foreground = read_int16(toy / "stems" / "foreground" / row["filename"])
        active = np.flatnonzero(foreground)
        starts.append(active[0])
        assert 0.1 < (active[-1] - active[0]) / len(foreground) <= 0.7
    assert np.std(starts) > 0.3 * 16000  # the position varies


def test_what_is_measured_is_what_is_heard(toy):
    """Begin and end of the foreground, number of events, and where its energy is."""
    for row in rows_of(toy):
        sound = read_int16(toy / "stems" / "foreground" / row["filename"]) / 32768
        active = np.flatnonzero(sound) / 16000
        assert active[0] == pytest.approx(float(row["start_s"]), abs=0.02)
        assert active[-1] <= float(row["end_s"]) + 0.001  # a click dies before
        power = np.abs(np.fft.rfft(sound)) ** 2
        below = power[np.fft.rfftfreq(len(sound), 1 / 16000) < float(row["pitch_hz"])]
        assert below.sum() / power.sum() == pytest.approx(0.5, abs=0.1)
        pauses = np.count_nonzero(np.diff(active) > 0.005)
        if row["category"] in ("click", "tone", "burst"):
            assert pauses + 1 == int(row["n_events"])


@pytest.mark.parametrize("target", range(N_CLASSES), ids=TOY_CLASSES)
def test_an_ideal_mask_separates_foreground_from_background(target):
    """Energy after the ideal ratio mask: at least 90 % is foreground's."""
    shares = []
    for index in range(target, 8 * N_CLASSES, N_CLASSES):
        sound = render_clip(1234, index)
        foreground, background = (
            torch.stft(
                torch.from_numpy(sound[stem].astype(np.float32)),
                n_fft=1024,
                hop_length=186,
                window=torch.hann_window(1024),
                return_complex=True,
            )
            .abs()
            .square()
            for stem in ("foreground", "background")
        )
        mask = foreground / (foreground + background).clamp(min=1e-12)
        energy = (mask**2 * foreground).sum()
        shares.append(float(energy / (energy + (mask**2 * background).sum())))
    assert np.mean(shares) >= 0.9


def test_the_background_does_not_know_the_class(monkeypatch):
    before = render_clip(5, 0)
    monkeypatch.setattr(toy_sounds, "EVENTS", toy_sounds.EVENTS[::-1])
    after = render_clip(5, 0)
    assert not np.array_equal(before["foreground"], after["foreground"])
    np.testing.assert_array_equal(before["background"], after["background"])
    assert before["snr_db"] == after["snr_db"]


def test_background_level_and_colour_vary():
    levels, tilts = [], []
    for index in range(12):
        background = render_clip(3, index)["background"] / 32768
        levels.append(10 * np.log10(np.mean(background**2)))
        power = np.abs(np.fft.rfft(background)) ** 2
        n_low = len(power) // 8  # below 1 kHz
        tilts.append(10 * np.log10(power[:n_low].mean() / power[n_low:].mean()))
    low, high = BACKGROUND_DBFS
    assert low - 0.1 < min(levels) and max(levels) < high + 0.1
    assert np.ptp(levels) > 3
    assert np.ptp(tilts) > 3


def test_a_loud_clip_is_turned_down_as_a_whole(monkeypatch):
    monkeypatch.setattr(toy_sounds, "BACKGROUND_DBFS", (-6.0, -6.0))
    sound = render_clip(1, 1)  # clicks: the highest peaks
    stems = sound["foreground"].astype(np.int32), sound["background"].astype(np.int32)
    np.testing.assert_array_equal(sound["clip"], stems[0] + stems[1])
    assert np.abs(sound["clip"].astype(np.int32)).max() <= 0.95 * 32768 + 1
    measured = 10 * np.log10(energy(stems[0]) / energy(stems[1]))
    assert measured == pytest.approx(sound["snr_db"], abs=SNR_TOLERANCE_DB)


def test_a_small_set_is_the_beginning_of_a_large_one(toy, tmp_path):
    """Also in another process: nothing hangs on the history of a generator."""
    script = Path(toy_prepare.__file__)
    printed = warm_output(script, tmp_path / "small", "--n_clips", "7")
    assert "7 clips of 5 s" in printed
    small = rows_of(tmp_path / "small")
    assert small == rows_of(toy)[:7]
    for path in files_of(tmp_path / "small"):
        if path.suffix == ".wav":
            assert (tmp_path / "small" / path).read_bytes() == (toy / path).read_bytes()


def test_another_seed_is_another_clip():
    one, other, sum_alike = (
        render_clip(seed, index, seconds=1.0)["background"]
        for seed, index in ((1, 4), (2, 4), (2, 3))
    )
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, sum_alike)


def test_short_clips_of_every_class_have_events():
    for index in range(4 * N_CLASSES):
        sound = render_clip(0, index, seconds=1.0)
        assert energy(sound["foreground"]) > 0
        assert len(sound["clip"]) == 16000


def test_clicks_that_do_not_fit_are_left_out(monkeypatch):
    """In 0.35 s of a clip there is room for 5 of them and their pauses."""
    monkeypatch.setattr(toy_sounds, "ACTIVE_SHARE", (0.35, 0.35))
    active = np.flatnonzero(render_clip(1, 1, seconds=1.0)["foreground"])
    pauses = np.diff(active) > 0.01 * 16000
    assert np.count_nonzero(pauses) + 1 == 5


def test_an_empty_folder_behind_a_link_is_filled(tmp_path):
    (tmp_path / "disk" / "toy").mkdir(parents=True)
    (tmp_path / "toy").symlink_to(tmp_path / "disk" / "toy")
    make_toy(tmp_path / "toy", 1, seconds=1.0)
    assert (tmp_path / "toy").is_symlink()
    assert (tmp_path / "disk" / "toy" / "toy.json").is_file()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["toy"]


def test_a_second_call_writes_nothing_and_other_options_remake(tmp_path):
    folder = make_toy(tmp_path / "toy", 6, seconds=1.0)
    before = {path: (folder / path).stat().st_mtime_ns for path in files_of(folder)}
    make_toy(folder, 6, seconds=1.0)
    after = {path: (folder / path).stat().st_mtime_ns for path in files_of(folder)}
    assert before == after
    make_toy(folder, 6, seconds=1.0, seed=2)
    assert json.loads((folder / "toy.json").read_text())["seed"] == 2
    make_toy(folder, 2, seconds=1.0)
    assert len(list((folder / "audio").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_it_replaces_nothing_that_it_did_not_make(tmp_path):
    other = tmp_path / "esc50"
    (other / "audio").mkdir(parents=True)
    (other / "audio" / "1.wav").write_bytes(b"precious")
    with pytest.raises(InputError, match="esc50 .*toy dataset"):
        make_toy(other, 2)
    assert (other / "audio" / "1.wav").read_bytes() == b"precious"
    folder = make_toy(tmp_path / "toy", 1, seconds=1.0)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="also has notes.txt"):
        make_toy(folder, 2, seconds=1.0)
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="/file .* folder"):
        make_toy(tmp_path / "file", 2)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "toy").mkdir()
    assert len(rows_of(make_toy(tmp_path / "toy", 2, seconds=1.0))) == 2


def test_nothing_remains_of_a_toy_that_failed(tmp_path, monkeypatch):
    folder = make_toy(tmp_path / "toy", 2, seconds=1.0)
    before = files_of(folder)

    def stop(seed, index, sample_rate, seconds):
        if index == 1:
            raise KeyboardInterrupt
        return render_clip(seed, index, sample_rate, seconds)

    monkeypatch.setattr(toy_prepare, "render_clip", stop)
    for target in (folder, tmp_path / "deep" / "new"):
        with pytest.raises(KeyboardInterrupt):
            make_toy(target, 3, seconds=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    assert files_of(folder) == before


@pytest.mark.parametrize(
    ("option", "value"),
    [("n_clips", 0), ("seed", -1), ("sample_rate", 8000), ("seconds", 0.5)],
)
def test_options_out_of_range(tmp_path, option, value):
    with pytest.raises(InputError, match=f"{option} .*got {value}"):
        make_toy(tmp_path / "toy", **{option: value})


def test_the_command_line_tells_errors_in_a_line(tmp_path, capsys):
    assert main([str(tmp_path / "toy"), "--n_clips", "0"]) == 2
    assert capsys.readouterr().err == "error: n_clips must be at least 1, got 0\n"
    assert not (tmp_path / "toy").exists()
