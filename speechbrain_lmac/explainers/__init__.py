"""Explainers of the decisions of a frozen classifier."""

from speechbrain_lmac.explainers.amortized import AmortizedExplainer
from speechbrain_lmac.explainers.attribution import AttributionExplainer, Baselines
from speechbrain_lmac.explainers.bounds import (
    EnergyExplainer,
    IdealMask,
    OtherClipMask,
)
from speechbrain_lmac.explainers.cam import GradCAM, GradCAMPlusPlus, LayerCAM
from speechbrain_lmac.explainers.controls import (
    AllOnesExplainer,
    RandomExplainer,
    Remembered,
)
from speechbrain_lmac.explainers.gradients import (
    GradientShap,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
)
from speechbrain_lmac.explainers.guided_backprop import GuidedBackprop, GuidedGradCAM
from speechbrain_lmac.explainers.l2i import L2IExplainer
from speechbrain_lmac.explainers.optimised import BestMask, WrongClassMask
from speechbrain_lmac.explainers.perturbation import Lime, Occlusion, Rise
from speechbrain_lmac.explainers.trained import TrainedExplainer
from speechbrain_lmac.explainers.zero_shot import ZeroShotExplainer

__all__ = [
    "AllOnesExplainer",
    "AmortizedExplainer",
    "AttributionExplainer",
    "Baselines",
    "BestMask",
    "EnergyExplainer",
    "GradCAM",
    "GradCAMPlusPlus",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCAM",
    "IdealMask",
    "IntegratedGradients",
    "L2IExplainer",
    "LayerCAM",
    "Lime",
    "Occlusion",
    "OtherClipMask",
    "RandomExplainer",
    "Remembered",
    "Rise",
    "Saliency",
    "SmoothGrad",
    "TrainedExplainer",
    "WrongClassMask",
    "ZeroShotExplainer",
]
