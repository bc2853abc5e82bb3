"""Explain audio files with a trained interpreter.

    python explain.py hparams/esc10_lmac.yaml clip.wav other.flac --output_folder out

It takes files of any rate, length and channel count, and writes for each: the
explanation, the rest, the model's input (WAV, at the file's own rate and length), a
figure, and a row of `explanations.csv`. `--key value` overrides keys of the YAML, as in
training; `--interpreter_checkpoint` names a trained interpreter elsewhere. `--target`
explains another class than the predicted one, with a conditional interpreter:

    python explain.py hparams/esc10_lmac_conditional.yaml clip.wav --target rooster \
        --output_folder out

A zero-shot classifier is explained for each prompt; the table then has the similarity
of each prompt to the audio before and after masking:

    python explain.py hparams/esc10_lmac_zs_stft.yaml clip.wav \
        --prompt "a dog barking" --prompt "rain on a roof" --output_folder out

FILES may be folders, patterns in quotes ("clips/**/*.wav") and `-`, a list on standard
input. A file longer than the training's clips is explained in windows. Unreadable files
are skipped and listed at the end. Files in the table of the output folder are skipped,
except with `--again`.
"""

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.config.recipe_key import check_trains
from speechbrain_lmac.inference.explain_files import explain_files
from speechbrain_lmac.inference.loading import (
    EXPLAINER_PARTS,
    class_names,
    open_explainer,
)
from speechbrain_lmac.inference.requests import (
    check_prompts,
    check_target,
    class_index,
    request_class,
    request_prompts,
)
from speechbrain_lmac.metrics.checks.encoding import EncodingCheck
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.files import check_folder
from speechbrain_lmac.utils.hashing import fingerprint_of


def explain(argv):
    """Run the command above."""
    parser = Parser(__doc__)
    parser.add_argument(
        "param_file", metavar="FILE.yaml", help="YAML file of the training"
    )
    parser.add_argument(
        "files", nargs="+", help="audio files, folders, quoted patterns, or -"
    )
    parser.add_argument("--output_folder", required=True, help="folder of the results")
    parser.add_argument("--target", help="class to explain (default: predicted)")
    parser.add_argument("--prompt", action="append", help="text prompt (repeatable)")
    parser.add_argument("--pdf", action="store_true", help="write figures as PDF, too")
    parser.add_argument(
        "--no_check", action="store_true", help="skip the column encoding (faster)"
    )
    parser.add_argument("--again", action="store_true", help="redo finished files")
    args, overrides = parser.parse_known_args(argv)
    check_folder(args.output_folder)
    check_trains(args.param_file, "explain.py")
    hparams, run_opts, source = load_experiment([args.param_file, *overrides])
    require_keys(hparams, EXPLAINER_PARTS, source[0])
    classifier = hparams["classifier"]
    labels = class_names(classifier)
    if args.target is not None:
        class_index(args.target, labels)
        check_target([args.target], hparams["interpreter"])
    if args.prompt is not None:
        check_prompts(classifier, hparams["interpreter"], args.target)
        classifier = classifier.with_prompts(args.prompt)
    explainer, device = open_explainer(hparams, run_opts, source[0], classifier)

    window = clip_seconds(hparams)
    check = None
    if not args.no_check:
        check = EncodingCheck(explainer.domain, explainer.classifier)
    if args.prompt is not None:
        requests = request_prompts(explainer, device, window, check)
    else:
        requests = [
            request_class(explainer, labels, device, args.target, window, check)
        ]
    pictures = ["png", "pdf"] if args.pdf else ["png"]
    explain_files(
        args.files,
        requests,
        args.output_folder,
        fingerprint_of(explainer, labels, window, args.target, args.prompt),
        pictures,
        args.again,
    )


def clip_seconds(hparams):
    """Return the length of the interpreter's training clips in seconds, or None."""
    dataset = hparams.get("dataset")
    return None if dataset is None else dataset.n_samples / dataset.sample_rate


if __name__ == "__main__":
    main(explain)
