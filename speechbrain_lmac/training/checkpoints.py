"""A checkpointer with atomic writes and checksums."""

import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechbrain.utils.checkpoints import (
    CKPT_PREFIX,
    Checkpoint,
    Checkpointer,
    ckpt_recency,
)
from speechbrain.utils.distributed import if_main_process

from speechbrain_lmac.utils.distributed import wait_for_all
from speechbrain_lmac.utils.files import write_text, writing
from speechbrain_lmac.utils.hashing import file_hash

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"
UNFINISHED = "unfinished+"
KEPT = 2  # the newest; if one is damaged, the other is loaded
# Key of the meta: why a checkpoint is unfit to be the best (unless all are unfit).
UNFIT = "unfit"


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer, safe against crashes.

    A checkpoint is written under another name and renamed when it is complete: a killed
    process leaves no partial one. It has the checksums of its files. A checkpoint that
    does not match them is skipped with a warning, and the one before it is loaded;
    therefore the two newest are kept, besides the best.

    The best checkpoint has the lowest value; of equal ones it is the earliest, in every
    process. A checkpoint is unfit if its meta has a reason at `UNFIT`, or if the value
    is NaN; it can be the best only if all checkpoints are unfit.

    Arguments
    ---------
    checkpoints_dir : str or Path
        It is created by `open`, not here: evaluations read the YAML file, too.
    recoverables : dict, optional
        Name to object.
    custom_load_hooks, custom_save_hooks : dict, optional
        See `speechbrain.utils.checkpoints.Checkpointer`.
    allow_partial_load : bool
        Whether recoverables may be missing in a checkpoint.
    """

    def __init__(
        self,
        checkpoints_dir: Path | str,
        recoverables: Mapping[str, Any] | None = None,
        custom_load_hooks: Mapping[str, Callable] | None = None,
        custom_save_hooks: Mapping[str, Callable] | None = None,
        allow_partial_load: bool = False,
    ) -> None:
        # Not SpeechBrain's `__init__`, which creates the folder.
        self.checkpoints_dir = Path(checkpoints_dir)
        self.recoverables: dict[str, Any] = {}
        self.optional_recoverables: dict[str, bool] = {}
        self.custom_load_hooks = dict(custom_load_hooks or {})
        self.custom_save_hooks = dict(custom_save_hooks or {})
        self.allow_partial_load = allow_partial_load
        self.add_recoverables(recoverables or {})
        self._intact: dict[Path, bool] = {}  # whether the checksums match

    def open(self) -> None:
        """Create the folder, and remove partial checkpoints of killed processes."""
        self.checkpoints_dir.mkdir(parents=True, exist_ok=True)
        if if_main_process():
            for left in self.checkpoints_dir.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left)

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> Checkpoint | None:
        """Save under another name, then rename; see SpeechBrain's."""
        self.checkpoints_dir.mkdir(parents=True, exist_ok=True)
        with writing(self.checkpoints_dir):
            saved = super().save_checkpoint(*args, **kwargs)
            if saved is not None:
                saved = self._finish(saved)
        wait_for_all()  # before another process lists checkpoints
        return saved

    def _new_checkpoint_dirpath(self) -> Path:
        path = super()._new_checkpoint_dirpath()
        return path.with_name(UNFINISHED + path.name)

    def _finish(self, saved: Checkpoint) -> Checkpoint:
        path = saved.path.with_name(saved.path.name.removeprefix(UNFINISHED))
        write_text(json.dumps(_checksums(saved.path)), saved.path / CHECKSUMS)
        os.replace(saved.path, path)
        self._intact[path] = True
        files = {
            name: path / file.relative_to(saved.path)
            for name, file in saved.paramfiles.items()
        }
        return Checkpoint(path, saved.meta, files)

    def save_and_keep_only(
        self,
        meta: dict[str, Any],
        min_keys: Sequence[str] = (),
        num_to_keep: int = KEPT,
        ckpt_predicate: Callable[[Checkpoint], bool] | None = None,
        **kwargs: Any,
    ) -> None:
        """Save, and keep the newest and the best.

        Arguments
        ---------
        meta : dict
            Values stored with the checkpoint, e.g. the validation loss.
        min_keys : sequence of str
            The checkpoint with the lowest value of each key is kept.
        num_to_keep : int
            How many of the newest are kept, at least `KEPT`.
        ckpt_predicate : callable, optional
            Returns whether a checkpoint may be deleted.
        **kwargs
            Arguments of `save_checkpoint`.
        """
        self.save_checkpoint(meta=meta, **kwargs)
        if not if_main_process():
            return
        checkpoints = self.list_checkpoints()
        needed = sorted(checkpoints, key=ckpt_recency)[-max(KEPT, num_to_keep) :]
        for key in min_keys:
            needed += self.find_checkpoints(min_key=key, max_num_checkpoints=1)
        paths = {checkpoint.path for checkpoint in needed}
        for checkpoint in checkpoints:
            removable = ckpt_predicate is None or ckpt_predicate(checkpoint)
            if removable and checkpoint.path not in paths:
                self._delete_checkpoint(checkpoint)

    def find_checkpoints(
        self,
        importance_key: Callable[[Checkpoint], Any] | None = None,
        max_key: str | None = None,
        min_key: str | None = None,
        ckpt_predicate: Callable[[Checkpoint], bool] | None = None,
        max_num_checkpoints: int | None = None,
    ) -> list[Checkpoint]:
        """Return checkpoints as SpeechBrain does, except for the order with `min_key`.

        Arguments
        ---------
        importance_key, max_key, ckpt_predicate, max_num_checkpoints
            See `speechbrain.utils.checkpoints.Checkpointer`.
        min_key : str, optional
            A key of the meta. The best checkpoint is first (see the class).

        Returns
        -------
        checkpoints : list of Checkpoint
        """
        if min_key is None or max_key is not None or importance_key is not None:
            return super().find_checkpoints(
                importance_key, max_key, min_key, ckpt_predicate, max_num_checkpoints
            )
        found = [
            checkpoint
            for checkpoint in self.list_checkpoints()
            if min_key in checkpoint.meta
            and (ckpt_predicate is None or ckpt_predicate(checkpoint))
        ]
        return sorted(found, key=_by_lowest(min_key))[:max_num_checkpoints]

    def _list_checkpoint_dirs(self) -> list[Path]:
        # Not SpeechBrain's, which skips one without a meta file silently.
        paths = Path(self.checkpoints_dir).glob(f"{CKPT_PREFIX}*")
        return [path for path in paths if path.is_dir() and self._is_intact(path)]

    def _is_intact(self, path: Path) -> bool:
        if path not in self._intact:
            self._intact[path] = _checksums(path) == _written(path)
            if not self._intact[path]:
                logger.warning(
                    "skipped a damaged checkpoint (its files do not match their "
                    "checksums): %s. The one before it is used, if any",
                    path,
                )
        return self._intact[path]


def _by_lowest(key: str) -> Callable[[Checkpoint], tuple]:
    """Return a sort key of checkpoints: the best first."""

    def rank(checkpoint: Checkpoint) -> tuple:
        value = checkpoint.meta[key]
        unfit = bool(checkpoint.meta.get(UNFIT)) or math.isnan(value)
        earlier = (checkpoint.meta.get("epoch", 0), checkpoint.meta["unixtime"])
        return unfit, math.inf if math.isnan(value) else value, *earlier

    return rank


def _checksums(folder: Path) -> dict[str, str]:
    """Return file name to a hash of the content."""
    sums = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.name != CHECKSUMS:
            name = path.relative_to(folder).as_posix()
            sums[name] = file_hash(path, n_bytes=64)[:32]
    return sums


def _written(folder: Path) -> dict[str, str] | None:
    """Return the stored checksums of a checkpoint; None if they are unreadable."""
    try:
        return json.loads((Path(folder) / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
