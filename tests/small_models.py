"""Small classifiers with batch norms as after a training."""

import torch

from speechbrain_lmac.classifiers import CNN14Classifier, CompactClassifier

N_MELS = 32  # the fewest that CNN14 takes; 80 in the published model


def with_statistics(model):
    """Each channel has its own mean, scale and bias: silence is not 0 behind a norm."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.02, 0.1)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return model.eval()


def small_compact(n_classes=3, channels=(6, 8, 10, 12)):
    """A `CompactClassifier` of `N_MELS` bands."""
    torch.manual_seed(0)
    return with_statistics(CompactClassifier(n_classes, N_MELS, channels=channels))


def small_cnn14(n_classes=3):
    """A `CNN14Classifier` of `N_MELS` bands."""
    torch.manual_seed(0)
    return with_statistics(CNN14Classifier(n_classes, N_MELS, emb_dim=8))
