"""CLAPs of Hugging Face transformers, such as laion/clap-htsat-unfused.

Their audio tower, HTSAT, folds time into strips of the frequency axis. Here hidden maps
and the map of `cam_layer` are unfolded.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding
from speechbrain_lmac.classifiers.clap.front_ends import (
    ClapSpectrogram,
    Fill,
    followed_by_silence,
    repeated,
    repeated_whole,
)
from speechbrain_lmac.classifiers.clap.text import load_tokenizer, tokenize
from speechbrain_lmac.classifiers.huggingface import check_known, transformers_module
from speechbrain_lmac.classifiers.layouts import FoldedTime, Places, evenly
from speechbrain_lmac.classifiers.waveform import MapGrid
from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_atomically

# preprocessor_config.json's `padding` to the fill function of the window.
FILLS: dict[str, Fill] = {
    "repeatpad": repeated_whole,
    "repeat": repeated,
    "pad": followed_by_silence,
}
Hook = Callable[[torch.nn.Module, tuple[Any, ...], tuple[Any, ...]], Any]


class HuggingFaceTowers(torch.nn.Module):
    """Both towers of transformers' ClapModel, for waveforms and sentences.

    Hidden maps are the outputs of HTSAT's stages before downsampling, unfolded. Clips
    are fitted to the window of `ClapSpectrogram`: shorter ones by the preprocessor's
    `padding`, longer ones are cut to their beginning.

    Arguments
    ---------
    model : transformers.ClapModel
    extractor : transformers.ClapFeatureExtractor
        Its settings configure the front end in torch.
    tokenizer : transformers.PreTrainedTokenizerBase

    Shape
    -----
    ``audio``: (B, N) to an embedding (B, D) and a hidden map (B, C, T', F') for each
    stage. ``text``: P sentences to (P, D), each of length 1.

    Raises
    ------
    InputError
        For a model that fuses random parts of long clips, or a preprocessor of another
        model.
    """

    model: Any  # transformers.ClapModel

    def __init__(self, model: Any, extractor: Any, tokenizer: Any) -> None:
        super().__init__()
        audio, text = model.config.audio_config, model.config.text_config
        if audio.enable_fusion or extractor.truncation == "fusion":
            raise InputError(
                "a CLAP that fuses random parts of long clips cannot be masked "
                '(enable_fusion, truncation "fusion"): use an unfused one, such as '
                "laion/clap-htsat-unfused"
            )
        if audio.num_mel_bins != extractor.feature_size:
            raise InputError(
                "num_mel_bins in config.json must equal feature_size in "
                f"preprocessor_config.json, got {audio.num_mel_bins} and "
                f"{extractor.feature_size}: they belong to different models"
            )
        if extractor.padding not in FILLS:
            raise InputError(
                f"padding in preprocessor_config.json must be one of "
                f"{', '.join(FILLS)}, got {extractor.padding!r}"
            )
        self.model = model
        self._tokenizer = tokenizer
        self._extractor = extractor
        self.token_limit = min(
            tokenizer.model_max_length,
            # RoBERTa's position ids begin after that of the padding.
            text.max_position_embeddings - text.pad_token_id - 1,
        )
        self.front_end = ClapSpectrogram(
            sample_rate=extractor.sampling_rate,
            n_fft=extractor.fft_window_size,
            hop_length=extractor.hop_length,
            n_samples=extractor.nb_max_samples,
            n_mels=extractor.feature_size,
            low_hz=extractor.frequency_min,
            high_hz=extractor.frequency_max,
            fill=FILLS[extractor.padding],
        )
        self.n_strips = audio.spec_size // audio.num_mel_bins
        n_columns = audio.spec_size * self.n_strips
        if self.front_end.n_frames > n_columns:
            raise InputError(
                f"the model has {n_columns} frames, but preprocessor_config.json has "
                f"{self.front_end.n_frames}: they belong to different models"
            )
        # Frames are interpolated to columns; the first and the last coincide.
        self.frames_per_column = (self.front_end.n_frames - 1) / (n_columns - 1)
        self.layout = FoldedTime(self.n_strips)
        self.cam_layer = (
            torch.nn.Identity()
        )  # outputs the unfolded map of the last stage

    @property
    def sample_rate(self) -> int:
        """Sample rate of the waveforms, Hz."""
        return self.front_end.sample_rate

    @property
    def embedding_dim(self) -> int:
        """Values of an embedding, D."""
        return self.model.config.projection_dim

    @property
    def scale(self) -> torch.Tensor:
        """Factor from similarities to logits, shape ()."""
        return self.model.logit_scale_a.exp()

    @property
    def hidden_channels(self) -> list[int]:
        """Channels of the hidden maps."""
        config = self.model.config.audio_config
        width, n_stages = config.patch_embeds_hidden_size, len(config.depths)
        return [width * 2**stage for stage in range(n_stages)]

    def stage_stride(self, stage: int) -> tuple[int, int]:
        """Return columns of HTSAT's image and mel bands per step of a stage."""
        rows, columns = self.model.config.audio_config.patch_stride
        return columns * 2**stage, rows * 2**stage

    @property
    def cam_stride(self) -> tuple[float, int]:
        """Frames and bands per step of the last stage."""
        columns, bands = self.stage_stride(len(self.hidden_channels) - 1)
        n_columns = self.model.config.audio_config.spec_size * self.n_strips
        return columns * self.front_end.n_frames / n_columns, bands

    def hidden_grids(self) -> list[MapGrid]:
        """Return a `MapGrid` of each hidden map, see `WaveformClassifier`."""
        column = self.frames_per_column * self.front_end.hop_length  # samples
        grids = []
        for stage, channels in enumerate(self.hidden_channels):
            columns, bands = self.stage_stride(stage)
            n_bands = self.front_end.n_mels // bands
            steps = Places((columns - 1) / 2 * column, columns * column)
            grids.append(MapGrid(channels, n_bands, steps, evenly(1.0, n_bands)))
        return grids

    def audio(self, wav: torch.Tensor) -> AudioEmbedding:
        """Return the `AudioEmbedding` of waveforms (B, N)."""
        return self.embed_mel(self.front_end(wav))

    def embed_mel(self, mel: torch.Tensor) -> AudioEmbedding:
        """Return the `AudioEmbedding` of the front end's output (B, W, n_mels), dB."""
        encoder = self.model.audio_model.audio_encoder
        hidden: list[torch.Tensor] = []
        *earlier, last = encoder.layers
        with ExitStack() as hooks:
            for stage in earlier:
                handle = stage.register_forward_hook(self.map_hook(hidden))
                hooks.callback(handle.remove)
            hooks.callback(last.register_forward_hook(self.cam_hook(hidden)).remove)
            pooled = encoder(mel[:, None]).pooler_output
        embedding = F.normalize(self.model.audio_projection(pooled).float(), dim=1)
        return AudioEmbedding(embedding, tuple(hidden))

    def map_hook(self, hidden: list[torch.Tensor]) -> Hook:
        """Return a forward hook that appends a stage's map (B, C', T', F')."""

        def append_map(
            module: torch.nn.Module, inputs: tuple[Any, ...], outputs: tuple[Any, ...]
        ) -> None:
            hidden.append(self.layout.maps(outputs[1]))  # before downsampling

        return append_map

    def cam_hook(self, hidden: list[torch.Tensor]) -> Hook:
        """Return the hook of the last stage: passes its map through `cam_layer`."""

        def append_and_replace(
            module: torch.nn.Module, inputs: tuple[Any, ...], outputs: tuple[Any, ...]
        ) -> tuple[Any, ...]:
            hidden.append(self.cam_layer(self.layout.maps(outputs[1])))
            tokens = self.layout.tokens(hidden[-1])
            return (tokens, tokens, *outputs[2:])

        return append_and_replace

    def text(self, prompts: list[str]) -> torch.Tensor:
        """Return the embeddings of P sentences, (P, D), each of length 1."""
        tokens = tokenize(self._tokenizer, prompts, self.token_limit)
        tokens = tokens.to(self.model.logit_scale_a.device)
        pooled = self.model.text_model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
        return F.normalize(self.model.text_projection(pooled).float(), dim=1)

    def save(self, folder: Path | str) -> None:
        """Write a folder that `HuggingFaceClap` and transformers can load."""
        with tempfile.TemporaryDirectory() as saved:
            for part in (self.model, self._extractor, self._tokenizer):
                part.save_pretrained(saved)
            for path in Path(saved).iterdir():
                write_atomically(
                    Path(folder) / path.name, partial(shutil.copyfile, path)
                )


