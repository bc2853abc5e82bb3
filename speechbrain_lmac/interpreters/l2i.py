"""L2I's interpreter: NMF activations, and their contributions to class logits."""

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
    """NMF activations of a clip, and the contributions of components to classes."""

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
    pooled over time and classified linearly by theta. Training jointly minimises the
    reconstruction error of the input and the distance between theta's and the
    classifier's predictions. A component's relevance to a class is its contribution to
    the logit of theta.

    Arguments
    ---------
    psi : torch.nn.Module
        Maps (hidden, frames) to activations (B, T, K): `ConvActivations` or
        `PublishedActivations`.
    pooling : torch.nn.Module
        Maps activations (B, T, K) to z (B, K): `MeanOverTime` or `LearnedOverTime`.
    n_classes : int
        Number of classes C.
    n_components : int
        Number of components K, equal to that of `psi`.
    n_bins : int
        Number of bins F of the dictionary. The dictionary is zero until it is loaded:
        train_l2i.py loads the output of train_nmf.py, `TrainedInterpreter` the
        checkpoint.

    Raises
    ------
    InputError
        When `psi` has a different number of components.
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
                f"n_components is {n_components}, but psi returns activations of "
                f"{psi.n_components} components"
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
        """Compute activations, spectra and contributions from hidden maps.

        Arguments
        ---------
        hidden : tuple of torch.Tensor
            Maps (B, C', T', F') of the classifier, the shallowest first.
        encoded : Encoded
            With `rep` (B, T, F); only its number of frames is used.
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
    """Activations from the maps of the compact decoder, `ConvTrunk`.

    A linear layer over all channels and bands of each frame, then ReLU. The published
    psi averages over the bands instead; since convolutions are equivariant to frequency
    shifts, it cannot tell a low tone from a high one.

    Arguments
    ---------
    hidden_channels, widths, head_width, n_bands
        As `ConvTrunk`.
    n_components : int
        Number of components K.

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
        """Compute activations (B, frames, K) >= 0 from maps (B, C', T', F')."""
        maps = self.maps(hidden, frames)
        return F.relu(self.head(maps.transpose(1, 2).flatten(2)))


class PublishedActivations(PublishedTrunk):
    """The public code's psi for CNN14 on 80 mel bins, `CNN14PSI_stft_2d`.

    The transposed convolutions of L-MAC's decoder, except the last: it has kernel (7,
    5), K output channels and, unlike L-MAC's, a ReLU before it. Then ReLU and the mean
    over frequency. A 5 s clip has 431 frames; other lengths are padded and cropped, see
    `PublishedTrunk`.

    Arguments
    ---------
    hidden_channels, width
        As `PublishedInterpreter`.
    n_components : int
        Number of components K.
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
        """Compute activations (B, frames, K) >= 0 from 4 maps (B, C', T', F')."""
        maps = self.layers[8](F.relu(self.maps(hidden, frames)))[:, :, :frames]
        return F.relu(maps).mean(3).transpose(1, 2)


class MeanOverTime(torch.nn.Module):
    """Pool activations by their mean over time, for inputs of any length.

    Arguments
    ---------
    gain : float
        Factor applied to the mean; relevances do not depend on it. Activations are
        small (mean near 0.1): without a gain theta would need large weights, which a
        short training run does not reach.

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
    """Pool activations by a learned weighted sum over time, without bias.

    As published for T = 431. For other lengths (our extension) the weights are
    interpolated linearly to T frames with the end points fixed, and scaled by 431 / T:
    a constant activation pools to about the same value at any length.

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
