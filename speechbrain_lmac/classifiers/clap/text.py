"""Tokenizers of the text towers of published CLAPs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechbrain_lmac.classifiers.huggingface import transformers_module
from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.utils.errors import InputError


def load_tokenizer(source: Path | str) -> Any:
    """Return a tokenizer of transformers, from a folder or the hub.

    Raises
    ------
    InputError
        When it cannot be loaded, or has only special tokens.
    """
    source, kind = str(source), transformers_module().AutoTokenizer
    cached = only_cached(source, "tokenizer_config.json", "a tokenizer")
    try:
        tokenizer = kind.from_pretrained(source, local_files_only=cached)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = (
            "no tokenizer in the folder"
            if Path(source).is_dir()
            else "not a folder, and not downloaded from the hub"
        )
        raise InputError(
            f"cannot load a tokenizer from {source} ({reason}): use a folder written "
            f"by a tokenizer's save_pretrained. {error}"
        ) from error
    # Without files, transformers silently returns a tokenizer of special tokens.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise InputError(
            f"cannot load a tokenizer from {source}: it has no words. Its files, such "
            "as tokenizer.json or vocab.txt, may be missing"
        )
    return tokenizer


def tokenize(tokenizer: Any, prompts: Sequence[str], limit: int) -> Any:
    """Return the tokens of prompts, padded to the longest.

    Arguments
    ---------
    tokenizer : transformers.PreTrainedTokenizerBase
    prompts : sequence of str
        P prompts.
    limit : int
        Maximum number of tokens, including the special ones at both ends.

    Returns
    -------
    tokens : transformers.BatchEncoding
        `input_ids`, `attention_mask` and so on, (P, L) each, L at most `limit`.

    Raises
    ------
    InputError
        For a prompt without words or with more tokens; prompts are not cut.
    """
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise InputError(f"every prompt must contain words, got {list(prompts)}")
    counts = [len(ids) for ids in tokenizer(prompts)["input_ids"]]
    for prompt, count in zip(prompts, counts, strict=True):
        if count > limit:
            raise InputError(
                f"a prompt must have at most {limit} tokens, got {count} of "
                f'"{prompt[:40]}...": use fewer words'
            )
    return tokenizer(prompts, padding=True, return_tensors="pt")
