"""Label encoder files in SpeechBrain's format."""

from pathlib import Path
from typing import Any

from speechbrain.dataio.encoder import CategoricalEncoder


class _Quoted(str):
    """A name whose literal does not contain the separator of name and index."""

    def __repr__(self) -> str:
        separator = CategoricalEncoder.VALUE_SEPARATOR
        escaped = separator.replace("=", r"\x3d")
        return super().__repr__().replace(separator, escaped)


class LabelEncoder(CategoricalEncoder):
    """SpeechBrain's label encoder, with files that SpeechBrain can read for any name.

    SpeechBrain's own encoder cannot read a name that contains ` => `.

    Example
    -------
    >>> encoder = LabelEncoder()
    >>> encoder.update_from_iterable(["door => open", "door"])
    >>> encoder.save(getfixture("tmpdir") / "labels.txt")
    >>> again = CategoricalEncoder()
    >>> again.load(getfixture("tmpdir") / "labels.txt")
    >>> again.ind2lab
    {0: 'door => open', 1: 'door'}
    """

    @staticmethod
    def _save_literal(
        path: Path | str, lab2ind: dict[str, int], extras: dict[str, Any]
    ) -> None:
        quoted = {_Quoted(label): index for label, index in lab2ind.items()}
        CategoricalEncoder._save_literal(path, quoted, extras)
