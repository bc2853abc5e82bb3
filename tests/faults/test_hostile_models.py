"""Nothing of a stranger's model runs, and what is wrong with it is one line.

`make test` opens every fifth of the folders, `make faults` all of them.
"""

import os

import pytest

from tests.hostile_models import SECRET, Attack, attacks, attempt, write_good_model

ALL = attacks()
SHARE = 1 if os.environ.get("FAULT_RECORD") else 5
# Of one case, on a machine that has other things to do. The library's largest steps: a
# filter bank, which may have 256 MiB; 10,000 values of YAML.
MOST_MIB = 300
MOST_SECONDS = 10


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_good_model(tmp_path_factory.mktemp("hostile") / "good")


def test_no_folder_runs_anything_and_all_are_refused_in_one_line(
    good, tmp_path, record
):
    wrong, rows = [], {}
    for number, attack in enumerate(ALL[::SHARE]):
        outcome = attempt(attack, good, tmp_path / str(number))
        wanted = "opened" if attack.opens else "refused"
        if outcome.result != wanted or outcome.ran or outcome.mib > MOST_MIB:
            wrong.append((attack.kind, attack.name, outcome))
        elif outcome.seconds > MOST_SECONDS:
            wrong.append((attack.kind, attack.name, outcome))
        rows.setdefault(attack.kind, []).append(outcome)
    table = {
        kind: {
            "cases": len(found),
            "opened": sum(o.result == "opened" for o in found),
            "refused": sum(o.result == "refused" for o in found),
            "ran": sum(o.ran for o in found),
            "tracebacks": sum(o.result not in ("opened", "refused") for o in found),
            "seconds": round(max(o.seconds for o in found), 2),
            "mib": round(max(o.mib for o in found)),
        }
        for kind, found in rows.items()
    }
    record("hostile_models", **table)
    assert not wrong


def test_each_attack_is_another_one():
    names = [(attack.kind, attack.name) for attack in ALL]
    assert len(set(names)) == len(names) >= 115


def test_the_good_model_opens_and_a_secret_would_be_seen(good, tmp_path):
    def tell(place):
        (place.folder / "README.md").write_text(SECRET)

    def touch(place):
        place.mark.touch()

    seen = attempt(Attack("", "", tell), good, tmp_path / "told")
    assert seen.result == "opened" and seen.ran
    assert attempt(Attack("", "", touch), good, tmp_path / "touched").ran
    fine = attempt(Attack("", "", lambda place: None), good, tmp_path / "fine")
    assert fine.result == "opened" and not fine.ran
