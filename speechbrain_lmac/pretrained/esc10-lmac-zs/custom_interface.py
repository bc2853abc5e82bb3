"""For `speechbrain.inference.interfaces.foreign_class`."""

from speechbrain_lmac.inference import AudioExplainer  # noqa: F401
