"""--compile: the compiled modules, and failures in one line."""

import sys

import pytest
import speechbrain as sb
import torch

from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.domains.learned import LearnedDomain
from speechbrain_lmac.domains.stft import MelDomain, STFTDomain, WaveformSTFTDomain
from speechbrain_lmac.dsp.pad_crop import fit_map
from speechbrain_lmac.training.base_brain import RecordingBrain
from speechbrain_lmac.utils import compiling
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.compiling import check_compile, why_uncompiled
from speechbrain_lmac.utils.errors import InputError


class Compiled(torch.nn.Module):
    """What torch.compile returns: the attributes of Module are the wrapper's."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

    def forward(self, *args):
        return self._orig_mod(*args)


def brain_of(monkeypatch, **run_opts):
    """A brain of a domain and two networks after its modules were compiled."""
    monkeypatch.setattr(torch, "compile", lambda module, **options: Compiled(module))
    modules = {
        "first": torch.nn.Linear(2, 3),
        "domain": STFTDomain(16000),
        "last": torch.nn.Linear(3, 1),
    }
    brain = RecordingBrain(modules, run_opts={"device": "cpu", **run_opts})
    brain._compile()
    return brain, modules


def test_modules_with_a_forward_are_compiled_and_stay_in_their_order(monkeypatch):
    brain, modules = brain_of(monkeypatch, compile=True)
    assert list(brain.modules) == ["first", "domain", "last"]
    kinds = [type(module) for module in brain.modules.values()]
    assert kinds == [Compiled, STFTDomain, Compiled]
    # The optimizer's state and the checkpoints are those of the modules as they are.
    parameters = [p for module in modules.values() for p in module.parameters()]
    found = list(brain.modules.parameters())
    assert all(a is b for a, b in zip(found, parameters, strict=True))
    assert list(modules["first"].state_dict()) == ["weight", "bias"]


def test_named_modules_alone_are_compiled(monkeypatch):
    names = {"compile": True, "compile_module_keys": ["last"]}
    brain, _ = brain_of(monkeypatch, **names)
    kinds = [type(module) for module in brain.modules.values()]
    assert kinds == [torch.nn.Linear, STFTDomain, Compiled]
    with pytest.raises(InputError, match="lst.*first, domain, last"):
        brain_of(monkeypatch, compile=True, compile_module_keys=["lst"])


def test_nothing_is_compiled_without_the_option(monkeypatch):
    brain, modules = brain_of(monkeypatch)
    assert all(brain.modules[name] is modules[name] for name in modules)


@pytest.mark.parametrize(
    "kind", [STFTDomain, MelDomain, WaveformSTFTDomain, LearnedDomain]
)
def test_a_domain_hides_nothing_of_a_module(kind):
    ours = {
        n for c in kind.__mro__ if "speechbrain_lmac" in c.__module__ for n in vars(c)
    }
    theirs = {n for n in vars(torch.nn.Module) if not n.startswith("_")}
    assert not ours & theirs - {"T_destination", "dump_patches", "call_super_init"}


def failing(*args, **options):
    import torch._dynamo

    raise torch._dynamo.exc.TorchDynamoException("no compiler\n\nset TORCH_LOGS")


def test_a_failure_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", failing)
    with pytest.raises(InputError, match="no compiler.*--compile") as raised:
        check_compile(sb.utils.run_opts.RunOptions(compile=True, device="cpu"))
    message = str(raised.value)
    assert "\n" not in message
    monkeypatch.setattr(sys, "argv", ["train_lmac.py"])
    with pytest.raises(SystemExit) as ended:
        main(failing)
    assert ended.value.code == 2 and capsys.readouterr().err == f"error: {message}\n"
    assert why_uncompiled(RuntimeError("out of memory")) is None


def test_the_compiler_of_the_device_of_the_run_is_tried(monkeypatch):
    tried = []

    def record(function):
        return lambda one, other: tried.append(one.device.type)

    monkeypatch.setattr(torch, "compile", record)
    monkeypatch.setattr(compiling, "check_device", lambda name: torch.device("meta"))
    check_compile(sb.utils.run_opts.RunOptions(compile=True))
    assert tried == ["meta"]


def test_torchscript_is_refused():
    with pytest.raises(InputError, match="--jit: .* --compile"):
        load_experiment(["hparams/toy_classifier.yaml", "--jit"], training=True)


@pytest.mark.parametrize("size", [(3, 4), (5, 4), (3, 6), (5, 6), (2, 3)])
def test_a_fitted_map_is_a_replicated_one(size):
    maps = torch.rand(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    fitted = fit_map(maps, size)
    missing = (0, max(0, size[1] - 4), 0, max(0, size[0] - 3))
    expected = torch.nn.functional.pad(maps, missing, mode="replicate")
    expected = expected[..., : size[0], : size[1]]
    assert torch.equal(fitted, expected)
    weight = torch.rand(fitted.shape, dtype=torch.float64)
    one, other = (
        torch.autograd.grad((m * weight).sum(), maps)[0] for m in (fitted, expected)
    )
    torch.testing.assert_close(one, other)
