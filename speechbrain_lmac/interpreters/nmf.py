"""A dictionary of spectra, learned by an autoencoder: what L2I composes its masks of.

Non-negative matrix factorisation: rep (T, F) is about H W^T, with activations H (T, K)
and spectra W (F, K) that have no negative value.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from speechbrain.lobes.models.L2I import NMFDecoderAudio, NMFEncoder

from speechbrain_lmac.hub.weights import load_weights
from speechbrain_lmac.utils.errors import InputError

# What decides the meaning of a spectrum. The last is what the domain makes of the
# magnitude 1: it tells log1p from the magnitude itself.
FRONT_END = ("sample_rate", "n_fft", "hop_length", "win_length", "rep_of_1")


def front_end_of(domain) -> torch.Tensor:
    """The values of `FRONT_END` of a domain, (5,), float64.

    Raises
    ------
    InputError
        For a domain that is no STFT.

    Example
    -------
    >>> from speechbrain_lmac.domains.stft import STFTDomain
    >>> front_end_of(STFTDomain(sample_rate=16000))
    tensor([1.6000e+04, 1.0240e+03, 1.8600e+02, 3.7200e+02, 6.9315e-01],
           dtype=torch.float64)
    """
    if not domain.listenable:
        raise InputError(
            f"L2I composes its mask of spectra over FFT bins: {type(domain).__name__} "
            "has none. Take a YAML whose domain is STFTDomain"
        )
    rep_of_1 = domain.compress(torch.ones((), dtype=torch.float64)).item()
    sizes = (domain.sample_rate, domain.n_fft, domain.hop_length, domain.win_length)
    return torch.tensor([*sizes, rep_of_1], dtype=torch.float64)


class Dictionary(torch.nn.Module):
    """K spectra over F bins, frozen, and the front end that they belong to.

    Empty (zeros) until it is filled, or loaded as a part of an interpreter.

    Arguments
    ---------
    n_bins : int
        F.
    n_components : int
        K.

    Example
    -------
    >>> dictionary = Dictionary(n_bins=2, n_components=1)
    >>> dictionary.spectra.copy_(torch.tensor([[1.0], [3.0]]))
    tensor([[1.],
            [3.]])
    >>> dictionary(torch.tensor([[[2.0]]]))
    tensor([[[2., 6.]]])
    """

    def __init__(self, n_bins: int, n_components: int):
        super().__init__()
        self.register_buffer("spectra", torch.zeros(n_bins, n_components))
        front_end = torch.zeros(len(FRONT_END), dtype=torch.float64)
        self.register_buffer("front_end", front_end)

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        """Activations H (B, T, K) to the representation H W^T, (B, T, F)."""
        return activations @ self.spectra.T

    def check_domain(self, domain) -> None:
        """Raise InputError unless the spectra were learned in such a domain."""
        here = front_end_of(domain)
        if not torch.allclose(self.front_end.cpu(), here):
            made, given = (_in_words(values) for values in (self.front_end, here))
            raise InputError(
                f"the NMF dictionary was learned with {made}, but the domain has "
                f"{given}: train it (train_nmf.py), and L2I upon it (train_l2i.py), "
                "with the domain in which you explain"
            )


def _in_words(front_end: torch.Tensor) -> str:
    pairs = zip(FRONT_END, front_end.tolist(), strict=True)
    return ", ".join(f"{name} {value:g}" for name, value in pairs)


def load_dictionary(dictionary: Dictionary, checkpoint: Path | str, domain) -> None:
    """Fill a dictionary with the one that train_nmf.py wrote.

    Raises
    ------
    InputError
        When there is no such file, when it has other sizes, or when it was learned in
        another domain.
    """
    if not Path(checkpoint).is_file():
        raise InputError(
            f"no NMF dictionary at {checkpoint}: train one with train_nmf.py "
            "hparams/NAME.yaml, or name one with --dictionary_checkpoint FILE"
        )
    load_weights(dictionary, checkpoint)
    dictionary.check_domain(domain)


class SpectralAutoencoder(torch.nn.Module):
    """Learns the spectra: an encoder guesses activations, W turns them back.

    SpeechBrain's modules (`speechbrain.lobes.models.L2I`): three 1-d convolutions over
    time with ReLU, F - 256 - 128 - K channels, kernel 8, and W kept non-negative by a
    ReLU.

    Arguments
    ---------
    n_bins : int
        F.
    n_components : int
        K; 100 in the published setting.
    pace : float
        How much faster than at 1, the published setting, the spectra learn. The
        parameter is W / pace: since a step of Adam is as long as the rate whatever
        the gradient, W moves `pace` rates in a step. It starts from the same values.
        In a short training at pace 1 the spectra hardly leave the noise of their start.

    Shape
    -----
    rep (B, T, F) to its reconstruction (B, T, F), both not negative.
    """

    def __init__(self, n_bins: int = 513, n_components: int = 100, pace: float = 1.0):
        super().__init__()
        self.pace = pace
        self.encoder = NMFEncoder(n_bins, n_components)
        self.decoder = NMFDecoderAudio(n_components, n_bins, device="cpu")
        with torch.no_grad():
            self.decoder.W.div_(pace)

    def forward(self, rep: torch.Tensor) -> torch.Tensor:
        activations = self.encoder(rep.transpose(1, 2))
        return self.pace * self.decoder(activations).transpose(1, 2)

    def dictionary(self, domain) -> Dictionary:
        """What was learned of a domain's representation, as a `Dictionary`."""
        spectra = self.pace * self.decoder.return_W().detach().cpu()
        dictionary = Dictionary(*spectra.shape)
        dictionary.spectra.copy_(spectra)
        dictionary.front_end.copy_(front_end_of(domain))
        return dictionary


def relative_error(reconstruction: torch.Tensor, rep: torch.Tensor) -> torch.Tensor:
    """Norm of what a reconstruction misses, relative to the norm of rep.

    Arguments
    ---------
    reconstruction, rep : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    error : torch.Tensor
        Shape (B,). 0: perfect; 1: no better than zeros; NaN for an empty rep.

    Example
    -------
    >>> rep = torch.tensor([[[3.0, 4.0]]])
    >>> relative_error(torch.tensor([[[0.0, 4.0]]]), rep)
    tensor([0.6000])
    """
    missed = (reconstruction - rep).flatten(1).norm(dim=1)
    return missed / rep.flatten(1).norm(dim=1)


def squared_error(reconstruction: torch.Tensor, rep: torch.Tensor) -> torch.Tensor:
    """Mean over time and frequency of the squared error, (B,), >= 0.

    Example
    -------
    >>> squared_error(torch.tensor([[[0.0, 4.0]]]), torch.tensor([[[3.0, 4.0]]]))
    tensor([4.5000])
    """
    return F.mse_loss(reconstruction, rep, reduction="none").mean((1, 2))
