"""Publish a trained model on the Hugging Face hub.

    python publish.py results/esc10_lmac/1234 --repo user/esc10-lmac --dry-run

It writes a self-contained folder from the results of a training,
`results/esc10_lmac/1234/model` (or `--model_folder`): hyperparams.yaml, the best
weights, the class names, a card with the scores of the test clips, an example with its
explanation. It is loaded from another working directory, without a network, and
compared with the trained model. Without `--dry-run` it is then uploaded to `--repo`; a
repeated command skips uploaded files. `--verify` downloads it and compares. The token
is that of `hf auth login` or `HF_TOKEN`.

The licence is that of the dataset part of the YAML; `--license` sets another, and is
required for data that exclude commercial use. The example is a generated sound, or the
file of `--example`, which you may publish; `--credit` names its author and licence.
`--data_folder` is the current folder of the data, if they were moved.
"""

import json
from pathlib import Path

from speechbrain_lmac.hub.remote import check_repo, upload_model, verify_upload
from speechbrain_lmac.publishing.model_folder import open_trained
from speechbrain_lmac.publishing.publish import check_license, make_model, terms_of
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.errors import InputError


def publish(argv):
    """Run the command above."""
    parser = Parser(__doc__)
    parser.add_argument("results", help="the output folder of a training")
    parser.add_argument("--repo", required=True, help="USER/NAME on the hub")
    parser.add_argument(
        "--private", action="store_true", help="create a private repository"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="write the folder, upload nothing"
    )
    parser.add_argument(
        "--verify", action="store_true", help="download the model and compare"
    )
    parser.add_argument(
        "--model_folder", help="the folder to write (default: RESULTS/model)"
    )
    parser.add_argument("--example", help="an audio file that you may publish")
    parser.add_argument("--credit", help="author and licence of the example")
    parser.add_argument("--license", help="licence of the model, such as cc-by-nc-4.0")
    parser.add_argument(
        "--data_folder", help="where the dataset is now (default: as recorded)"
    )
    args, overrides = parser.parse_known_args(argv)
    if args.data_folder is not None:
        overrides.append(f"--dataset={{data_folder: {json.dumps(args.data_folder)}}}")
    check_repo(args.repo)
    if (args.example is None) != (args.credit is None):
        raise InputError(
            "--example and --credit must be used together: an audio file, and its "
            "author and licence"
        )
    folder = Path(args.model_folder or Path(args.results) / "model")
    trained = open_trained(args.results, overrides)
    check_license(args.license, terms_of(trained))
    make_model(
        trained, folder, args.repo, args.example, args.credit, license_id=args.license
    )
    show((folder / "README.md").read_text(encoding="utf-8"))
    show(f"In {folder}:")
    for path in sorted(folder.iterdir()):
        show(f"  {path.name:24} {path.stat().st_size:>10,} bytes")
    if args.dry_run:
        show("Nothing was uploaded (--dry-run).")
        return
    upload = upload_model(folder, args.repo, private=args.private)
    state = "uploaded" if upload.changed else "was already uploaded, unchanged"
    show(f"{upload.url} {state}, commit {upload.commit}")
    if args.verify:
        verify_upload(folder, upload)
        show("verified: the files on the hub are equal to the local ones")


if __name__ == "__main__":
    main(publish)
