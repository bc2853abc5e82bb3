"""L2I's interpreter: activations of spectra, and their contributions to classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from speechbrain_lmac.interpreters.cnn14_stft import PublishedTrunk
from speechbrain_lmac.interpreters.conv import ConvTrunk
from speechbrain_lmac.interpreters.nmf import Dictionary
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError, check_counts


@dataclass(frozen=True)
class Interpretation:
    """Activations of each spectrum over time, and contributions to each class."""

    activations: torch.Tensor  # H (B, T, K), not negative
    spectra: torch.Tensor  # W (F, K), not negative
    contributions: torch.Tensor  # theta_ck z_k, (B, C, K)

    @property
    def logits(self) -> torch.Tensor:
        """Logits of theta, (B, C)."""
        return self.contributions.sum(2)

    @property
    def reconstruction(self) -> torch.Tensor:
        """H W^T, an approximation of rep, (B, T, F)."""
        return self.activations @ self.spectra.T


class L2IInterpreter(torch.nn.Module):
    """Listen to Interpret (arXiv 2202.11479), as the L-MAC paper uses it.

    psi computes activations of K spectra from the classifier's hidden maps; they are
    pooled over time and classified linearly by theta. Training minimises the
    reconstruction error of the input and the difference from the classifier's decision
    together. A component's relevance to a class is its contribution to theta's logit.

    Arguments
    ---------
    psi : torch.nn.Module
        (hidden, frames) to activations (B, T, K): `ConvActivations` or
        `PublishedActivations`.
    pooling : torch.nn.Module
        Activations (B, T, K) to z (B, K): `MeanOverTime` or `LearnedOverTime`.
    n_classes : int
        C.
    n_components : int
        K, the same as that of `psi`.
    n_bins : int
        F, of the dictionary. It is empty until it is loaded: by train_l2i.py from the
        one of train_nmf.py, by `TrainedInterpreter` from the checkpoint.

    Raises
    ------
    InputError
        When `psi` has another number of components.
    """

    def __init__(
        self,
        psi: torch.nn.Module,
        pooling: torch.nn.Module,
        n_classes: int,
        n_components: int = 100,
        n_bins: int = 513,
    ) -> None:
        super().__init__()
        check_counts(n_bins=n_bins, n_components=n_components)
        if psi.n_components != n_components:
            raise InputError(
                f"psi returns activations of {psi.n_components} components, but "
                f"n_components: {n_components}"
            )
        self.psi = psi
        self.pooling = pooling
        self.theta = torch.nn.Linear(n_components, n_classes, bias=False)
        self.dictionary = Dictionary(n_bins, n_components)

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded: Encoded,
        condition: torch.Tensor | None = None,
    ) -> Interpretation:
        """Interpret hidden maps by the spectra of the dictionary.

        Arguments
        ---------
        hidden : tuple of torch.Tensor
            Maps (B, C', T', F') of the classifier, the shallowest first.
        encoded : Encoded
            With `rep` (B, T, F), of which only the number of frames is used.
        condition : optional
            Unused.

        Returns
        -------
        interpretation : Interpretation
        """
        activations = self.psi(hidden, encoded.rep.shape[1]).float()
        with torch.autocast(activations.device.type, enabled=False):
            pooled = self.pooling(activations)
            contributions = self.theta.weight * pooled[:, None]
        return Interpretation(activations, self.dictionary.spectra, contributions)


class ConvActivations(ConvTrunk):
    """Activations from the compact decoder's maps.

    In each frame a linear map of all channels and bands, then ReLU. The published psi
    takes the mean over the bands instead: as convolutions do not depend on absolute
    frequency, a low and a high tone are the same after it.

    Arguments
    ---------
    hidden_channels, widths, head_width, n_bands
        As `ConvTrunk`.
    n_components : int
        K.

    Example
    -------
    >>> psi = ConvActivations([4, 8], [6, 6], 4, n_bands=80, n_components=7)
    >>> hidden = (torch.rand(1, 4, 50, 40), torch.rand(1, 8, 25, 20))
    >>> psi(hidden, 101).shape
    torch.Size([1, 101, 7])
    """

    def __init__(
        self,
        hidden_channels: Sequence[int | None],
        widths: Sequence[int],
        head_width: int,
        n_bands: int,
        n_components: int,
    ) -> None:
        super().__init__(hidden_channels, widths, head_width, n_bands)
        self.n_components = n_components
        self.head = torch.nn.Linear(head_width * n_bands, n_components)

    def forward(self, hidden: tuple[torch.Tensor, ...], frames: int) -> torch.Tensor:
        """Return activations (B, T, K) >= 0 of T frames, of maps (B, C', T', F')."""
        maps = self.maps(hidden, frames)
        return F.relu(self.head(maps.transpose(1, 2).flatten(2)))


class PublishedActivations(PublishedTrunk):
    """The public code's psi for CNN14 on 80 mel bins, `CNN14PSI_stft_2d`.

    The transposed convolutions of L-MAC's decoder, but for the last, which has kernel
    (7, 5) and K channels and, unlike L-MAC's, a ReLU before it; then ReLU, mean over
    frequency. 431 frames for a clip of 5 s; other lengths are padded and cropped, see
    `PublishedTrunk`.

    Arguments
    ---------
    hidden_channels, width
        As `PublishedInterpreter`.
    n_components : int
        K.
    """

    def __init__(
        self,
        hidden_channels: Sequence[int] = (256, 512, 1024, 2048),
        width: int = 2048,
        n_components: int = 100,
    ) -> None:
        super().__init__(hidden_channels, width, n_components, (7, 5))
        self.n_components = n_components

    def forward(self, hidden: tuple[torch.Tensor, ...], frames: int) -> torch.Tensor:
        """Return activations (B, T, K) >= 0 of T frames, of 4 maps (B, C', T', F')."""
        maps = self.layers[8](F.relu(self.maps(hidden, frames)))[:, :, :frames]
        return F.relu(maps).mean(3).transpose(1, 2)


class MeanOverTime(torch.nn.Module):
    """z: the mean of the activations over time, for inputs of any length.

    Arguments
    ---------
    gain : float
        Factor of the mean. Relevance does not depend on it. Activations are small
        (their mean is near 0.1): without a gain theta would need large weights, which
        a short training does not reach.

    Example
    -------
    >>> MeanOverTime(gain=10.0)(torch.tensor([[[0.0, 0.2], [0.4, 0.2]]]))
    tensor([[2., 2.]])
    """

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        """Pool activations (B, T, K) to z (B, K)."""
        return self.gain * activations.mean(1)


class LearnedOverTime(torch.nn.Module):
    """z: a learned weighted sum over time, as published for T = 431, without bias.

    For other lengths (ours) the weights are interpolated linearly to T frames, first
    and last in place, and multiplied by 431 / T, so that a steady activation weighs
    about the same at any length.

    Arguments
    ---------
    n_frames : int
        Number of learned weights.

    Example
    -------
    >>> pooling = LearnedOverTime(n_frames=2)
    >>> pooling.weights.data = torch.tensor([1.0, 3.0])
    >>> steady = torch.ones(1, 3, 1)
    >>> pooling(steady[:, :2]).item(), round(pooling(steady).item(), 4)
    (4.0, 4.0)
    """

    def __init__(self, n_frames: int = 431) -> None:
        super().__init__()
        check_counts(n_frames=n_frames)
        # The range of torch.nn.Linear's weights, as in the public code.
        bound = n_frames**-0.5
        self.weights = torch.nn.Parameter(torch.empty(n_frames).uniform_(-bound, bound))

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        """Pool activations (B, T, K) to z (B, K)."""
        frames = activations.shape[1]
        weights = F.interpolate(
            self.weights[None, None], frames, mode="linear", align_corners=True
        )
        scale = len(self.weights) / frames
        return scale * torch.einsum("t,btk->bk", weights[0, 0], activations)
