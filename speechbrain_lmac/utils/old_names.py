"""Renamed modules and classes, for YAML files and results of earlier versions.

A published model, a user's YAML and a results folder contain the class names of their
version. `current_name` maps an old name to the present one, `recorded_name` a present
one to the name in results, so old and new results are comparable.
"""

import re
from collections.abc import Container
from pathlib import Path

PACKAGE = "speechbrain_lmac."

# Modules of version 0.2 below `speechbrain_lmac`, and their present names.
MODULES = {
    "ablations": "reporting.ablation_page",
    "audio": "dsp.audio",
    "audio_streams": "dsp.audio_streams",
    "augment": "data.augment",
    "background": "data.background",
    "batches.inputs": "inference.batches.inputs",
    "batches.names": "inference.batches.names",
    "batches.record": "inference.batches.record",
    "batches.table": "inference.batches.table",
    "benchmark": "evaluation.benchmark",
    "bounded": "hub.limits",
    "brains": "training.brain",
    "brains_clap": "training.clap",
    "brains_zs": "training.zero_shot",
    "captioned": "data.caption_mixtures",
    "captions": "data.class_captions",
    "checkpoints": "training.checkpoints",
    "classifiers.clap_huggingface": "classifiers.clap.huggingface",
    "classifiers.clap_mel": "classifiers.clap.mel",
    "classifiers.clap_microsoft": "classifiers.clap.microsoft",
    "classifiers.clap_text": "classifiers.clap.text",
    "classifiers.folding": "classifiers.batch_norm_folding",
    "classifiers.front_ends_clap": "classifiers.clap.front_ends",
    "classifiers.miniclap": "classifiers.clap.miniclap",
    "classifiers.words": "utils.tokenizer",
    "classifiers.zero_shot": "classifiers.clap.classifier",
    "codec": "domains.codec",
    "comparison": "evaluation.paired_tests",
    "compiling": "utils.compiling",
    "conditions": "data.conditions",
    "console": "utils.console",
    "contaminants": "data.contaminants",
    "contrastive": "losses.clap",
    "corpus": "evaluation.corpus",
    "corpus_sources": "data.streams",
    "cross_validation": "reporting.cross_validation",
    "dataio": "data.dataset",
    "dead_masks": "training.dead_masks",
    "devices": "utils.devices",
    "distributed": "utils.distributed",
    "domains": "domains.stft",
    "domains_clap": "domains.clap",
    "draws": "utils.seeding",
    "errors": "utils.errors",
    "escaping": "utils.escaping",
    "evaluation": "evaluation.evaluate",
    "experiment": "training.experiment",
    "explained_files": "inference.explain_files",
    "explainers.guided": "explainers.guided_backprop",
    "explaining": "inference.explain_batch",
    "explaining_files": "inference.explain_file",
    "explanations": "inference.results",
    "export": "publishing.model_folder",
    "figures": "plots.figures",
    "files": "utils.files",
    "finetuning": "losses.lmac_finetuning",
    "fingerprints": "utils.hashing",
    "generated": "dsp.noise",
    "heard": "domains.masked_audio",
    "hparams_files": "config.inheritance",
    "hub": "hub.remote",
    "inference": "inference.interfaces",
    "interpreters.frequency": "dsp.mel_to_bins",
    "interpreters.published": "interpreters.cnn14_stft",
    "interpreters.published_mel": "interpreters.cnn14_mel",
    "interpreters.published_td": "interpreters.cnn14_upsampler",
    "labels": "classifiers.labels",
    "learned": "domains.learned",
    "listening.design": "reporting.listening_test.design",
    "listening.loudness": "dsp.loudness",
    "listening.scoring": "reporting.listening_test.scoring",
    "loaded_elsewhere": "publishing.isolated_load",
    "loading": "config.loading",
    "locks": "utils.locks",
    "loggers": "training.loggers",
    "machine": "utils.system",
    "masks": "dsp.pad_crop",
    "measuring": "publishing.card_scores",
    "mel": "dsp.mel",
    "metrics.artefacts": "metrics.bss_eval",
    "metrics.masks": "metrics.sparsity",
    "metrics.truth": "metrics.separation",
    "mixing": "dsp.mixing",
    "mixtures": "data.mixtures",
    "model_card": "publishing.model_card",
    "nmf": "interpreters.nmf",
    "noise": "data.online_noise",
    "objectives": "losses.lmac",
    "objectives_l2i": "losses.l2i",
    "objectives_td": "losses.lmac_td",
    "objectives_zs": "losses.lmac_zs",
    "padding": "classifiers.padding",
    "pairs": "losses.audio_text_pairs",
    "prompts": "training.prompts",
    "published": "reporting.published",
    "publishing": "publishing.publish",
    "recomputed": "losses.gradient_checkpointing",
    "recording_brain": "training.base_brain",
    "report.images": "reporting.html.images",
    "report.page": "reporting.html.page",
    "report.rendering": "reporting.html.clips",
    "report.reopen": "reporting.html.reopen",
    "resolving": "config.resolving",
    "results": "reporting.evaluation_page",
    "retrieval": "evaluation.retrieval",
    "roar": "evaluation.roar",
    "run_options": "config.run_options",
    "safe_hparams": "hub.safe_yaml",
    "safe_models": "inference.safe_loading",
    "safe_weights": "hub.safe_weights",
    "samples": "training.listening_samples",
    "sanity": "evaluation.randomisation",
    "schedules": "training.schedules",
    "shipped": "hub.registry",
    "summary": "evaluation.statistics",
    "tables": "reporting.tables",
    "targets": "training.targets",
    "training_record": "training.training_record",
    "training_settings": "training.training_settings",
    "two_sources": "evaluation.two_sources",
    "visualize": "plots.charts",
    "windows": "dsp.overlap_add",
    "written": "data.caption_dataset",
    "written_explanations": "inference.written_files",
    "zero_shot_checks": "evaluation.prompt_checks",
    "zero_shot_pages": "reporting.prompt_page",
}
# Classes and functions that left their module, or that are imported from its package.
NAMES = {
    "augment.coloured_noise": "dsp.noise.coloured_noise",
    "augment.shaped_noise": "dsp.noise.shaped_noise",
    "augment.uniform": "utils.seeding.uniform",
    "brains_l2i.DictionaryBrain": "recipes.train_nmf.NMF",
    "brains_l2i.L2IBrain": "recipes.train_l2i.L2I",
    "brains_td.CodecBrain": "recipes.train_codec.CodecBrain",
    "classifiers.checkpoint.fetch": "hub.weights.fetch",
    "classifiers.checkpoint.load_weights": "hub.weights.load_weights",
    "classifiers.checkpoint.read_weights": "hub.weights.read_weights",
    "classifiers.checkpoint.save_weights": "hub.weights.save_weights",
    "classifiers.front_ends_clap.decibels": "dsp.mel.decibels",
    "conditions.FolderStems": "data.sources.FolderStems",
    "domains_clap.ClapMelDomain": "domains.ClapMelDomain",
    "domains_clap.ClapSTFTDomain": "domains.ClapSTFTDomain",
    "evaluation.RowStore": "evaluation.row_store.RowStore",
    "evaluation.evaluate": "evaluation.evaluate.evaluate",
    "experiment.class_names": "inference.loading.class_names",
    "experiment.open_benchmark": "evaluation.blocks.open_benchmark",
    "experiment.open_explainer": "inference.loading.open_explainer",
    "files.read_csv": "utils.csv_files.read_csv",
    "files.write_csv": "utils.csv_files.write_csv",
    "interpreters.aligned.AtBands": "interpreters.aligned.ResampledProjection",
    "interpreters.aligned.BandsOfTheirOwn": "interpreters.aligned.BandwiseProjection",
    "learned.LearnedDomain": "domains.LearnedDomain",
    "written_explanations.write_sound": "dsp.audio.write_sound",
}
# Classes of version 0.3 that moved to the recipes: the Brains.
LATER = {
    "speechbrain_lmac.training.brain.ClassifierBrain": (
        "speechbrain_lmac.recipes.train_classifier.ClassifierBrain"
    ),
    "speechbrain_lmac.training.brain.ExplainerBrain": (
        "speechbrain_lmac.recipes.train_lmac.LMAC"
    ),
    "speechbrain_lmac.training.brain.FinetuningBrain": (
        "speechbrain_lmac.recipes.train_lmac.FinetunedLMAC"
    ),
    "speechbrain_lmac.training.clap.ClapBrain": (
        "speechbrain_lmac.recipes.train_clap.ClapBrain"
    ),
    "speechbrain_lmac.training.codec.CodecBrain": (
        "speechbrain_lmac.recipes.train_codec.CodecBrain"
    ),
    "speechbrain_lmac.training.l2i.DictionaryBrain": (
        "speechbrain_lmac.recipes.train_nmf.NMF"
    ),
    "speechbrain_lmac.training.l2i.L2IBrain": (
        "speechbrain_lmac.recipes.train_l2i.L2I"
    ),
    "speechbrain_lmac.training.zero_shot.ZeroShotBrain": (
        "speechbrain_lmac.recipes.train_lmac_zs.LMACZS"
    ),
}
# Modules that became packages, and the classes that these still export.
BECAME_PACKAGES: dict[str, tuple[str, ...]] = {
    "domains": (
        *("STFTDomain", "MagnitudeSTFTDomain", "WaveformSTFTDomain", "MelDomain"),
        *("LearnedDomain", "ClapSTFTDomain", "ClapMelDomain"),
    ),
    "evaluation": (),
    "hub": (),
    "inference": ("AudioExplainer", "AudioClassifier"),
    "publishing": (),
}
# Tables of version 0.3, and their present runs of one file per dataset.
ONE_METHOD = "--conditions clean --blocks STFT --methods '[L-MAC, random*, all ones]'"
IN_DOMAIN = "--conditions clean,noise"
BOTH = "--blocks STFT,Mel"
LMAC_TD = "--blocks STFT,TD --methods '[L-MAC, LMAC-TD*, random blocks, all ones]'"
RUNS = {
    "evaluate": ("table", ONE_METHOD),
    "table_id": ("table", f"{IN_DOMAIN} {BOTH}"),
    "table_ood": ("table", f"--conditions mixtures,white_noise,speech {BOTH}"),
    "table_td": ("table", LMAC_TD),
    "zs_table_id": ("zs_table", IN_DOMAIN),
    "zs_table_ood": ("zs_table", "--conditions mixtures,white_noise"),
    "zs_table_mel": ("zs_table", "--blocks Mel"),
    "zs_table_stft": ("zs_table", "--blocks STFT"),
}
HPARAMS = {
    f"{dataset}_{run}.yaml": (f"{dataset}_{table}.yaml", options)
    for dataset, runs in {
        "esc10": [*RUNS][:6],
        "esc50": ["evaluate", "table_id", "table_ood", "zs_table_mel", "zs_table_stft"],
        "toy": [*RUNS][:4],
        "us8k": ["evaluate", "table_id", "table_ood"],
    }.items()
    for run in runs
    for table, options in [RUNS[run]]
}
# Ablations of version 0.3, and their present rows in one list.
ABLATIONS = {
    "toy_ablations": {
        "finetune_0": "FT, lambda_g=0",
        "finetune_16": "FT, lambda_g=16",
        "finetune_norm": "FT, norm",
        "l1_quarter": "L1 x 1/4",
        "l1_times_4": "L1 x 4",
        "magnitude": "magnitude",
        "no_l1": "without L1",
        "no_mask_out": "without mask-out",
        "one_map": "one hidden map",
        "total_variation": "with TV",
        "two_maps": "two hidden maps",
    },
    "toy_zs_ablations": {
        "zs_attention": "attention",
        "zs_diversity_times_4": "diversity x 4",
        "zs_l1_quarter": "L1 x 1/4",
        "zs_l1_times_4": "L1 x 4",
        "zs_no_diversity": "without diversity",
    },
}
ROWS = {
    f"toy_{name}.yaml": (f"{table}.yaml", row)
    for table, rows in ABLATIONS.items()
    for name, row in rows.items()
}
KNOWN = MODULES | NAMES
RECORDED = {new: old for old, new in (NAMES | MODULES).items()}
CURRENT = (
    set(MODULES.values())
    | {
        f"{module}.{name}"
        for module, names in BECAME_PACKAGES.items()
        for name in names
    }
    | {
        f"{package}.{path.stem}"
        for package in BECAME_PACKAGES
        for path in (Path(__file__).parents[1] / package).glob("[!_]*.py")
    }
)


