"""Sentences to tokens, for the text towers of the big CLAPs."""

from pathlib import Path

from speechbrain_lmac.classifiers.huggingface import transformers_module
from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.utils.errors import InputError


def load_tokenizer(source: Path | str):
    """A tokenizer of transformers, from a folder or the hub.

    Raises
    ------
    InputError
        When it cannot be had.
    """
    source, kind = str(source), transformers_module().AutoTokenizer
    cached = only_cached(source, "tokenizer_config.json", "a tokenizer")
    try:
        tokenizer = kind.from_pretrained(source, local_files_only=cached)
    except (OSError, ValueError, TypeError, KeyError) as error:
        what = "the folder has none" if Path(source).is_dir() else "it is no folder"
        raise InputError(
            f"cannot load a tokenizer from {source} ({what}, or the hub did not give "
            f"it): name a folder as save_pretrained of a tokenizer writes it. {error}"
        ) from error
    # Without files, transformers makes one of special tokens only, and says nothing.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise InputError(
            f"cannot load a tokenizer from {source}: it holds no words. Its files, "
            "such as tokenizer.json or vocab.txt, may be missing"
        )
    return tokenizer


def tokens_of(tokenizer, prompts: list[str], limit: int):
    """Prompts to the tokens of a batch, padded to the longest.

    Arguments
    ---------
    tokenizer : transformers.PreTrainedTokenizerBase
    prompts : list
        P sentences.
    limit : int
        Tokens that the text tower takes, with those at both ends.

    Returns
    -------
    tokens : dict
        `input_ids`, `attention_mask` and so on, (P, L), L at most `limit`.

    Raises
    ------
    InputError
        For a prompt without words, and for one of more tokens: nothing is cut in
        silence.
    """
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise InputError("every prompt needs words; one is empty")
    counts = [len(ids) for ids in tokenizer(prompts)["input_ids"]]
    for prompt, count in zip(prompts, counts, strict=True):
        if count > limit:
            raise InputError(
                f'the prompt "{prompt[:40]}..." has {count} tokens, but the text tower '
                f"takes {limit}: say it in fewer words"
            )
    return tokenizer(prompts, padding=True, return_tensors="pt")
