"""The function `speechbrain_lmac.explain`."""

from collections.abc import Sequence
from pathlib import Path

from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.inference.results import Explained


def explain(
    path: Path | str,
    model: AudioExplainer | str | Path = "esc10-lmac",
    target: str | None = None,
    prompts: Sequence[str] | None = None,
    check: bool = True,
) -> Explained | list[Explained]:
    """Return the part of an audio file that the classifier's decision rests on.

    Arguments
    ---------
    path : str or Path
        WAV, FLAC, Ogg, MP3 or another format of libsndfile; of any rate, length and
        number of channels.
    model : str, Path or AudioExplainer
        A shipped model, a folder written by publish.py, or a hub id ("user/name"). For
        many files load it once with `AudioExplainer.from_hparams`.
    target : str, optional
        The class to explain, one of the model's `labels`. Default: the predicted one.
    prompts : sequence of str, optional
        Text prompts, for a zero-shot model.
    check : bool
        Compute `encoding`; without it explaining is faster.

    Returns
    -------
    explained : FileExplanation, or list of PromptExplanation
        See `speechbrain_lmac.inference.results`; with prompts a list, one for each.

    Raises
    ------
    InputError
        For an unknown model, an unreadable file, an unknown class, and for a target or
        prompts that the model cannot use.
    """
    if not isinstance(model, AudioExplainer):
        model = AudioExplainer.from_hparams(model)
    return model.explain_file(path, target, prompts, check)
