"""Frozen mixtures from the command line: written, and rendered as WAV."""

import numpy as np
import pandas as pd
import soundfile

from speechbrain_lmac.data_prep.mixture_prepare import main


def test_the_command_line_renders(tmp_path, capsys, monkeypatch):
    from speechbrain_lmac.data_prep.toy_prepare import make_toy

    monkeypatch.chdir(tmp_path)
    make_toy("toy", n_clips=30, seconds=1.0, progress=False)
    command = ["toy", "white_noise", "--data_folder=toy", "--per_clip=1"]
    assert main([*command, "--render=heard", "--snr_db=10"]) == 0
    assert "6 mixtures" in capsys.readouterr().out
    table = pd.read_csv("heard/mixtures.csv")
    np.testing.assert_allclose(table["snr_db"], 10, atol=1e-4)
    # White noise is all but orthogonal to the clip: SI-SDR is near the SNR.
    np.testing.assert_allclose(table["si_sdr_db"], 10, atol=1)
    for clip in table["id"]:
        names = ["audio", "stems/foreground", "stems/background"]
        files = [f"heard/{name}/{clip}.wav" for name in names]
        assert {soundfile.info(file).subtype for file in files} == {"FLOAT"}
        mixture, *stems = [soundfile.read(file, dtype="float32")[0] for file in files]
        np.testing.assert_array_equal(sum(stems), mixture)
    (tmp_path / "heard" / "mine.txt").write_text("keep")
    assert main([*command, "--render=heard"]) == 2
    assert "also has mine.txt" in capsys.readouterr().err
    assert main(["toy", "speech", "--data_folder=toy"]) == 2
    assert "--corpus and --corpus_folder" in capsys.readouterr().err
    for unfit in ("none", "clotho"):
        assert main([unfit, "clean", "--data_folder=toy"]) == 2
        assert f"esc10, esc50, toy, us8k, got '{unfit}'\n" in capsys.readouterr().err
