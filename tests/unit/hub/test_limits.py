"""Memory limits for an untrusted model."""

import shutil
import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F

from speechbrain_lmac.hub import limits
from speechbrain_lmac.hub.limits import Bounded, BoundedConstruction
from speechbrain_lmac.hub.registry import shipped_files
from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.utils.errors import InputError

ROW = torch.ones(1, 10**6)
MAPS = torch.ones(1, 4, 8, 8)
TOO_LARGE = {
    "zeros": lambda: torch.zeros(10**6, 10**6),
    "empty": lambda: torch.empty(10**12),
    "randn, of a generator": lambda: torch.randn(
        10**12, generator=torch.Generator().manual_seed(0)
    ),
    "full": lambda: torch.full((10**12,), 1.0),
    "eye": lambda: torch.eye(10**6),
    "arange": lambda: torch.arange(10**12),
    "arange of floats": lambda: torch.arange(0.0, 1.0, 1e-12),
    "linspace": lambda: torch.linspace(0, 1, 10**12),
    "window": lambda: torch.hamming_window(10**12),
    "new_zeros": lambda: ROW.new_zeros(10**12),
    "repeat": lambda: ROW.repeat(10**6, 1),
    "expand and copy": lambda: ROW.expand(10**6, 10**6).contiguous(),
    "broadcast": lambda: ROW + ROW.T,
    "outer product": lambda: ROW.T @ ROW,
    "pad": lambda: F.pad(ROW, (0, 0, 0, 10**6)),
    "upsample": lambda: F.interpolate(MAPS, scale_factor=10**5, mode="bilinear"),
    "nearest": lambda: F.interpolate(MAPS, scale_factor=10**5),
    "convolution with padding": lambda: F.conv2d(
        MAPS, torch.ones(4, 4, 1, 1), padding=10**6
    ),
    "transposed convolution": lambda: F.conv_transpose2d(
        MAPS, torch.ones(4, 4, 1, 1), stride=10**6
    ),
    "index": lambda: ROW[:, None].expand(1, 10**6, 10**6)[:, torch.arange(10**6)],
    "one-hot": lambda: F.one_hot(torch.tensor([10**12])),
    "cat": lambda: torch.cat([ROW.expand(10**6, 10**6)] * 2),
    "stft": lambda: torch.stft(
        ROW, 2**16, 1, window=torch.ones(2**16), return_complex=True
    ),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_would_be_too_large_is_not_computed(name):
    start = time.perf_counter()
    with pytest.raises(InputError, match="^this .* 100 MiB"):
        with Bounded(100 * 2**20, "this"):
            TOO_LARGE[name]()
    assert time.perf_counter() - start < 10  # the meta kernels are imported


def test_what_is_freed_counts():
    with pytest.raises(InputError, match="^this .* 1 MiB"):
        with Bounded(2**20, "this"):
            for _ in range(10**6):
                torch.zeros(1000)


def test_results_are_what_they_are_without_limits():
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    expected = layer(x)
    with Bounded(2**30, "this"):
        got = layer(x)
    assert torch.equal(got, expected)


@pytest.fixture(params=["esc10-lmac", "esc10-lmac-td", "esc10-lmac-zs"])
def copied(request, tmp_path):
    """A copy of a shipped model, which is not trusted."""
    for name, path in shipped_files(request.param).items():
        shutil.copy(path, tmp_path / name)
    return tmp_path


def test_no_operation_makes_more_than_its_bound(copied, monkeypatch):
    most_numbers, spend = limits._most_numbers, Bounded.spend
    bounds, unknown = [], []

    def most_of(func, args):
        bounds.append(most_numbers(func, args))
        if bounds[-1] is None:
            unknown.append(str(func))
        return bounds[-1]

    def check(self, results):
        numbers = [
            r.numel()
            for r in torch.utils._pytree.tree_iter(results)
            if torch.is_tensor(r)
        ]
        assert bounds[-1] is None or sum(numbers) <= bounds[-1]
        spend(self, results)

    monkeypatch.setattr(limits, "_most_numbers", most_of)
    monkeypatch.setattr(Bounded, "spend", check)
    AudioExplainer.from_hparams(copied, run_opts={"device": "cpu"})
    assert len(bounds) > 200
    assert not unknown  # whose meta kernels would be imported


@pytest.mark.parametrize("copied", ["esc10-lmac"], indirect=True)
def test_an_untrusted_model_is_loaded_without_the_compiler(copied):
    script = (
        "import sys\nfrom speechbrain_lmac.inference import AudioExplainer\n"
        f"AudioExplainer.from_hparams({str(copied)!r}, run_opts={{'device': 'cpu'}})\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_parameters_are_bounded_by_the_weight_files():
    with BoundedConstruction(weight_bytes=2**20):
        torch.nn.Linear(1000, 5000)  # 20 MB, of 16 MiB and four times a MiB
    with pytest.raises(InputError, match="parameters.* 1,048,576 bytes"):
        with BoundedConstruction(weight_bytes=2**20):
            torch.nn.Linear(1000, 6000)
    torch.nn.Linear(3000, 3000)  # outside nothing is counted
