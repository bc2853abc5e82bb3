"""Class names in files, in SpeechBrain's form."""

from speechbrain.dataio.encoder import CategoricalEncoder


class _Quoted(str):
    """A name whose literal does not hold what separates it from its index."""

    def __repr__(self) -> str:
        separator = CategoricalEncoder.VALUE_SEPARATOR
        escaped = separator.replace("=", r"\x3d")
        return super().__repr__().replace(separator, escaped)


class LabelEncoder(CategoricalEncoder):
    """SpeechBrain's encoder; what it saves is read by SpeechBrain for any names.

    SpeechBrain cannot read a name with ` => ` in it that it has saved itself.

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
    def _save_literal(path, lab2ind: dict[str, int], extras: dict[str, int]) -> None:
        quoted = {_Quoted(label): index for label, index in lab2ind.items()}
        CategoricalEncoder._save_literal(path, quoted, extras)
