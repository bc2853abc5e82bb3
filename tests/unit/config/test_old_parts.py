"""Parts of earlier versions: the error names the replacement."""

import re

import pytest

from speechbrain_lmac.config.inheritance import find_hparams
from speechbrain_lmac.config.old_parts import REPLACED
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.utils.errors import InputError


@pytest.mark.parametrize("old", REPLACED)
def test_the_replacement_in_the_message_resolves(tmp_path, old):
    path = tmp_path / "mine.yaml"
    path.write_text(f"part: !include:parts/{old}\n")
    with pytest.raises(InputError, match=f"include: parts/{old} ") as refused:
        resolve(path)
    replacement = str(refused.value).rpartition("; write ")[2]
    path.write_text(f"part: {replacement}\n")
    try:
        resolve(path)
    except InputError as still_open:  # values that an experiment sets
        assert " !PLACEHOLDER" in str(still_open)


@pytest.mark.parametrize("old", ["explainer/ig", "baselines/papers", "table/esc10"])
def test_the_replacement_of_a_folder_exists(tmp_path, old):
    path = tmp_path / "mine.yaml"
    path.write_text(f"part: !include:parts/{old}.yaml {{}}\n")
    with pytest.raises(InputError, match=f"include: parts/{old}.*; write ") as refused:
        resolve(path)
    for named in re.findall(r"hparams/\w+\.yaml", str(refused.value)):
        assert find_hparams(named).is_file()
