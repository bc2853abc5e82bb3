"""Listenable post-hoc explanations for audio classifiers, as SpeechBrain recipes.

import speechbrain_lmac
explained = speechbrain_lmac.explain("dog.wav")
explained.predicted, explained.confidence
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechbrain_lmac.api import explain
    from speechbrain_lmac.inference import AudioClassifier, AudioExplainer

__version__ = "0.3.0"
__all__ = ["AudioClassifier", "AudioExplainer", "explain"]


def __dir__() -> list[str]:
    """Return the public names, for help() and completion."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name, with torch, on first use."""
    if name == "explain":
        from speechbrain_lmac.api import explain

        return explain
    if name in __all__:
        from speechbrain_lmac import inference

        return getattr(inference, name)
    # Models of version 0.2 name classes of these modules, and SpeechBrain's
    # `foreign_class` looks names up as attributes of the package.
    if name in ("codec", "learned"):
        from importlib import import_module

        return import_module(f"speechbrain_lmac.domains.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
