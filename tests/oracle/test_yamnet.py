"""YAMNet against transformers: its MobileNet v1 with TensorFlow's padding, its mel."""

import numpy as np
import torch
from transformers import MobileNetV1Config, MobileNetV1Model
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from speechbrain_lmac.classifiers.zoo.yamnet import YAMNet, log_mel_patches
from tests.small_models import with_statistics

WIDTH = 0.25


def folded(convolution, norm):
    """Weight and bias of a convolution and the batch norm behind it."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = convolution.weight * scale[:, None, None, None]
    return weight, norm.bias - norm.running_mean * scale


def test_the_network_is_mobilenet_v1_with_tensorflows_padding():
    config = MobileNetV1Config(
        num_channels=1, depth_multiplier=WIDTH, hidden_act="relu", tf_padding=True
    )
    theirs = with_statistics(MobileNetV1Model(config))
    ours = YAMNet(["a", "b"], WIDTH).eval()
    convolutions = [module.c for module in ours.net if hasattr(module, "c")]
    layers = [theirs.conv_stem, *theirs.layer]
    state = {}
    for place, layer in enumerate(layers):
        weight, bias = folded(layer.convolution, layer.normalization)
        state |= {f"{2 * place}.c.weight": weight, f"{2 * place}.c.bias": bias}
    assert len(convolutions) == len(layers) == 27
    ours.net.load_state_dict(state)
    maps = torch.randn(2, 1, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(maps).last_hidden_state
        found = ours.net(maps)
    assert found.shape == (2, 256, 3, 2)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_the_features_are_log_mel_spectrograms_of_transformers():
    wav = 0.3 * torch.randn(1, 15600, generator=torch.Generator().manual_seed(0))
    triangles = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=64,
        min_frequency=125.0,
        max_frequency=7500.0,
        sampling_rate=16000,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    bands = spectrogram(
        wav[0].numpy(),
        window_function(400, "hann", periodic=True),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=1.0,
        center=False,
        mel_filters=triangles,
        mel_floor=0.0,
    )
    expected = np.log(bands.T + 0.001)
    found = log_mel_patches(wav, YAMNet(["a"], WIDTH).mel)[0, 0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)
