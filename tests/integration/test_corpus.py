"""A corpus is explained alike by one process and by two, whole and interrupted."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import webdataset

from speechbrain_lmac.data import streams
from speechbrain_lmac.evaluation import corpus
from speechbrain_lmac.recipes.explain_corpus import run as explain_corpus
from speechbrain_lmac.utils.errors import InputError
from tests.torchrun import torchrun

N_FILES = 23
BROKEN = (4, 11)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Files of several rates, lengths and channels; two are none."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(7)
    paths = []
    for i in range(N_FILES):
        rate, seconds = (8000, 16000, 44100)[i % 3], (0.3, 1.0, 1.7)[i % 3]
        sound = 0.1 * rng.standard_normal((round(rate * seconds), 1 + i % 2))
        path = folder / f"{i:03d}.wav"
        soundfile.write(path, sound, rate)
        if i in BROKEN:
            path.write_bytes(path.read_bytes()[:300] if i == 4 else b"no sound")
        paths.append(path)
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    return folder


@pytest.fixture(scope="module")
def shards(sounds, tmp_path_factory):
    """The same sounds in three shards."""
    folder = tmp_path_factory.mktemp("shards")
    with webdataset.ShardWriter(str(folder / "c-%06d.tar"), maxcount=9) as writer:
        for path in sorted(sounds.glob("*.wav")):
            writer.write(
                {"__key__": path.stem, "wav": path.read_bytes(), "json": b"{}"}
            )
    return str(folder / "c-{000000..000002}.tar")


@pytest.fixture
def options(classifier, interpreter, tiny):
    return ("hparams/toy_lmac.yaml", classifier, interpreter, *tiny)


def of_list(sounds, folder):
    return (
        f"--list={sounds}/list.txt",
        f"--output_folder={folder}",
        "--part_size=5",
        "--clips_at_once=4",
    )


def explained(call, *arguments):
    """The command, which ends with status 2 where a clip could not be read."""
    with pytest.raises(SystemExit) as end:
        call(explain_corpus, *arguments)
    assert end.value.code == 2


def test_every_clip_has_its_row_and_a_broken_one_its_error(
    call, options, sounds, capsys
):
    explained(call, *options, *of_list(sounds, "out"))
    assert f"2 of {N_FILES} clips" in capsys.readouterr().err
    rows = pd.read_csv("out/corpus.csv")
    assert list(rows.columns) == list(corpus.COLUMNS)
    assert [Path(name).name for name in rows["name"]] == [
        f"{i:03d}.wav" for i in range(N_FILES)
    ]
    broken = rows.loc[list(BROKEN)]
    assert broken["error"].str.contains("truncated|unreadable").all()
    assert broken[["p", "MM"]].isna().all(None)
    readable = rows.drop(index=list(BROKEN))
    assert readable["error"].isna().all()
    assert readable[["p", "p_in", "p_out"]].gt(0).all(None)
    assert readable[["p", "p_in", "p_out", "MM"]].le(1).all(None)


def test_two_processes_write_what_one_does(call, run, options, sounds, tmp_path):
    explained(call, *options, *of_list(sounds, tmp_path / "one"))
    out = of_list(sounds, tmp_path / "two")
    done = run(torchrun("recipes/explain_corpus.py", *options, *out))
    assert "2 of 23 clips" in done.stderr
    one, two = (tmp_path / name / "corpus.csv" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert len(list((tmp_path / "two").glob("parts-*/*.csv"))) == 5


def test_finished_parts_are_not_computed_again(call, options, sounds, monkeypatch):
    explained(call, *options, *of_list(sounds, "whole"))
    before = corpus._explained

    def power_cut(explainer, batch, device):
        if batch.part.startswith("part-000002"):
            raise KeyboardInterrupt
        return before(explainer, batch, device)

    monkeypatch.setattr(corpus, "_explained", power_cut)
    with pytest.raises(KeyboardInterrupt):
        call(explain_corpus, *options, *of_list(sounds, "part"))
    assert not Path("part/corpus.csv").exists()
    made = []

    def look(explainer, batch, device):
        made.append(batch.part[:11])
        return before(explainer, batch, device)

    monkeypatch.setattr(corpus, "_explained", look)
    explained(call, *options, *of_list(sounds, "part"))
    assert set(made) == {"part-000002", "part-000003", "part-000004"}
    whole, part = (Path(n) / "corpus.csv" for n in ("whole", "part"))
    assert part.read_bytes() == whole.read_bytes()


def test_another_list_takes_no_row_of_this_one(call, options, sounds):
    explained(call, *options, *of_list(sounds, "out"))
    other = Path("other.txt")
    lines = (sounds / "list.txt").read_text().splitlines()
    other.write_text("\n".join(lines[:4] + lines[5:8]) + "\n")
    call(
        explain_corpus,
        *options,
        f"--list={other}",
        "--output_folder=out",
        "--part_size=5",
    )
    assert len(pd.read_csv("out/corpus.csv")) == 7


def test_shards_have_the_scores_of_the_list(call, options, sounds, shards):
    explained(call, *options, *of_list(sounds, "list"))
    options = (*options, f"--shards={shards}", "--output_folder=out", "--sounds")
    explained(call, *options)
    rows, expected = pd.read_csv("out/corpus.csv"), pd.read_csv("list/corpus.csv")
    assert rows["name"].tolist()[:2] == ["c-000000.tar/000", "c-000000.tar/001"]
    # libsndfile reads a sound in memory that was cut short as a shorter one.
    both = expected["error"].isna()
    assert both.sum() == N_FILES - 2 and rows["error"].isna().sum() >= both.sum()
    numbers = ["p", "p_in", "p_out", "AD", "FF", "MM"]
    np.testing.assert_allclose(
        rows.loc[both, numbers], expected.loc[both, numbers], rtol=1e-3, atol=1e-4
    )
    written = sorted(Path("out").glob("sounds/*/*.wav"))
    assert len(written) == rows["error"].isna().sum()
    wav, rate = soundfile.read(written[0])
    assert (len(wav), rate) == (16000, 16000)


def test_a_truncated_shard_is_an_error(call, options, shards, tmp_path, capsys):
    data = Path(shards.replace("{000000..000002}", "000000")).read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    (tmp_path / "none.tar").write_bytes(b"no archive" * 100)
    shards = f"--shards={tmp_path}/{{cut,none}}.tar"
    explained(call, *options, shards, "--output_folder=out")
    rows = pd.read_csv("out/corpus.csv")
    errors = rows["error"].dropna().tolist()
    assert len(errors) == 2
    assert "unexpected end of data" in errors[0]  # of tarfile
    assert "invalid header" in errors[1]
    assert rows["error"].isna().sum() > 1


def test_missing_lists_and_shards_are_refused(refused, options, tmp_path):
    out = "--output_folder=out"
    assert "no.txt" in refused(explain_corpus, *options, "--list=no.txt", out)
    shards = f"--shards={tmp_path}/no-{{0..3}}.tar"
    assert "4 of 4" in refused(explain_corpus, *options, shards, out)


def test_a_list_is_read_a_part_at_a_time(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{i}.wav\n\n" for i in range(10)))
    parts = streams.ListedClips(path, part_size=4).parts(16000)
    first = next(parts)
    path.write_text("")  # what is read already is known; the buffer has the rest
    assert first.content == ("0.wav", "1.wav", "2.wav", "3.wav")
    assert [part.content for part in parts][-1] == ("8.wav", "9.wav")
    sizes = [len(part.content) for part in streams.ListedClips(path).parts(16000)]
    assert sizes == []


def test_sounds_in_memory_are_those_of_the_file(sounds):
    from speechbrain_lmac.dsp.audio import decode_mono, read_mono

    path = sounds / "002.wav"
    stream = io.BytesIO(path.read_bytes())
    assert torch.equal(
        decode_mono(stream.getvalue(), "it", 16000), read_mono(path, 16000)
    )


@pytest.mark.parametrize("name", ["a b#c.tar", "a?b.tar", "a%20b.tar", "file:a.tar"])
def test_a_shard_is_a_path_and_no_url(shards, tmp_path, name):
    data = Path(shards.replace("{000000..000002}", "000001")).read_bytes()
    (tmp_path / name).write_bytes(data)
    (part,) = streams.ShardedClips(tmp_path / name).parts(16000)
    names = [clip for clip, _ in part.clips()]
    assert len(names) == 9 and names[0] == f"{name}/009"


def test_a_shard_without_its_end_is_an_error(shards, tmp_path):
    data = Path(shards.replace("{000000..000002}", "000001")).read_bytes()
    whole = tmp_path / "whole.tar"
    whole.write_bytes(data)
    (tmp_path / "cut.tar").write_bytes(data.rstrip(b"\0"))
    (part,) = streams.ShardedClips(whole).parts(16000)
    names = [name for name, _ in part.clips()]
    assert len(names) == 9 and names[0] == "whole.tar/009"
    (part,) = streams.ShardedClips(tmp_path / "cut.tar").parts(16000)
    *clips, (name, read) = part.clips()
    assert name == "cut.tar"
    with pytest.raises(InputError, match="archive"):
        read()
