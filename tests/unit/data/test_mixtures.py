"""Pieces of sounds that a mixture is made of: cut, joined, resampled."""

import pytest
import torch

from speechbrain_lmac.data.mixtures import draw_pieces, resampled_length

RATE = 16000


def sounds(*lengths, rate=RATE):
    return [
        {"wav": f"{i}.wav", "n_frames": n, "sample_rate": rate}
        for i, n in enumerate(lengths)
    ]


def pieces_of(files, n_samples, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return draw_pieces(files, n_samples, RATE, draw)


def test_a_long_file_is_cut_at_offsets_all_over_it():
    found = [pieces_of(sounds(1000), 100, seed) for seed in range(300)]
    starts = [start for ((start,),) in ([[p["start"] for p in f]] for f in found)]
    assert all(0 <= start <= 900 for start in starts)
    assert min(starts) < 50 and max(starts) > 850
    assert {f[0]["length"] for f in found} == {100}
    assert pieces_of(sounds(100), 100)[0]["start"] == 0


def test_short_files_are_joined_in_a_drawn_order():
    found = pieces_of(sounds(30, 40, 50), 200)
    assert sum(piece["length"] for piece in found) == 200
    assert len({piece["wav"] for piece in found[:3]}) == 3  # each before any again
    assert found[3]["wav"] == found[0]["wav"]
    whole = {"0.wav": 30, "1.wav": 40, "2.wav": 50}
    for piece in found[:-1]:
        assert (piece["start"], piece["length"]) == (0, whole[piece["wav"]])
    orders = {
        tuple(piece["wav"] for piece in pieces_of(sounds(30, 40, 50), 120, seed))
        for seed in range(50)
    }
    assert len(orders) == 6


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_lengths_are_those_of_the_resampler(rate):
    from torchaudio.functional import resample

    for n_frames in (1, 2, 3, 999, 1000, 1001):
        expected = len(resample(torch.zeros(n_frames), rate, RATE))
        assert resampled_length(n_frames, rate, RATE) == expected
