"""Mixtures of an evaluation, frozen in a manifest, for any prepared dataset.

The manifest is one JSON file that says of each mixture all that it is made of (see
`mixtures`), with a checksum of every audio file used.
"""

import json
import logging
from pathlib import Path

from speechbrain_lmac.data.contaminants import PROTOCOLS, Scene
from speechbrain_lmac.data.corpora import SPLITS, checksum
from speechbrain_lmac.data.mixtures import Sounds, foreground_of
from speechbrain_lmac.dsp.audio import AudioReader
from speechbrain_lmac.dsp.mixing import gains_of_snr, snr_of_gains
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.hashing import json_hash

FORMAT = 1  # one more when the manifests' content changes: old ones are remade

logger = logging.getLogger(__name__)


def prepare_mixtures(
    dataset,
    manifest_folder: Path | str,
    split: str,
    contaminants,
    protocol: str = "own",
    gains: list[int] | None = None,
    snr_db: float | str | None = None,
    per_clip: int = 2,
    seed: int = 1234,
) -> tuple:
    """Freeze the mixtures of one condition, unless that was done.

    The manifest is remade when the options change, or the lists of clips and sounds
    that are drawn from. It is not remade when a file changes: then `check_files`
    refuses it.

    Arguments
    ---------
    dataset : ClipDataset
        Its manifests are in `manifest_folder`.
    manifest_folder : str or Path
        The mixtures go to its folder ``mixtures``.
    split : str
        "train", "valid" or "test"; the published protocol takes its own.
    contaminants : object
        From `speechbrain_lmac.data.contaminants`.
    protocol : str
        "own" or "published", see there.
    gains : sequence, optional
        Of clip and contaminant, both at unit energy. Without: those published for this
        kind of contaminant.
    snr_db : float, optional
        Instead of gains.
    per_clip : int
        Mixtures of each clip.
    seed : int
        Of all draws.

    Returns
    -------
    path : Path
        The manifest.
    record : dict
        What is in it: `kind`, `split`, `gains`, `seed`, `sample_rate`, `n_samples`,
        `description`, `warnings`, `files` (name to checksum), `clips` (id to entry).

    Raises
    ------
    InputError
        An impossible option, an empty split or corpus, an unreadable file.
    """
    gains = choose_gains(gains, snr_db, contaminants.gains)
    if protocol not in PROTOCOLS:
        raise InputError(
            f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}"
        )
    if split not in SPLITS:
        raise InputError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not isinstance(per_clip, int) or per_clip < 1:
        raise InputError(f"per_clip must be a whole number from 1, got {per_clip!r}")
    contaminants.prepare()
    rule = PROTOCOLS[protocol]
    bases = read_clips(manifest_folder, rule.base_split(split))
    scene = Scene(
        protocol=rule,
        split=split,
        others=read_clips(manifest_folder, rule.other_split(split)),
        n_samples=dataset.n_samples,
        sample_rate=dataset.sample_rate,
        per_clip=per_clip,
        seed=seed,
    )
    options = {
        "format": FORMAT,
        "kind": contaminants.kind,
        "split": split,
        "protocol": protocol,
        "gains": gains,
        "per_clip": per_clip,
        "seed": seed,
        "sample_rate": dataset.sample_rate,
        "n_samples": dataset.n_samples,
        "categories": dataset.categories,
    }
    # What is drawn from is in the name too: two corpora of a kind live side by side.
    listing = contaminants.listing(scene)
    place = json_hash([options, contaminants.description(scene)])
    path = Path(manifest_folder) / "mixtures"
    path /= f"{contaminants.kind}-{split}-{place[:8]}.json"
    state = json_hash([options, listing, bases])
    record = load_mixtures(path, state)
    if record is None:
        clips = draw_mixtures(bases, contaminants, scene, gains)
        sounds = sounds_of(dataset, contaminants)
        files, warnings = check_sounds(clips, sounds, scene)
        record = {
            "fingerprint": state,
            **options,
            "description": describe(contaminants, scene, gains, clips, bases),
            "warnings": [*missing_classes(dataset, bases, scene), *warnings],
            "files": files,
            "clips": clips,
        }
        write_text(json.dumps(record, indent=1) + "\n", path)
    for warning in record["warnings"]:
        logger.warning("%s: %s", path.name, warning)
    return path, record


def choose_gains(
    gains: list[int] | None,
    snr_db: float | str | None,
    published: list[float] | tuple[float, float],
) -> list[float]:
    """The gains of clip and contaminant from what the user gave.

    Example
    -------
    >>> choose_gains(None, None, (0.8, 0.2)), choose_gains(None, 20.0, (0.8, 0.2))
    ([0.8, 0.2], [1.0, 0.1])
    """
    if gains is not None and snr_db is not None:
        raise InputError(f"give gains or snr_db, not both: {gains}, {snr_db}")
    if snr_db is not None:
        if isinstance(snr_db, bool) or not isinstance(snr_db, (int, float)):
            raise InputError(f"snr_db must be a number, got {snr_db!r}")
        return list(gains_of_snr(snr_db))
    gains = list(published if gains is None else gains)
    if len(gains) != 2 or min(gains) <= 0:
        raise InputError(f"gains must be two numbers above 0, got {gains}")
    return gains


