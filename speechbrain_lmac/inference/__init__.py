"""Trained models, ready to use on waveforms and files."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechbrain_lmac.inference.interfaces import AudioClassifier, AudioExplainer

__all__ = ["AudioClassifier", "AudioExplainer"]


def __getattr__(name: str) -> type:
    """Import an interface, and torch with it, on first use."""
    if name in __all__:
        from speechbrain_lmac.inference import interfaces

        return getattr(interfaces, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
