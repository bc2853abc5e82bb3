"""What a user imports: `speechbrain_lmac.explain`."""

from pathlib import Path

from speechbrain_lmac.inference import AudioExplainer


def explain(
    path: Path | str,
    model: AudioExplainer | str = "esc10-lmac",
    target: str | None = None,
    prompts: str | None = None,
):
    """Explain an audio file: which part of the sound made the classifier decide?

    Arguments
    ---------
    path : str or Path
        WAV, FLAC, Ogg, MP3 or what else libsndfile reads; of any rate, length and
        number of channels.
    model : str, Path or AudioExplainer
        The name of a model of the package, a folder as publish.py writes it, or a hub
        id ("user/name"); for many files load it once with
        `AudioExplainer.from_hparams`.
    target : str, optional
        The class to explain, of the model's `labels`. Without: the predicted one.
    prompts : sequence of str, optional
        Of a zero-shot model: what to look for, in words.

    Returns
    -------
    explained : FileExplanation, or list of PromptExplanation
        Of `speechbrain_lmac.inference.results`; with prompts a list, one for each.

    Raises
    ------
    InputError
        When there is no such model, when the file cannot be read, for a target that is
        no class, and for a target or prompts that the model would not listen to.
    """
    if not isinstance(model, AudioExplainer):
        model = AudioExplainer.from_hparams(model)
    return model.explain_file(path, target, prompts)