def read_clips(manifest_folder: Path | str, split: str) -> dict:
    """Id to {"wav", "category"} of the clips of a split, in the manifest's order."""
    path = Path(manifest_folder) / f"{split}.json"
    clips = json.loads(path.read_text(encoding="utf-8"))
    if not clips:
        raise InputError(f"the split {split} has no clip ({path})")
    return {
        clip: {"wav": entry["wav"], "category": entry["category"]}
        for clip, entry in clips.items()
    }


def load_mixtures(path: Path, state: str) -> dict[str, int | str] | None:
    """The record of a manifest, None where there is none or it is out of date."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if record["fingerprint"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def draw_mixtures(bases: dict, contaminants, scene: Scene, gains: list[float]) -> dict:
    """Id to entry of every mixture: "CLIP+0", "CLIP+1", or "CLIP" as it is."""
    clips = {}
    for clip, backgrounds in contaminants.backgrounds(bases, scene).items():
        base = bases[clip]
        for k, background in enumerate(backgrounds):
            name = clip if background is None else f"{clip}+{k}"
            clips[name] = {
                "base": clip,
                "category": base["category"],
                "gains": gains,
                "foreground": base["wav"],
                "background": background,
            }
    return clips


def sounds_of(dataset, contaminants) -> Sounds:
    """Reads the dataset as its experiment does, contaminants without a cache."""
    return Sounds(
        {
            "data_root": (dataset.data_folder, dataset.reader),
            "noise_root": (contaminants.noise_root, AudioReader(dataset.sample_rate)),
        }
    )


def files_of(entry: dict) -> list[str]:
    """The names of the audio files of an entry."""
    background = entry["background"] or {}
    return [entry["foreground"], *(p["wav"] for p in background.get("pieces", ()))]


def check_sounds(clips: dict, sounds: Sounds, scene: Scene) -> tuple:
    """Read every sound once: its checksum, and what is silent.

    Returns
    -------
    files : dict
        Name to checksum.
    warnings : list of str
        What is silent, counted.
    """
    files, silent_bases, silent_others = {}, [], []
    for name, entry in progress_bar(clips.items(), desc="freezing mixtures"):
        for file in files_of(entry):
            if file not in files:
                files[file] = checksum(sounds.path(file))
        if not foreground_of(entry, sounds, scene.n_samples).any():
            silent_bases.append(name)
        pieces = (entry["background"] or {}).get("pieces")
        if pieces and not sounds.join(pieces, scene.n_samples).any():
            silent_others.append(name)
    warnings = []
    if silent_bases:
        warnings.append(
            f"mixtures whose clip is silent ({len(silent_bases)}): "
            f"{some_of(silent_bases)}"
        )
    if silent_others:
        warnings.append(
            f"mixtures to which silence is added ({len(silent_others)}): "
            f"{some_of(silent_others)}"
        )
    return files, warnings


def missing_classes(dataset, bases: dict, scene: Scene) -> list[str]:
    """A warning about classes that no clip has, if there are any."""
    there = {base["category"] for base in bases.values()}
    missing = [category for category in dataset.categories if category not in there]
    split = scene.protocol.base_split(scene.split)
    return (
        [f"classes without a clip in {split} ({len(missing)}): {some_of(missing)}"]
        if missing
        else []
    )


def describe(
    contaminants, scene: Scene, gains: list[float], clips: dict, bases: dict
) -> str:
    """One line about a condition, for the header of a table."""
    base_split = scene.protocol.base_split(scene.split)
    text = f"{len(bases)} clips of the split {base_split}"
    if all(entry["background"] is None for entry in clips.values()):
        return f"{contaminants.kind}: {text}"
    return (
        f"{contaminants.kind}: {len(clips)} mixtures of {text} with "
        f"{contaminants.description(scene)}, {snr_of_gains(gains):.2f} dB"
    )


def check_files(path: Path, record: dict[str, int | str], sounds: Sounds) -> None:
    """Refuse a manifest one of whose files is gone or has other bytes than then.

    Raises
    ------
    InputError
        With the files, the first ten of each fault.
    """
    gone, changed = [], []
    for name, expected in progress_bar(record["files"].items(), desc="checking"):
        try:
            found = checksum(sounds.path(name))
        except OSError:
            gone.append(sounds.path(name))
            continue
        if found != expected:
            changed.append(sounds.path(name))
    if gone or changed:
        kinds = {"gone": gone, "changed": changed}
        told = "; ".join(
            f"{kind} ({len(names)}): {some_of(names)}"
            for kind, names in kinds.items()
            if names
        )
        raise InputError(
            f"files are not what they were when the mixtures of {path} were frozen: "
            f"{told}. Bring them back, or delete {path} to freeze new mixtures"
        )
