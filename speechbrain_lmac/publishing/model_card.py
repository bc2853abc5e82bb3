"""The card of a model that is passed on: README.md with front matter."""

import json

from speechbrain_lmac.hub.registry import is_non_commercial
from speechbrain_lmac.metrics import ALL_METRICS, HEARD_METRICS
from speechbrain_lmac.publishing.card_scores import ACCURACY

TAGS = ["speechbrain", "audio", "interpretability", "explainability"]

WHAT = {
    "AudioExplainer": "It tells which part of a sound made its classifier decide, as "
    "audio: what the mask keeps, and what is left without it.",
    "AudioClassifier": "A classifier of sounds, to be explained.",
}

USE = {
    "AudioExplainer": """\
```python
from speechbrain_lmac.inference import AudioExplainer

explainer = AudioExplainer.from_hparams("{source}")
explained = explainer.explain_file("example.wav"{prompts})
```

or, for many files,

```sh
speechbrain-lmac explain *.wav --model {source} --output_folder out
```
""",
    "AudioClassifier": """\
```python
from speechbrain_lmac.inference import AudioClassifier

classifier = AudioClassifier.from_hparams("{source}")
probabilities, score, index, labels = classifier.classify_file("example.wav")
```
""",
}

TRUST = """\
The package speechbrain_lmac has to be installed. It reads `hyperparams.yaml` as data:
nothing is built but classes of an allow-list, and weights are read without unpickling
code. SpeechBrain's own `foreign_class(source=..., pymodule_file="custom_interface.py",
classname="{interface}")`, of a folder or a hub id, works too, but it runs whatever the
YAML and the Python file say: use it for publishers that you trust, and pin a revision.
"""

NON_COMMERCIAL = "The weights are not for commercial use."

WORDS = """\
A prompt is read by its words: those in `hyperparams.yaml`. What it does not know of one
it says, and a prompt of unknown words alone is refused.
"""

METHODS = {
    "L-MAC": """\
@inproceedings{paissan2024listenable,
  title = {Listenable Maps for Audio Classifiers},
  author = {Paissan, Francesco and Ravanelli, Mirco and Subakan, Cem},
  booktitle = {Proceedings of the 41st International Conference on Machine Learning},
  year = {2024},
  eprint = {2403.13086},
  archivePrefix = {arXiv}
}""",
    "LMAC-TD": """\
@misc{lmactd,
  title = {{LMAC-TD}: Producing Time Domain Explanations for Audio Classifiers},
  author = {Mancini, Eleonora and Paissan, Francesco and Ravanelli, Mirco and Subakan,
            Cem},
  year = {2024},
  eprint = {2409.08655},
  archivePrefix = {arXiv}
}""",
    "LMAC-ZS": """\
@misc{lmaczs,
  title = {Listenable Maps for Zero-Shot Audio Classifiers},
  author = {Paissan, Francesco and Della Libera, Luca and Ravanelli, Mirco and Subakan,
            Cem},
  year = {2024},
  eprint = {2405.17615},
  archivePrefix = {arXiv}
}""",
    "L2I": """\
@misc{l2i,
  author = {Parekh, Jayneel and Parekh, Sanjeel and Mozharovskyi, Pavlo and
            d'Alch{\'e}-Buc, Florence and Richard, Ga{\"e}l},
  title = {Listen to Interpret: Post-hoc Interpretability for Audio Networks with
           {NMF}},
  year = {2022},
  eprint = {2202.11479},
  archivePrefix = {arXiv}
}""",
}
SPEECHBRAIN = """\
@misc{ravanelli2021speechbrain,
  title = {{SpeechBrain}: A General-Purpose Speech Toolkit},
  author = {Ravanelli, Mirco and Parcollet, Titouan and Plantinga, Peter and Rouhe, Aku
            and others},
  year = {2021},
  eprint = {2106.04624},
  archivePrefix = {arXiv}
}"""


def model_card(record, source: str, example: str) -> str:
    """The text of README.md.

    Arguments
    ---------
    record : ModelRecord
    source : str
        What `from_hparams` is given: a hub id, or the name of a shipped model.
    example : str
        One line on `example.wav`.

    Returns
    -------
    text : str
    """
    interface = record.interface
    prompts = ', prompts=["a dog barking"]' if record.method == "LMAC-ZS" else ""
    method = METHODS.get(record.method)
    parts = [
        _front_matter(record),
        f"# {record.name}",
        f"{record.method}, trained on {record.dataset} by speechbrain_lmac. "
        + WHAT[interface],
        "## Use",
        USE[interface].format(source=source, prompts=prompts).rstrip(),
        *([WORDS.rstrip()] if record.method == "LMAC-ZS" else []),
        TRUST.format(interface=interface).rstrip(),
        "## Numbers",
        f"On {record.measured_on}; in brackets the 95 % interval of a bootstrap over "
        "clips.",
        "\n".join(metrics_table(record.metrics)),
        "## How it was made",
        "```sh\n" + "\n".join(record.commands) + "\n```",
        record.versions + ".",
        f"Classes: {', '.join(record.classes)}.",
        "## Example",
        f"`example.wav`: {example}"
        + (
            " `example_explanation.wav` is what this model keeps of it, "
            "`example_rest.wav` what it leaves."
            if interface == "AudioExplainer"
            else ""
        ),
        "## Licence and credits",
        f"Licence: {record.license}, which the training data ask for. "
        + (f"{NON_COMMERCIAL} " if is_non_commercial(record.license) else "")
        + f"Data: {record.dataset}: {record.credit}.",
        "```bibtex\n" + "\n\n".join(filter(None, [method, SPEECHBRAIN])) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def metrics_table(metrics: dict) -> list[str]:
    """The lines of a Markdown table of what was measured."""
    directions = {metric.name: metric for metric in (*ALL_METRICS, *HEARD_METRICS)}
    lines = ["| metric | mean | 95 % interval | clips |", "|---|---|---|---|"]
    for name, value in metrics.items():
        better = getattr(directions.get(name), "higher_is_better", name == ACCURACY)
        arrow = {True: " ↑", False: " ↓", None: ""}[better]
        lines.append(
            f"| {name}{arrow} | {value['mean']:.4g} | "
            f"[{value['low']:.4g}, {value['high']:.4g}] | {value['n']} |"
        )
    return lines


def _front_matter(record) -> str:
    """The YAML that the hub reads; texts are quoted as JSON, which is YAML."""
    tags = [*TAGS, record.method.lower()]
    fields = {
        "license": record.license,
        "library_name": "speechbrain",
        "pipeline_tag": "audio-classification",
        "tags": tags,
        "datasets": [record.dataset],
        "metrics": list(record.metrics),
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])
