"""Methods that explain a decision of a frozen classifier."""

from speechbrain_lmac.explainers.amortized import AmortizedExplainer
from speechbrain_lmac.explainers.controls import (
    AllOnesExplainer,
    RandomExplainer,
    Remembered,
)

__all__ = ["AllOnesExplainer", "AmortizedExplainer", "RandomExplainer", "Remembered"]