def current_name(name: str) -> str:
    """Return the present dotted name of a class or function.

    Example
    -------
    >>> current_name("speechbrain_lmac.learned.LearnedDomain")
    'speechbrain_lmac.domains.LearnedDomain'
    >>> current_name("speechbrain_lmac.codec.Codec")
    'speechbrain_lmac.domains.codec.Codec'
    >>> current_name("torch.nn.Linear")
    'torch.nn.Linear'
    """
    inner = name.removeprefix(PACKAGE)
    if inner == name or (inner not in NAMES and _moved(inner, CURRENT) is not None):
        return LATER.get(name, name)
    old = _moved(inner, KNOWN)
    if old is None:
        return LATER.get(name, name)
    moved = PACKAGE + KNOWN[old] + inner.removeprefix(old)
    return LATER.get(moved, moved)


def recorded_name(name: str) -> str:
    """Return the dotted name of a class or function in results, that of version 0.2.

    Example
    -------
    >>> recorded_name("speechbrain_lmac.domains.learned.LearnedDomain")
    'speechbrain_lmac.learned.LearnedDomain'
    """
    inner = name.removeprefix(PACKAGE)
    now = None if inner == name else _moved(inner, RECORDED)
    if now is None:
        return name
    return PACKAGE + RECORDED[now] + inner.removeprefix(now)


