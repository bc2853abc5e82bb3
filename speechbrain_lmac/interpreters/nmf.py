"""The dictionary of spectra of L2I, learned by an autoencoder.

Non-negative matrix factorisation: rep (T, F) is approximated by H W^T with activations
H (T, K) and spectra W (F, K), all >= 0.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from speechbrain.lobes.models.L2I import NMFDecoderAudio, NMFEncoder

from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.hub.weights import load_weights
from speechbrain_lmac.utils.errors import InputError

# The settings that the spectra depend on. `rep_of_1` is the representation of the
# magnitude 1, which differs between log1p and linear magnitudes.
FRONT_END = ("sample_rate", "n_fft", "hop_length", "win_length", "rep_of_1")


def front_end_of(domain: STFTDomain) -> torch.Tensor:
    """Return the values of `FRONT_END` of a domain, shape (5,), float64.

    Raises
    ------
    InputError
        For a domain without FFT bins.

    Example
    -------
    >>> from speechbrain_lmac.domains.stft import STFTDomain
    >>> front_end_of(STFTDomain(sample_rate=16000))
    tensor([1.6000e+04, 1.0240e+03, 1.8600e+02, 3.7200e+02, 6.9315e-01],
           dtype=torch.float64)
    """
    if not (isinstance(domain, STFTDomain) and domain.listenable):
        raise InputError(
            f"the domain of L2I must have FFT bins, got {type(domain).__name__}: use a "
            "YAML whose domain is STFTDomain"
        )
    rep_of_1 = domain.compress(torch.ones((), dtype=torch.float64)).item()
    sizes = (domain.sample_rate, domain.n_fft, domain.hop_length, domain.win_length)
    return torch.tensor([*sizes, rep_of_1], dtype=torch.float64)


class Dictionary(torch.nn.Module):
    """K frozen spectra of F bins, and the front end with which they were learned.

    All zeros until filled or loaded as part of an interpreter.

    Arguments
    ---------
    n_bins : int
        Number of bins F.
    n_components : int
        Number of spectra K.

    Example
    -------
    >>> dictionary = Dictionary(n_bins=2, n_components=1)
    >>> dictionary.spectra.copy_(torch.tensor([[1.0], [3.0]]))
    tensor([[1.],
            [3.]])
    >>> dictionary(torch.tensor([[[2.0]]]))
    tensor([[[2., 6.]]])
    """

    spectra: torch.Tensor  # W (F, K)
    front_end: torch.Tensor  # (5,) float64, see `FRONT_END`

    def __init__(self, n_bins: int, n_components: int) -> None:
        super().__init__()
        self.register_buffer("spectra", torch.zeros(n_bins, n_components))
        front_end = torch.zeros(len(FRONT_END), dtype=torch.float64)
        self.register_buffer("front_end", front_end)

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        """Return H W^T (B, T, F) for activations H (B, T, K)."""
        return activations @ self.spectra.T

    def check_domain(self, domain: STFTDomain) -> None:
        """Raise InputError unless the spectra were learned with the same front end."""
        front_end = front_end_of(domain)
        if not torch.allclose(self.front_end.cpu(), front_end):
            expected, got = map(_described, (self.front_end, front_end))
            raise InputError(
                f"the domain of the NMF dictionary must have {expected}, got {got}: "
                "train the dictionary (train_nmf.py), and L2I with it (train_l2i.py), "
                "in the domain of the explanations"
            )


def _described(front_end: torch.Tensor) -> str:
    """Name the values (5,) of a front end, for errors."""
    pairs = zip(FRONT_END, front_end.tolist(), strict=True)
    return ", ".join(f"{name} {value:g}" for name, value in pairs)


def load_dictionary(
    dictionary: Dictionary, checkpoint: Path | str, domain: STFTDomain
) -> None:
    """Load the dictionary that train_nmf.py wrote, in place.

    Arguments
    ---------
    dictionary : Dictionary
        Filled in place; must have the sizes of the checkpoint.
    checkpoint : str or Path
        `dictionary.ckpt`.
    domain : STFTDomain
        The domain in which the dictionary must have been learned.

    Raises
    ------
    InputError
        When the file is missing, has different sizes, or was learned in a different
        domain.
    """
    if not Path(checkpoint).is_file():
        raise InputError(
            f"missing NMF dictionary: {checkpoint}. Train one (python "
            "recipes/train_nmf.py hparams/NAME.yaml), or set --dictionary_checkpoint "
            "FILE"
        )
    load_weights(dictionary, checkpoint)
    dictionary.check_domain(domain)


class SpectralAutoencoder(torch.nn.Module):
    """The autoencoder that learns the spectra: its decoder is the matrix W.

    SpeechBrain's modules (`speechbrain.lobes.models.L2I`): three 1-d convolutions over
    time with ReLU, F - 256 - 128 - K channels, kernel 8, and W kept non-negative by a
    ReLU.

    Arguments
    ---------
    n_bins : int
        Number of bins F.
    n_components : int
        Number of spectra K. Published: 100.
    pace : float
        Multiplier of the learning rate of the spectra. Published: 1. The parameter is
        W / pace: since a step of Adam is about one learning rate for any gradient, W
        moves by `pace` learning rates per step. The initial W does not depend on it.
        After a short training run at pace 1 the spectra are still close to their
        initial noise.
    """

    def __init__(
        self, n_bins: int = 513, n_components: int = 100, pace: float = 1.0
    ) -> None:
        super().__init__()
        self.pace = pace
        self.encoder = NMFEncoder(n_bins, n_components)
        self.decoder = NMFDecoderAudio(n_components, n_bins, device="cpu")
        with torch.no_grad():
            self.decoder.W.div_(pace)

    def forward(self, rep: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction of rep (B, T, F) >= 0, same shape, >= 0."""
        activations = self.encoder(rep.transpose(1, 2))
        return self.pace * self.decoder(activations).transpose(1, 2)

    def dictionary(self, domain: STFTDomain) -> Dictionary:
        """Return the learned spectra as a `Dictionary` of a domain."""
        spectra = self.pace * self.decoder.return_W().detach().cpu()
        dictionary = Dictionary(*spectra.shape)
        dictionary.spectra.copy_(spectra)
        dictionary.front_end.copy_(front_end_of(domain))
        return dictionary


def relative_error(reconstruction: torch.Tensor, rep: torch.Tensor) -> torch.Tensor:
    """Return the norm of the reconstruction error relative to that of rep.

    Arguments
    ---------
    reconstruction, rep : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    error : torch.Tensor
        Shape (B,), >= 0; 1 is as bad as predicting zeros. NaN for a rep of zeros.

    Example
    -------
    >>> rep = torch.tensor([[[3.0, 4.0]]])
    >>> relative_error(torch.tensor([[[0.0, 4.0]]]), rep)
    tensor([0.6000])
    """
    error = (reconstruction - rep).flatten(1).norm(dim=1)
    return error / rep.flatten(1).norm(dim=1)


def squared_error(reconstruction: torch.Tensor, rep: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error (B,) of maps (B, T, F).

    Example
    -------
    >>> squared_error(torch.tensor([[[0.0, 4.0]]]), torch.tensor([[[3.0, 4.0]]]))
    tensor([4.5000])
    """
    return F.mse_loss(reconstruction, rep, reduction="none").mean((1, 2))