class HuggingFaceClap(HuggingFaceTowers):
    """A trained CLAP of transformers.

    Arguments
    ---------
    source : str
        A folder written by save_pretrained (config.json, weights,
        preprocessor_config.json, tokenizer), or a hub id. Nothing is downloaded for
        a folder, or with HF_HUB_OFFLINE=1.

    Shape
    -----
    As `HuggingFaceTowers`.

    Raises
    ------
    InputError
        When it cannot be loaded, or is not an unfused CLAP.
    """

    def __init__(self, source: Path | str) -> None:
        super().__init__(*load_clap(source))


class NewHuggingFaceClap(HuggingFaceTowers):
    """An untrained CLAP of transformers.

    Arguments
    ---------
    config : dict
        `audio_config`, `text_config` and `projection_dim`: changes to the defaults of
        ClapConfig.
    tokenizer_source : str or Path
        A folder or a hub id.
    preprocessor : dict
        Changes to the defaults of ClapFeatureExtractor. Clips are not fused.

    Shape
    -----
    As `HuggingFaceTowers`.

    Raises
    ------
    InputError
        For an unknown key.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        tokenizer_source: Path | str,
        preprocessor: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    ) -> None:
        transformers = transformers_module()
        for name, kind in (
            ("audio_config", transformers.ClapAudioConfig),
            ("text_config", transformers.ClapTextConfig),
        ):
            check_known(config.get(name, {}), kind(), kind.__name__)
        check_known(config, transformers.ClapConfig(), "ClapConfig")
        settings = {"truncation": "rand_trunc", **dict(preprocessor)}
        kind = transformers.ClapFeatureExtractor
        check_known(settings, kind(), kind.__name__)
        model = transformers.ClapModel(transformers.ClapConfig(**config))
        super().__init__(model, kind(**settings), load_tokenizer(tokenizer_source))


def load_clap(source: Path | str) -> tuple[Any, Any, Any]:
    """Return model, feature extractor and tokenizer of a folder or a hub id.

    Raises
    ------
    InputError
        See `HuggingFaceClap`.
    """
    transformers = transformers_module()
    source = str(source)
    if Path(source).is_file():
        raise InputError(
            f"a CLAP of transformers must be a folder, got the file {source}. For "
            "Microsoft's checkpoint use parts/classifier/clap_microsoft.yaml"
        )
    if not Path(source).is_dir() and source.count("/") != 1:
        raise InputError(
            f"not a folder or a hub id (user/name): {source}. Use a folder written by "
            "save_pretrained of transformers"
        )
    options = {"local_files_only": only_cached(source, "config.json", "a CLAP")}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **options)
        if config.model_type != "clap":
            raise InputError(
                f"{source} must have the architecture 'clap', got '{config.model_type}'"
            )
        extractor = transformers.ClapFeatureExtractor.from_pretrained(source, **options)
        kind = transformers.ClapModel
        model, report = kind.from_pretrained(
            source, output_loading_info=True, **options
        )
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot load a CLAP from {source}: {error}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"{source} has no weights of {some_of(missing)}: it is not a trained CLAP"
        )
    return model.float(), extractor, load_tokenizer(source)
