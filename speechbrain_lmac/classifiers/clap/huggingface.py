"""CLAP of Hugging Face transformers (laion/clap-htsat-unfused and its kin) as towers.

Its audio tower, HTSAT, folds time into strips of the frequency axis. What leaves this
file is unfolded: hidden maps and the map that class activation maps look at.
"""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding
from speechbrain_lmac.classifiers.clap.front_ends import (
    ClapSpectrogram,
    followed_by_silence,
    repeated,
    repeated_whole,
)
from speechbrain_lmac.classifiers.clap.text import load_tokenizer, tokens_of
from speechbrain_lmac.classifiers.huggingface import check_known, transformers_module
from speechbrain_lmac.classifiers.layouts import FoldedTime, Places, evenly
from speechbrain_lmac.classifiers.waveform import MapGrid
from speechbrain_lmac.hub.remote import only_cached
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_atomically

# preprocessor_config.json's `padding` to what fills the window.
FILLS = {
    "repeatpad": repeated_whole,
    "repeat": repeated,
    "pad": followed_by_silence,
}


class HuggingFaceTowers(torch.nn.Module):
    """Both towers of transformers' ClapModel: waveforms and sentences in.

    Hidden maps are what the stages of HTSAT say before they are made coarser, unfolded.
    Clips of any length are heard as `ClapSpectrogram` says: shorter ones as the
    preprocessor fills the window, of longer ones the beginning.

    Arguments
    ---------
    model : transformers.ClapModel
    extractor : transformers.ClapFeatureExtractor
        Its settings are read; what it does is done in torch.
    tokenizer : transformers.PreTrainedTokenizerBase

    Shape
    -----
    ``audio``: (B, N) to an embedding (B, D) and a hidden map (B, C, T', F') for each
    stage. ``text``: P sentences to (P, D), each of length 1.

    Raises
    ------
    InputError
        For a model that fuses long clips (it hears four random parts), or a
        preprocessor of another model.
    """

    def __init__(self, model, extractor, tokenizer):
        super().__init__()
        audio, text = model.config.audio_config, model.config.text_config
        if audio.enable_fusion or extractor.truncation == "fusion":
            raise InputError(
                "this CLAP fuses random parts of long clips (enable_fusion, truncation "
                '"fusion"), which no mask can follow: take an unfused one, such as '
                "laion/clap-htsat-unfused"
            )
        if audio.num_mel_bins != extractor.feature_size:
            raise InputError(
                f"config.json says num_mel_bins {audio.num_mel_bins}, but "
                f"preprocessor_config.json feature_size {extractor.feature_size}: they "
                "belong to different models"
            )
        if extractor.padding not in FILLS:
            raise InputError(
                f"preprocessor_config.json says padding {extractor.padding!r}; known "
                f"are {', '.join(FILLS)}"
            )
        self.model = model
        self._tokenizer = tokenizer
        self._extractor = extractor
        self.token_limit = min(
            tokenizer.model_max_length,
            # RoBERTa's positions begin behind that of the padding.
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
                f"preprocessor_config.json makes {self.front_end.n_frames} frames, but "
                f"the model takes {n_columns}: they belong to different models"
            )
        # The frames are stretched to the columns, the first and the last in place.
        self.frames_per_column = (self.front_end.n_frames - 1) / (n_columns - 1)
        self.layout = FoldedTime(self.n_strips)
        self.cam_layer = torch.nn.Identity()  # hears the unfolded map of the last stage

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, Hz."""
        return self.front_end.sample_rate

    @property
    def embedding_dim(self) -> int:
        """Values of an embedding, D."""
        return self.model.config.projection_dim

    @property
    def scale(self) -> torch.Tensor:
        """What similarities are multiplied by, 0-dim."""
        return self.model.logit_scale_a.exp()

    @property
    def hidden_channels(self) -> list[int]:
        """Channels of the hidden maps."""
        config = self.model.config.audio_config
        width, n_stages = config.patch_embeds_hidden_size, len(config.depths)
        return [width * 2**stage for stage in range(n_stages)]

    def columns_of(self, stage: int) -> tuple[int, int]:
        """Columns of HTSAT's image, and bands, that a step of a stage stands for."""
        rows, columns = self.model.config.audio_config.patch_stride
        return columns * 2**stage, rows * 2**stage

    @property
    def cam_stride(self) -> tuple[float, int]:
        """Frames and bands that a step of the last stage stands for."""
        columns, bands = self.columns_of(len(self.hidden_channels) - 1)
        n_columns = self.model.config.audio_config.spec_size * self.n_strips
        return columns * self.front_end.n_frames / n_columns, bands

    def hidden_grids(self) -> list[MapGrid]:
        """A `MapGrid` of each hidden map, see `WaveformClassifier`."""
        column = self.frames_per_column * self.front_end.hop_length  # in samples
        grids = []
        for stage, channels in enumerate(self.hidden_channels):
            columns, bands = self.columns_of(stage)
            n_bands = self.front_end.n_mels // bands
            steps = Places((columns - 1) / 2 * column, columns * column)
            grids.append(MapGrid(channels, n_bands, steps, evenly(1.0, n_bands)))
        return grids

    def audio(self, wav: torch.Tensor) -> AudioEmbedding:
        """Waveforms (B, N) to an `AudioEmbedding`."""
        return self.hear(self.front_end(wav))

    def hear(self, mel: torch.Tensor) -> AudioEmbedding:
        """The front end's window (B, W, n_mels), in dB, to an `AudioEmbedding`."""
        encoder = self.model.audio_model.audio_encoder
        hidden = []
        *earlier, last = encoder.layers
        with ExitStack() as hooks:
            for stage in earlier:
                handle = stage.register_forward_hook(self.keeping(hidden))
                hooks.callback(handle.remove)
            hooks.callback(last.register_forward_hook(self.passing(hidden)).remove)
            pooled = encoder(mel[:, None]).pooler_output
        embedding = F.normalize(self.model.audio_projection(pooled).float(), dim=1)
        return AudioEmbedding(embedding, tuple(hidden))

    def keeping(self, hidden: list):
        """A forward hook of a stage that keeps its unfolded map."""

        def keep(module, inputs: tuple, outputs: tuple) -> None:
            hidden.append(self.layout.maps(outputs[1]))  # before it is made coarser

        return keep

    def passing(self, hidden: list):
        """The same for the last stage; what follows gets what leaves `cam_layer`."""

        def pass_on(module, inputs: tuple, outputs: tuple) -> tuple:
            hidden.append(self.cam_layer(self.layout.maps(outputs[1])))
            tokens = self.layout.tokens(hidden[-1])
            return (tokens, tokens, *outputs[2:])

        return pass_on

    def text(self, prompts: list[str]) -> torch.Tensor:
        """Sentences to their embeddings (P, D), each of length 1."""
        tokens = tokens_of(self._tokenizer, prompts, self.token_limit)
        tokens = tokens.to(self.model.logit_scale_a.device)
        pooled = self.model.text_model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
        return F.normalize(self.model.text_projection(pooled).float(), dim=1)

    def save(self, folder: Path) -> None:
        """Write what `HuggingFaceClap` and transformers load, file by file."""
        with tempfile.TemporaryDirectory() as made:
            for part in (self.model, self._extractor, self._tokenizer):
                part.save_pretrained(made)
            for path in Path(made).iterdir():
                write_atomically(
                    Path(folder) / path.name,
                    lambda part, path=path: shutil.copyfile(path, part),
                )


