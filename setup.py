"""Packaging of speechbrain_lmac.

The YAML files, the preparation code and the recipe scripts stand at the top of
the repository, where a SpeechBrain user looks for them. An installed package
needs them too, so they are mapped into it: ``hparams/`` is importable as
``speechbrain_lmac.hparams``, and so on. In a checkout links say the same, for
imports without an installation and for type checkers. Every package is named here,
because a search would follow the links and pack their files twice.
"""

from setuptools import setup

# The ranges that work; constraints.txt has the exact versions `make` installs.
CORE = [
    "speechbrain>=1.1.2,<1.2",
    # torchaudio does not declare which torch it needs and ends at 2.11, so the
    # pair is capped here: pip would otherwise take a newer torch without a word.
    "torch>=2.7.1,<2.12",
    "torchaudio>=2.7.1,<2.12",
    "hyperpyyaml>=1.2.3",
    "pandas>=2.2",
    "soundfile>=0.12.1",
    "huggingface_hub>=1.31,<3",
    "safetensors>=0.4.3",
    "numpy>=1.26",
    "scipy>=1.15",
    "matplotlib>=3.8",
    "pillow>=10",
    "jinja2>=3.1",
    "pyloudnorm>=0.1.1",
    "tqdm>=4.66",
    "filelock>=3.12",
]

EXTRAS = {
    # Gradient methods of the tables.
    "baselines": ["captum>=0.9,<0.10"],
    # Audio classifiers of Hugging Face. Version 4 wants huggingface_hub below 1.
    "hf": ["transformers>=5,<6"],
    "tensorboard": ["tensorboard>=2.16"],
    # Corpora in tar archives.
    "webdataset": ["webdataset>=0.2.100", "braceexpand>=0.1.7"],
    # An oracle in the tests only; the metrics themselves are our own torch code.
    "parity": ["quantus>=0.6,<0.7"],
    "dev": [
        "pytest>=8",
        "pytest-xdist>=3.7",
        "pytest-randomly>=4",
        "hypothesis>=6.100",
        "mypy>=1.19",
        "ruff>=0.9",
        "yamllint>=1.35",
        "codespell>=2.3",
    ],
}

setup(
    name="speechbrain_lmac",
    version="0.3.0",
    description="Listenable explanations of audio classifiers, as SpeechBrain recipes",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.15",
    packages=[
        "speechbrain_lmac",
        "speechbrain_lmac.classifiers",
        "speechbrain_lmac.classifiers.clap",
        "speechbrain_lmac.classifiers.zoo",
        "speechbrain_lmac.config",
        "speechbrain_lmac.data",
        "speechbrain_lmac.domains",
        "speechbrain_lmac.dsp",
        "speechbrain_lmac.evaluation",
        "speechbrain_lmac.explainers",
        "speechbrain_lmac.hub",
        "speechbrain_lmac.inference",
        "speechbrain_lmac.inference.batches",
        "speechbrain_lmac.interpreters",
        "speechbrain_lmac.losses",
        "speechbrain_lmac.metrics",
        "speechbrain_lmac.metrics.checks",
        "speechbrain_lmac.plots",
        "speechbrain_lmac.publishing",
        "speechbrain_lmac.reporting",
        "speechbrain_lmac.reporting.html",
        "speechbrain_lmac.reporting.listening_test",
        "speechbrain_lmac.reporting.published",
        "speechbrain_lmac.training",
        "speechbrain_lmac.training.judges",
        "speechbrain_lmac.utils",
        "speechbrain_lmac.data_prep",
        "speechbrain_lmac.hparams",
        "speechbrain_lmac.recipes",
    ],
    package_dir={
        "speechbrain_lmac.hparams": "hparams",
        "speechbrain_lmac.data_prep": "data_prep",
        "speechbrain_lmac.recipes": "recipes",
    },
    package_data={
        "speechbrain_lmac": ["py.typed", "pretrained/*.json", "pretrained/*/*"],
        "speechbrain_lmac.hparams": ["**/*.yaml"],
        "speechbrain_lmac.reporting.published": ["*.csv"],
        "speechbrain_lmac.reporting.html": ["template/*"],
        "speechbrain_lmac.reporting.listening_test": ["template/*"],
    },
    entry_points={"console_scripts": ["speechbrain-lmac = speechbrain_lmac.cli:main"]},
    install_requires=CORE,
    extras_require=EXTRAS,
)
