"""Explain audio files with a trained interpreter: listen to why the model decided.

    python explain.py hparams/esc10_lmac.yaml clip.wav other.flac --output_folder out

takes files of any rate, length and channel count, and writes for each: the
explanation, the rest, the input as the model heard it (WAV, at the file's own rate
and length), a picture, and a line of `explanations.csv`. The files stand right behind
the YAML; `--key value` overrides keys of the YAML, as in training. A trained
interpreter elsewhere is named by `--interpreter_checkpoint`. Another class than the
predicted one is asked for by its name, of an interpreter that listens to it:

    python explain.py hparams/esc10_lmac_conditional.yaml clip.wav --target rooster \
        --output_folder out

A zero-shot classifier is asked about anything, once for each prompt; the table then
tells how near each prompt is to the sound before and after:

    python explain.py hparams/esc10_lmac_zs_stft.yaml clip.wav \
        --prompt "a dog barking" --prompt "rain on a roof" --output_folder out

A file that cannot be read does not stop the others; it is named at the end.
"""

import argparse
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from speechbrain_lmac.classifiers.zero_shot import ClapClassifier
from speechbrain_lmac.codec import check_codec_of
from speechbrain_lmac.data_prep.manifest import AudioFault, check_audio
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.experiment import load_experiment, main, pick_device, require_keys
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.files import write_csv
from speechbrain_lmac.inference import (
    class_index,
    explain_file,
    explain_prompts,
    prompt_names,
    unique_names,
    write_explanation,
)
from speechbrain_lmac.interpreters import (
    ClassConditionedInterpreter,
    PresenceInterpreter,
    TextAttentionInterpreter,
    TextFiLMInterpreter,
    TrainedInterpreter,
)

# Interpreters that are told in words what to look for, and all that are told.
TOLD_IN_WORDS = (TextFiLMInterpreter, TextAttentionInterpreter, PresenceInterpreter)
TOLD = (ClassConditionedInterpreter, *TOLD_IN_WORDS)


def explain(argv):
    """Everything that the command above does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("param_file", help="the YAML file of the training")
    parser.add_argument("files", nargs="+", help="audio files")
    parser.add_argument("--output_folder", required=True, help="where to write")
    parser.add_argument("--target", help="class to explain (default: the predicted)")
    parser.add_argument(
        "--prompt", action="append", help="what to look for, in words; more than once"
    )
    args, overrides = parser.parse_known_args(argv)
    hparams, run_opts, source = load_experiment([args.param_file, *overrides])
    require_keys(
        hparams,
        ["domain", "classifier", "interpreter", "interpreter_checkpoint"],
        source[0],
    )
    if "codec" in hparams:
        check_codec_of(hparams["codec"], hparams["interpreter_checkpoint"])
    classifier = hparams["classifier"]
    labels = classifier.labels or [f"class {i}" for i in range(classifier.n_classes)]
    if args.target is not None:
        check_target(args.target, labels, hparams["interpreter"], source[0])
    if args.prompt is not None:
        check_prompts(args, classifier, hparams["interpreter"], source[0])
        classifier = classifier.asked(args.prompt)
    device = pick_device(run_opts)
    interpreter = TrainedInterpreter(
        hparams["interpreter"], hparams["interpreter_checkpoint"]
    )
    explainer = hparams.get("explainer", AmortizedExplainer)(
        hparams["domain"].to(device),
        classifier.to(device),
        interpreter.to(device),
    )
    rows, failures = [], []
    for path, name in tqdm(
        list(zip(args.files, unique_names(args.files), strict=True)), desc="explain"
    ):
        try:
            check_audio(path)
            if args.prompt is None:
                found = {
                    name: explain_file(explainer, path, labels, device, args.target)
                }
            else:
                parts = prompt_names(args.prompt)
                answers = explain_prompts(explainer, path, device)
                found = dict(zip([f"{name}_{p}" for p in parts], answers, strict=True))
        except (AudioFault, InputError) as error:
            failures.append(f"{path}: {error}")
            continue
        for name, explained in found.items():
            write_explanation(explained, args.output_folder, name)
            rows.append({"name": name, **explained.row()})
    if rows:
        table = pd.DataFrame(rows)
        write_csv(table, Path(args.output_folder) / "explanations.csv")
        print(table.to_string(index=False, float_format="{:.3f}".format))
        print(f"listen and look in {args.output_folder}")
    if failures:
        raise InputError(
            f"{len(failures)} of {len(args.files)} files could not be explained:\n  "
            + "\n  ".join(failures)
        )


def check_target(target, labels, interpreter, path):
    """Refuse a class that there is not, and an interpreter that would not listen."""
    class_index(target, labels)
    if not isinstance(interpreter, TOLD):
        raise InputError(
            f"--target {target}: the interpreter of {path} is not told which class to "
            "explain, so its mask would be that of the predicted class; take one that "
            "was trained for any class, as by hparams/esc10_lmac_conditional.yaml"
        )


def check_prompts(args, classifier, interpreter, path):
    """Refuse prompts that nothing would read."""
    if args.target is not None:
        raise InputError(
            "--target names a class, --prompt asks for anything: give one of them"
        )
    if not isinstance(classifier, ClapClassifier):
        raise InputError(
            f"--prompt: the classifier of {path} reads no text; take an experiment "
            "with a CLAP, as hparams/esc10_lmac_zs_stft.yaml, or name a --target"
        )
    if not isinstance(interpreter, TOLD_IN_WORDS):
        raise InputError(
            f"--prompt: the interpreter of {path} is not told the prompt, so its mask "
            "would be the same for all; take one that train_lmac_zs.py trained"
        )


if __name__ == "__main__":
    main(explain)
