"""A trained classifier that nothing can change."""

import torch

from speechbrain_lmac.classifiers.checkpoint import load_classifier


class FrozenClassifier(torch.nn.Module):
    """The classifier under explanation: loaded, in eval mode, without gradients.

    It stays in eval mode whatever is called on it (`Brain` calls
    ``modules.train()`` in every epoch), so neither parameters nor batch-norm
    statistics ever change. Gradients flow through it to its input.

    Arguments
    ---------
    model : torch.nn.Module
        features to `ClassifierOutput`, with `n_classes` and `CHECKPOINTS`.
    source : str
        A folder as train_classifier.py writes it, or a hub id ("user/name").

    Raises
    ------
    InputError
        When a file cannot be had or does not fit the model.
    """

    def __init__(self, model, source):
        super().__init__()
        self.labels = load_classifier(model, source)
        self.model = model.requires_grad_(False)
        self.eval()

    @property
    def n_classes(self):
        """Number of classes C."""
        return self.model.n_classes

    @property
    def cam_layer(self):
        """The module whose output class activation maps look at."""
        return self.model.cam_layer

    @property
    def cam_stride(self):
        """Frames and bands that a step of that map stands for."""
        return self.model.cam_stride

    def train(self, mode=True):
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, features):
        """Features (B, T, n_mels) to logits (B, C) and hidden maps."""
        return self.model(features)
