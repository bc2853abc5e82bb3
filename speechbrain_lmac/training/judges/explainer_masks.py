"""The masks of an explainer, for a judge of its encoding."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from speechbrain_lmac.explainers.by_name import open_explainers
from speechbrain_lmac.types import Classifier, Encoded, MaskDomain
from speechbrain_lmac.utils.errors import InputError, some_of


class ExplainerMasks:
    """The mask of an explainer for each clip, for the class that is predicted.

    Arguments
    ---------
    rows : dict
        Row of a table to its explainer (`explainers.by_name`), with the row `name`, and
        its reference if it has one.
    name : str
        The row whose masks are used.
    classifier : Classifier
        The explained one.
    domain : MaskDomain

    Raises
    ------
    InputError
        If there is no such row, or as `open_explainers`.
    """

    def __init__(
        self,
        rows: Mapping[str, Any],
        name: str,
        classifier: Classifier,
        domain: MaskDomain,
    ) -> None:
        if rows.get(name) is None:
            known = some_of(repr(key) for key, row in rows.items() if row is not None)
            raise InputError(f"unknown explainer {name!r}; known: {known}")
        opened, _ = open_explainers(rows, classifier, domain, only=name)
        self.explainer = opened[name]

    def __call__(self, encoded: Encoded, keys: Sequence[tuple]) -> torch.Tensor:
        """Explain the predicted classes of clips.

        Arguments
        ---------
        encoded : Encoded
            Of B waveforms.
        keys : sequence of tuple
            Not used: the masks depend on the clips alone.

        Returns
        -------
        masks : torch.Tensor
            Shape (B, T, F), in 0..1, without gradient.
        """
        if encoded.wav is None:
            raise ValueError("masks of an explainer need the clips' waveforms")
        return self.explainer.explain(encoded.wav, None, encoded.lens).mask.detach()
