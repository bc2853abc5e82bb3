"""Manifests of test mixtures, for any prepared dataset.

A manifest is one JSON file with the complete recipe of each mixture (see `mixtures`)
and a checksum of every audio file used.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechbrain_lmac.data.contaminants import PROTOCOLS, Contaminant, Scene
from speechbrain_lmac.data.corpora import SPLITS, checksum
from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.data.mixtures import Entry, Sounds, foreground_of
from speechbrain_lmac.dsp.audio import AudioReader
from speechbrain_lmac.dsp.mixing import gains_of_snr, snr_of_gains
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.hashing import json_hash

FORMAT = 1  # increment when the content changes: old manifests are then rewritten

logger = logging.getLogger(__name__)


def prepare_mixtures(
    dataset: ClipDataset,
    manifest_folder: Path | str,
    split: str,
    contaminants: Contaminant,
    protocol: str = "own",
    gains: Sequence[float] | None = None,
    snr_db: float | None = None,
    per_clip: int = 2,
    seed: int = 1234,
) -> tuple[Path, dict[str, Any]]:
    """Freeze the mixtures of one condition in a manifest, if they are not yet frozen.

    The manifest is rewritten if the options or the lists of clips and recordings
    change, but not if the content of a file changes: then `check_files` raises.

    Arguments
    ---------
    dataset : ClipDataset
        With its manifests in `manifest_folder`.
    manifest_folder : str or Path
        The mixtures are written to its subfolder ``mixtures``.
    split : str
        "train", "valid" or "test"; the published protocol uses its own splits.
    contaminants : Contaminant
        From `speechbrain_lmac.data.contaminants`.
    protocol : str
        "own" or "published", see `contaminants.PROTOCOLS`.
    gains : (float, float), optional
        Gains of clip and contaminant, both at unit energy. None: those published for
        this kind of contaminant.
    snr_db : float, optional
        SNR in dB, instead of gains.
    per_clip : int
        Number of mixtures per clip.
    seed : int
        Seed of all random draws.

    Returns
    -------
    path : Path
        The manifest.
    record : dict
        Its content: `kind`, `split`, `gains`, `seed`, `sample_rate`, `n_samples`,
        `description`, `warnings`, `files` (name to checksum), `clips` (id to entry).

    Raises
    ------
    InputError
        An invalid option, an empty split or corpus, an unreadable file.
    """
    both = choose_gains(gains, snr_db, contaminants.gains)
    if protocol not in PROTOCOLS:
        raise InputError(
            f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}"
        )
    if split not in SPLITS:
        raise InputError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not isinstance(per_clip, int) or per_clip < 1:
        raise InputError(
            f"per_clip must be a whole number of at least 1, got {per_clip!r}"
        )
    contaminants.prepare()
    rule = PROTOCOLS[protocol]
    bases = read_clips(manifest_folder, rule.base_split(split))
    sounds = sounds_of(dataset, contaminants)
    scene = Scene(
        protocol=rule,
        split=split,
        others=read_clips(manifest_folder, rule.other_split(split)),
        n_samples=dataset.n_samples,
        sample_rate=dataset.sample_rate,
        per_clip=per_clip,
        seed=seed,
        sounds=sounds,
    )
    options = {
        "format": FORMAT,
        "kind": contaminants.kind,
        "split": split,
        "protocol": protocol,
        "gains": both,
        "per_clip": per_clip,
        "seed": seed,
        "sample_rate": dataset.sample_rate,
        "n_samples": dataset.n_samples,
        "categories": dataset.categories,
    }
    # With the description, as each corpus of a kind has its own manifest.
    listing = contaminants.listing(scene)
    digest = json_hash([options, contaminants.description(scene)])
    path = Path(manifest_folder) / "mixtures"
    path /= f"{contaminants.kind}-{split}-{digest[:8]}.json"
    state = json_hash([options, listing, bases])
    record = load_mixtures(path, state)
    if record is None:
        clips = draw_mixtures(bases, contaminants, scene, both)
        clips = contaminants.placed(clips, scene)
        files, warnings = check_sounds(clips, sounds, scene)
        record = {
            "fingerprint": state,
            **options,
            "description": describe(contaminants, scene, both, clips),
            "warnings": [*missing_classes(dataset, bases, scene), *warnings],
            "files": files,
            "clips": clips,
        }
        write_text(json.dumps(record, indent=1) + "\n", path)
    for warning in record["warnings"]:
        logger.warning("%s: %s", path.name, warning)
    return path, record


def choose_gains(
    gains: Sequence[float] | None, snr_db: float | None, published: Sequence[float]
) -> list[float]:
    """Return the gains of clip and contaminant for the user's options.

    Arguments
    ---------
    gains : (float, float) or None
        Above 0.
    snr_db : float or None
        SNR in dB, instead of gains.
    published : (float, float)
        The gains if both are None.

    Returns
    -------
    gains : list of float
        Gains of clip and contaminant.

    Raises
    ------
    InputError
        Both are set, or one is invalid.

    Example
    -------
    >>> choose_gains(None, None, (0.8, 0.2)), choose_gains(None, 20.0, (0.8, 0.2))
    ([0.8, 0.2], [1.0, 0.1])
    """
    if gains is not None and snr_db is not None:
        raise InputError(f"set gains or snr_db, not both: {gains}, {snr_db}")
    if snr_db is not None:
        if isinstance(snr_db, bool) or not isinstance(snr_db, (int, float)):
            raise InputError(f"snr_db must be a number, got {snr_db!r}")
        return list(gains_of_snr(snr_db))
    both = list(published if gains is None else gains)
    if len(both) != 2 or min(both) <= 0:
        raise InputError(f"gains must be two numbers above 0, got {both}")
    return both


def read_clips(manifest_folder: Path | str, split: str) -> dict[str, dict[str, str]]:
    """Map the clips of a split to {"wav", "category"}, in the manifest's order."""
    path = Path(manifest_folder) / f"{split}.json"
    clips = json.loads(path.read_text(encoding="utf-8"))
    if not clips:
        raise InputError(f"the split {split} is empty ({path})")
    return {
        clip: {"wav": entry["wav"], "category": entry["category"]}
        for clip, entry in clips.items()
    }


