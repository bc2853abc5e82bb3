"""The model card: README.md with front matter."""

import math

from huggingface_hub import EvalResult, ModelCardData

from speechbrain_lmac.hub.registry import ModelRecord, is_non_commercial
from speechbrain_lmac.metrics import ALL_METRICS, HEARD_METRICS, Score
from speechbrain_lmac.publishing.card_scores import ACCURACY, CHECKS

TASK = "audio-classification"  # task name on the hub
TAGS = ["speechbrain", "audio", "interpretability", "explainability"]

SUMMARY = {
    "AudioExplainer": "It explains the decisions of its classifier with audio: the "
    "part of the input that the mask keeps, and the rest.",
    "AudioClassifier": "An audio classifier, to be explained by an explainer.",
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
The package speechbrain_lmac must be installed. It reads `hyperparams.yaml` as data: it
builds only classes of an allow-list, and loads weights without unpickling code.
SpeechBrain's own `foreign_class(source=..., pymodule_file="custom_interface.py",
classname="{interface}")`, with a folder or a hub id, also works, but it executes the
YAML and the Python file: use it only for publishers you trust, and pin a revision.
"""

IMPRINT = (
    "imprint white: share of clips whose mask, laid on white noise, makes the "
    "classifier predict their class. More than for masks of ones: the mask draws the "
    "class by its shape."
)
NON_COMMERCIAL = "The weights are for non-commercial use only."

VOCABULARY = """\
The vocabulary of the prompts is listed in `hyperparams.yaml`. Unknown words raise a
warning; prompts with only unknown words raise an error.
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


def model_card(record: ModelRecord, source: str, example: str) -> str:
    """Return the text of README.md.

    Arguments
    ---------
    record : ModelRecord
    source : str
        The argument of `from_hparams`: a hub id, or the name of a shipped model.
    example : str
        Origin and licence of `example.wav`, one line.

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
        + SUMMARY[interface],
        "## Use",
        USE[interface].format(source=source, prompts=prompts).rstrip(),
        *([VOCABULARY.rstrip()] if record.method == "LMAC-ZS" else []),
        TRUST.format(interface=interface).rstrip(),
        "## Scores",
        f"On {record.measured_on}; in brackets the 95 % bootstrap interval over clips.",
        "\n".join(metrics_table(record.metrics)),
        *([IMPRINT] if "imprint white" in record.metrics else []),
        "## Training",
        "```sh\n" + "\n".join(record.commands) + "\n```",
        record.versions + ".",
        f"Classes: {', '.join(record.classes)}.",
        "## Example",
        f"`example.wav`: {example}"
        + (
            " `example_explanation.wav`: the part that this model keeps; "
            "`example_rest.wav`: the rest."
            if interface == "AudioExplainer"
            else ""
        ),
        "## Licence and credits",
        f"Licence: {record.license}, as required by the training data. "
        + (f"{NON_COMMERCIAL} " if is_non_commercial(record.license) else "")
        + f"Data: {record.dataset}: {record.credit}.",
        "```bibtex\n" + "\n\n".join(filter(None, [method, SPEECHBRAIN])) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def metrics_table(metrics: dict[str, dict[str, float]]) -> list[str]:
    """Return the lines of a Markdown table of the scores of `card_scores.measure`."""
    known: list[Score] = [*ALL_METRICS, *HEARD_METRICS]
    known += [score for check in CHECKS for score in check.scores()]
    directions = {score.name: score for score in known}
    arrows = {True: " ↑", False: " ↓", None: ""}
    lines = ["| metric | mean | 95 % interval | clips |", "|---|---|---|---|"]
    for name, value in metrics.items():
        better = getattr(directions.get(name), "higher_is_better", None)
        better = True if name == ACCURACY else better
        lines.append(
            f"| {name}{arrows[better]} | {value['mean']:.4g} | "
            f"[{value['low']:.4g}, {value['high']:.4g}] | {value['n']} |"
        )
    return lines


def _front_matter(record: ModelRecord) -> str:
    """Return the YAML front matter, with the scores as model-index for the hub."""
    scores = [
        EvalResult(
            task_type=TASK,
            dataset_type=record.dataset.lower().replace(" ", "-"),
            dataset_name=record.dataset,
            dataset_split="test",
            metric_type=name,
            metric_name=name,
            metric_value=score["mean"],
        )
        for name, score in record.metrics.items()
        if math.isfinite(score["mean"])
    ]
    card = ModelCardData(
        license=record.license,
        library_name="speechbrain",
        pipeline_tag=TASK,
        tags=[*TAGS, record.method.lower()],
        datasets=[record.dataset],
        metrics=list(record.metrics),
        model_name=record.name,
        eval_results=scores or None,
    )
    return f"---\n{card.to_yaml()}\n---"
