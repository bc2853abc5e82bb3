"""Published scores, for comparison with those of an evaluation."""

from pathlib import Path

import pandas as pd

from speechbrain_lmac.utils.errors import InputError

# Files by the key of a YAML.
FILES = {"lmac_esc50": "lmac_esc50.csv", "lmac_zs_esc50": "lmac_zs_esc50.csv"}

# Notes below the tables; the arguments are in docs/methods.md.
WARNINGS = {
    "lmac_esc50": (
        "Published: the slides of L-MAC's authors (2024-12-05), for CNN14 and fold 4 "
        "of ESC-50; white noise and speech as quoted by LMAC-TD. Their AD was computed "
        "with the softmax applied twice, as it seems, so it stands beside our "
        "AD-double-softmax. Every number of the table in domain (condition noise) "
        "appears to be half its true value: it is printed as published; read twice "
        "of it. See docs/methods.md, double softmax and halved table."
    ),
    "lmac_zs_esc50": (
        "Published: the slides of LMAC-ZS's authors, for a CLAP that they do not name, "
        "probably on all 2,000 clips of ESC-50 (every AI is a multiple of 0.05) and "
        "not on one fold; right on 78.9 % of them on the STFT and 80.7 % on mel. Their "
        "AD seems to be computed with the softmax applied twice (an explanation that "
        "keeps the class of 2 % of the clips would else lose more than 53 %), so it "
        "stands beside our AD-double-softmax."
    ),
}


def published_numbers(name: str) -> pd.DataFrame:
    """Return the published scores of a paper.

    Arguments
    ---------
    name : str
        One of `FILES`.

    Returns
    -------
    numbers : pandas.DataFrame
        A row for each `condition block method`, with the scores as columns; NaN where
        a score was not published.

    Raises
    ------
    InputError
        For an unknown name.

    Example
    -------
    >>> numbers = published_numbers("lmac_esc50")
    >>> row = numbers.set_index(["condition", "block", "method"])
    >>> float(row.loc[("mixtures", "STFT", "L-MAC"), "AI"])
    60.63
    """
    if name not in FILES:
        raise InputError(
            f"unknown published scores {name!r}; known: {', '.join(FILES)}"
        )
    return pd.read_csv(Path(__file__).parent / FILES[name])
