"""What the error says in the place of a part of an earlier version."""

import re

import pytest

from speechbrain_lmac.config.inheritance import find_hparams
from speechbrain_lmac.config.old_parts import REPLACED
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.utils.errors import InputError


@pytest.mark.parametrize("old", REPLACED)
def test_what_is_told_can_be_written(tmp_path, old):
    path = tmp_path / "mine.yaml"
    path.write_text(f"part: !include:parts/{old}\n")
    with pytest.raises(InputError, match=f"no file parts/{old} to include") as refused:
        resolve(path)
    told = str(refused.value).rpartition("; write ")[2]
    path.write_text(f"part: {told}\n")
    try:
        resolve(path)
    except InputError as still_open:  # what an experiment gives
        assert " !PLACEHOLDER" in str(still_open)


@pytest.mark.parametrize("old", ["explainer/ig", "baselines/papers", "table/esc10"])
def test_what_stands_in_the_place_of_a_folder_is_told(tmp_path, old):
    path = tmp_path / "mine.yaml"
    path.write_text(f"part: !include:parts/{old}.yaml {{}}\n")
    with pytest.raises(InputError, match="to include .*; write the ") as refused:
        resolve(path)
    for named in re.findall(r"hparams/\w+\.yaml", str(refused.value)):
        assert find_hparams(named).is_file()
