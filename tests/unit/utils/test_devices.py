"""Devices and precisions of a machine."""

import pytest
import torch
from speechbrain.utils.run_opts import RunOptions

from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.utils.devices import (
    check_data_parallel,
    check_device,
    check_precision,
)
from speechbrain_lmac.utils.errors import InputError


@pytest.fixture
def gpus(monkeypatch):
    """`gpus(n)`: as on a machine with so many."""

    def gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return gpus


@pytest.mark.parametrize("name", ["banana", "gpu", "cuda:x", "", "cpu:"])
def test_no_such_kind_of_device(name):
    with pytest.raises(InputError, match=f"^device {name}: .*use cpu or cuda"):
        check_device(name)


def test_available_and_missing_gpus(gpus):
    gpus(0)
    for name in ("cuda", "cuda:0", "cuda:7"):
        with pytest.raises(InputError, match=f"device {name}: not available"):
            check_device(name)
    gpus(2)
    assert check_device("cuda") == torch.device("cuda")
    assert check_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match="cuda:7: .*2 GPU.*cuda:1"):
        check_device("cuda:7")


def test_devices_that_do_not_compute(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("mps", "meta", "xpu", "vulkan"):
        with pytest.raises(InputError, match=f"device {name}: not available"):
            check_device(name)


def test_precision_of_a_cpu(gpus):
    for options in (
        {"precision": "fp16"},
        {"eval_precision": "fp16"},
        {"auto_mix_prec": True},
    ):
        with pytest.raises(InputError, match="(precision|--auto_mix_prec).*GPU"):
            check_precision(RunOptions(device="cpu", **options))
        gpus(1)
        check_precision(RunOptions(device="cuda", **options))
    check_precision(RunOptions(device="cpu", precision="bf16", eval_precision="bf16"))


def test_data_parallel_needs_a_gpu_and_one_process(gpus, monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    gpus(0)
    with pytest.raises(InputError, match="--data_parallel_backend needs a GPU"):
        check_data_parallel(RunOptions(data_parallel_backend=True))
    check_data_parallel(RunOptions())
    gpus(2)
    check_data_parallel(RunOptions(device="cuda", data_parallel_backend=True))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(InputError, match="--data_parallel_backend.*torchrun$"):
        check_data_parallel(RunOptions(device="cuda", data_parallel_backend=True))


def test_a_model_is_not_loaded_for_a_missing_device():
    with pytest.raises(InputError, match="device banana"):
        AudioExplainer.from_hparams("esc10-lmac", run_opts={"device": "banana"})
