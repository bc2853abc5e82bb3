"""Part files of earlier versions, and their replacements."""

_TINY = "widths: [12, 16, 24, 32], head_width: 8"
_TINY_MAPS = "hidden_channels: [12, 24, 48, 64]"
_CNN14 = (
    "hidden_channels: [256, 512, 1024, 2048], strides: [8, 16, 32, 32], "
    "widths: [16, 24, 48, 64, 96]"
)
_MEL = "frequency: !new:speechbrain_lmac.interpreters.SameBins {}"
_CAPTIONS = "speechbrain_lmac.data_prep.captions_prepare."
# Below hparams/parts: old file to the new one and its arguments.
REPLACED = {
    **{
        f"dataset/{name}.yaml": (
            "dataset/captions.yaml",
            f"prepare: !name:{_CAPTIONS}prepare_{name} {{}}, "
            f"terms: !applyref:{_CAPTIONS}caption_terms [{name}]",
        )
        for name in ("clotho", "audiocaps")
    },
    "interpreter/conv_tiny.yaml": ("interpreter/conv.yaml", f"{_TINY_MAPS}, {_TINY}"),
    "interpreter/conv_mel.yaml": ("interpreter/conv.yaml", _MEL),
    "interpreter/conv_tiny_mel.yaml": (
        "interpreter/conv.yaml",
        f"{_TINY_MAPS}, {_TINY}, {_MEL}",
    ),
    "interpreter/conv_cnn14.yaml": ("interpreter/conv.yaml", _CNN14),
    "interpreter/conv_tiny_classes.yaml": (
        "interpreter/conv_classes.yaml",
        f"{_TINY_MAPS}, decoder: {{{_TINY}}}, condition_dim: 16",
    ),
    "interpreter/l2i_conv_tiny.yaml": (
        "interpreter/l2i_conv.yaml",
        f"psi: {{{_TINY_MAPS}, {_TINY}}}",
    ),
    "interpreter/masknet_tiny.yaml": (
        "interpreter/masknet.yaml",
        f"mask_net: {{width: 32, n_blocks: 1}}, upsampler: {{{_TINY_MAPS}, {_TINY}}}",
    ),
    "interpreter/masknet_cnn14.yaml": (
        "interpreter/masknet.yaml",
        f"mask_net: {{n_channels: 256}}, upsampler: {{{_CNN14}, n_channels: 256}}",
    ),
    "interpreter/text_presence_mel.yaml": (
        "interpreter/text_presence.yaml",
        f"interpreter: {{decoder: {{{_MEL}}}}}",
    ),
    "interpreter/text_presence_tiny.yaml": (
        "interpreter/text_presence.yaml",
        f"interpreter: {{{_TINY_MAPS}, decoder: {{{_TINY}}}}}, channels: 64",
    ),
    "interpreter/text_presence_tiny_mel.yaml": (
        "interpreter/text_presence.yaml",
        f"interpreter: {{{_TINY_MAPS}, decoder: {{{_TINY}, {_MEL}}}}}, channels: 64",
    ),
}
# Removed folders, and their replacements.
GONE = {
    "explainer/": "the method's name and new arguments, as SmoothGrad: {n_samples: 20}",
    "baselines/": "the methods' names (see `baselines` of hparams/esc10_table.yaml)",
    "table/": "the table as the parent: `parent: hparams/esc10_table.yaml`",
}


def replaced_part(name: str) -> str | None:
    """Return the replacement of an include of an earlier version, or None.

    Example
    -------
    >>> print(replaced_part("parts/interpreter/conv_mel.yaml").split(" ")[0])
    !include:parts/interpreter/conv.yaml
    """
    for old, (new, arguments) in REPLACED.items():
        if name.endswith(old):
            return f"!include:{name.removesuffix(old)}{new} {{{arguments}}}"
    return next(
        (now for folder, now in GONE.items() if f"parts/{folder}" in name), None
    )
