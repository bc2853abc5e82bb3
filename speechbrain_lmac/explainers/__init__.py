"""Methods that explain a decision of a frozen classifier."""

from speechbrain_lmac.explainers.amortized import AmortizedExplainer
from speechbrain_lmac.explainers.controls import (
    AllOnesExplainer,
    RandomExplainer,
    Remembered,
)
from speechbrain_lmac.explainers.l2i import L2IExplainer

__all__ = [
    "AllOnesExplainer",
    "AmortizedExplainer",
    "L2IExplainer",
    "RandomExplainer",
    "Remembered",
]