def load_mixtures(path: Path, state: str) -> dict[str, Any] | None:
    """Return the content of a manifest; None if it is missing or out of date."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if record["fingerprint"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def draw_mixtures(
    bases: Mapping[str, dict[str, str]],
    contaminants: Contaminant,
    scene: Scene,
    gains: list[float],
) -> dict[str, Entry]:
    """Draw the entries of all mixtures.

    Arguments
    ---------
    bases : dict
        From `read_clips`.
    contaminants : Contaminant
    scene : Scene
    gains : list of float
        Gains of clip and contaminant.

    Returns
    -------
    clips : dict
        Id to entry: "CLIP+0", "CLIP+1", or "CLIP" for an unchanged one.
    """
    clips: dict[str, Entry] = {}
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


def sounds_of(dataset: ClipDataset, contaminants: Contaminant) -> Sounds:
    """Return a reader of files of the dataset, with its cache, and of the corpus."""
    return Sounds(
        {
            "data_root": (dataset.data_folder, dataset.reader),
            "noise_root": (contaminants.noise_root, AudioReader(dataset.sample_rate)),
        }
    )


def files_of(entry: Entry) -> list[str]:
    """Return the names of the audio files of an entry."""
    background = entry["background"] or {}
    return [entry["foreground"], *(p["wav"] for p in background.get("pieces", ()))]


def check_sounds(
    clips: Mapping[str, Entry], sounds: Sounds, scene: Scene
) -> tuple[dict[str, str], list[str]]:
    """Read every audio file for its checksum, and find silent ones.

    Arguments
    ---------
    clips : dict
        From `draw_mixtures`.
    sounds : Sounds
    scene : Scene

    Returns
    -------
    files : dict
        Name to checksum.
    warnings : list of str
        Counts of silent clips and backgrounds.
    """
    files: dict[str, str] = {}
    silent_bases, silent_others = [], []
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
            f"mixtures with a silent clip ({len(silent_bases)}): "
            f"{some_of(silent_bases)}"
        )
    if silent_others:
        warnings.append(
            f"mixtures with a silent background ({len(silent_others)}): "
            f"{some_of(silent_others)}"
        )
    return files, warnings


def missing_classes(
    dataset: ClipDataset, bases: Mapping[str, dict[str, str]], scene: Scene
) -> list[str]:
    """Return a warning about classes without a clip.

    Arguments
    ---------
    dataset : ClipDataset
    bases : dict
        From `read_clips`.
    scene : Scene

    Returns
    -------
    warnings : list of str
        One warning, or an empty list.
    """
    existing = {base["category"] for base in bases.values()}
    missing = [category for category in dataset.categories if category not in existing]
    split = scene.protocol.base_split(scene.split)
    return (
        [f"classes without a clip in {split} ({len(missing)}): {some_of(missing)}"]
        if missing
        else []
    )


def describe(
    contaminants: Contaminant,
    scene: Scene,
    gains: list[float],
    clips: Mapping[str, Entry],
) -> str:
    """Describe a condition in one line, for the header of a table.

    Arguments
    ---------
    contaminants : Contaminant
    scene : Scene
    gains : list of float
        Gains of clip and contaminant.
    clips : dict
        From `draw_mixtures`.

    Returns
    -------
    description : str
    """
    base_split = scene.protocol.base_split(scene.split)
    n_bases = len({entry["base"] for entry in clips.values()})
    text = f"{n_bases} clips of the split {base_split}"
    if all(entry["background"] is None for entry in clips.values()):
        return f"{contaminants.kind}: {text}"
    return (
        f"{contaminants.kind}: {len(clips)} mixtures of {text} with "
        f"{contaminants.description(scene)}, {snr_of_gains(gains):.2f} dB"
    )


def check_files(path: Path, record: Mapping[str, Any], sounds: Sounds) -> None:
    """Raise if a file of a manifest is missing or has changed.

    Arguments
    ---------
    path : Path
        The manifest, for the message.
    record : dict
        Its content, from `prepare_mixtures`.
    sounds : Sounds

    Raises
    ------
    InputError
        With the files, the first ten of each error.
    """
    missing, changed = [], []
    for name, expected in progress_bar(record["files"].items(), desc="checking"):
        try:
            found = checksum(sounds.path(name))
        except OSError:
            missing.append(sounds.path(name))
            continue
        if found != expected:
            changed.append(sounds.path(name))
    if missing or changed:
        kinds = {"missing": missing, "changed": changed}
        faults = "; ".join(
            f"{kind} ({len(names)}): {some_of(names)}"
            for kind, names in kinds.items()
            if names
        )
        raise InputError(
            f"files differ from the frozen mixtures of {path}: {faults}. Restore them, "
            f"or delete {path} to freeze new mixtures"
        )