class HuggingFaceClap(HuggingFaceTowers):
    """A trained CLAP of transformers.

    Arguments
    ---------
    source : str
        A folder as save_pretrained writes it (config.json, weights,
        preprocessor_config.json, tokenizer), or a hub id. Nothing is fetched for a
        folder, nor with HF_HUB_OFFLINE=1.

    Raises
    ------
    InputError
        When it cannot be had, or is no unfused CLAP.
    """

    def __init__(self, source: Path | str):
        super().__init__(*load_clap(source))


class NewHuggingFaceClap(HuggingFaceTowers):
    """An untrained CLAP of transformers, to be trained.

    Arguments
    ---------
    config : dict
        `audio_config`, `text_config` and `projection_dim`, where they differ from the
        defaults of ClapConfig.
    preprocessor : dict
        What differs from the defaults of ClapFeatureExtractor. Clips are not fused.
    tokenizer_source : str
        A folder or a hub id.

    Raises
    ------
    InputError
        For a key that there is not.
    """

    def __init__(
        self, config: dict, tokenizer_source: Path, preprocessor: dict | tuple = ()
    ):
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


def load_clap(source: Path | str) -> tuple:
    """Model, feature extractor and tokenizer of a folder or a hub id.

    Raises
    ------
    InputError
        See `HuggingFaceClap`.
    """
    transformers = transformers_module()
    source = str(source)
    if Path(source).is_file():
        raise InputError(
            f"{source} is a file, and a CLAP of transformers is a folder: Microsoft's "
            "checkpoint is read by parts/classifier/clap_microsoft.yaml"
        )
    if not Path(source).is_dir() and source.count("/") != 1:
        raise InputError(
            f"there is no folder {source}, and it is no hub id (user/name) either: "
            "name a folder as save_pretrained of transformers writes it"
        )
    where = {"local_files_only": only_cached(source, "config.json", "a CLAP")}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **where)
        if config.model_type != "clap":
            raise InputError(
                f"{source} holds the architecture '{config.model_type}', not 'clap'"
            )
        extractor = transformers.ClapFeatureExtractor.from_pretrained(source, **where)
        kind = transformers.ClapModel
        model, report = kind.from_pretrained(source, output_loading_info=True, **where)
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot load a CLAP from {source}: {error}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"{source} has no weights for {some_of(missing)}: it is no trained CLAP"
        )
    return model.float(), extractor, load_tokenizer(source)
