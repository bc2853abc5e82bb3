"""Published scores, for comparison with those of an evaluation."""

from pathlib import Path

import pandas as pd

from speechbrain_lmac.utils.errors import InputError

# Name in YAML files to CSV file.
FILES = {"lmac_esc50": "lmac_esc50.csv", "lmac_zs_esc50": "lmac_zs_esc50.csv"}

# Notes printed below the tables; docs/methods.md gives the reasons.
WARNINGS = {
    "lmac_esc50": (
        "Published: the slides of L-MAC's authors (2024-12-05), for CNN14 and fold 4 "
        "of ESC-50; white noise and speech as quoted by LMAC-TD. Their AD was "
        "apparently computed with the softmax applied twice, so it is listed next to "
        "our AD-double-softmax. All numbers of the in-domain table (condition noise) "
        "appear to be half their true values; they are printed as published and should "
        "be doubled. See docs/methods.md, double softmax and halved table."
    ),
    "lmac_zs_esc50": (
        "Published: the slides of LMAC-ZS's authors, for a CLAP that they do not name, "
        "probably on all 2,000 clips of ESC-50 (every AI is a multiple of 0.05) and "
        "not on one fold; accuracy 78.9 % on the STFT and 80.7 % on mel. Their AD was "
        "apparently computed with the softmax applied twice (an explanation that keeps "
        "the class of 2 % of the clips would otherwise lose more than 53 %), so it is "
        "listed next to our AD-double-softmax."
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
