"""For `speechbrain.inference.interfaces.foreign_class`."""

from speechbrain_lmac.inference import AudioClassifier  # noqa: F401