def moved_hparams(name: Path | str) -> str | None:
    """Return a description of what replaces an experiment file of version 0.3, or None.

    Example
    -------
    >>> print(moved_hparams("hparams/ablations/toy_no_mask_out.yaml"))
    the row 'without mask-out' of hparams/toy_ablations.yaml, which ablations.py trains
    """
    path = Path(name)
    if path.name in ROWS:
        file, row = ROWS[path.name]
        return (
            f"the row '{row}' of {path.parent.parent / file}, which ablations.py trains"
        )
    if path.name not in HPARAMS:
        return None
    file, options = HPARAMS[path.name]
    return (
        "a run of the dataset's table, with a separate --output_folder: "
        f"{path.with_name(file)} {options}"
    )


def with_current_names(text: str) -> tuple[str, dict[str, str]]:
    """Return the text of a YAML file with present names in its tags.

    Arguments
    ---------
    text : str
        With `!new:`, `!name:`, `!apply:` and `!applyref:`.

    Returns
    -------
    text : str
    moved : dict
        Old dotted name to the new one, for those found in the text.

    Example
    -------
    >>> with_current_names("mask: !name:speechbrain_lmac.objectives.mask_in")
    ('mask: !name:speechbrain_lmac.losses.lmac.mask_in',
     {'speechbrain_lmac.objectives.mask_in': 'speechbrain_lmac.losses.lmac.mask_in'})
    """
    moved: dict[str, str] = {}

    def renamed(found: re.Match[str]) -> str:
        name = found.group(2)
        current = current_name(name)
        if current != name:
            moved[name] = current
        return found.group(1) + current

    return re.sub(r"(!(?:new|name|apply|applyref):)([\w.]+)", renamed, text), moved


def _moved(inner: str, modules: Container[str]) -> str | None:
    """Return the longest prefix of a dotted name that is in `modules`, or None."""
    parts = inner.split(".")
    heads = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((head for head in heads if head in modules), None)
