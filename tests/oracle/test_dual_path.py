"""Transformers and SI-SNR against SpeechBrain's own."""

import pytest
import torch
from speechbrain.lobes.models.dual_path import SBTransformerBlock
from speechbrain.lobes.models.transformer.Transformer import PositionalEncoding
from speechbrain.nnet.losses import cal_si_snr

from speechbrain_lmac.interpreters.transformer import TransformerBlock, positions
from speechbrain_lmac.losses.lmac_td import si_snr


def test_positions_are_those_of_speechbrain():
    theirs = PositionalEncoding(input_size=12)(torch.empty(1, 100, 12))[0]
    torch.testing.assert_close(positions(100, 12, theirs), theirs)


def test_a_block_computes_what_speechbrains_does():
    torch.manual_seed(0)
    theirs = SBTransformerBlock(
        2, 16, 4, 32, dropout=0.0, use_positional_encoding=True, norm_before=True
    ).eval()
    ours = TransformerBlock(2, 16, 4, 32).eval()
    names = {
        "mdl.layers": "layers",
        "self_att.att": "self_attn",
        "pos_ffn.ffn.0": "linear1",
        "pos_ffn.ffn.3": "linear2",
        "norm1.norm": "norm1",
        "norm2.norm": "norm2",
        "mdl.norm.norm": "norm",
    }
    state = {}
    for name, value in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = torch.randn(value.shape) * 0.3
    for name, value in theirs.named_parameters():
        for old, new in names.items():
            name = name.replace(old, new)
        value.data.copy_(state[name])
    state = {name: v for name, v in state.items() if not name.startswith("pos_enc")}
    ours.load_state_dict(state)
    x = torch.randn(3, 50, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("snr_db", [-20, 0, 35])
def test_si_snr_is_speechbrains(snr_db):
    draw = torch.Generator().manual_seed(1)
    reference, noise = torch.randn(2, 3, 4000, generator=draw)
    estimate = 0.5 - 2.5 * reference + noise * 10 ** (-snr_db / 20)
    theirs = -cal_si_snr(reference.T[..., None], estimate.T[..., None])[0, :, 0]
    torch.testing.assert_close(
        si_snr(estimate, reference), theirs, rtol=1e-4, atol=1e-4
    )
