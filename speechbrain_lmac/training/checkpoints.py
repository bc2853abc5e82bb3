"""Checkpoints that are whole, or not there, or told to be damaged."""

import json
import logging
import math
import os
import shutil
from pathlib import Path

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
KEPT = 2  # of the newest; if one is damaged, there is the other
# In the meta of a checkpoint: why it must not be the best while there is another.
UNFIT = "unfit"


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer, for machines that fail.

    A checkpoint is written under another name and renamed when it is whole: a process
    that is killed leaves none by halves. With it stand the checksums of its files. One
    that no longer fits them is passed over with a warning, and the one before it is
    loaded; so the two newest are kept, besides the best.

    The best checkpoint is that of the lowest value; of equal ones the earliest, in
    every process. One whose meta has a reason at `UNFIT`, or whose value is NaN, is the
    best only where all are like that.

    Arguments are those of `speechbrain.utils.checkpoints.Checkpointer`. The folder is
    made by `open`: a YAML file that names it is read for other ends, too.
    """

    def __init__(
        self,
        checkpoints_dir: Path | str,
        recoverables: dict | None = None,
        custom_load_hooks=None,
        custom_save_hooks=None,
        allow_partial_load: bool = False,
    ):
        # Not SpeechBrain's `__init__`, which makes the folder at once.
        self.checkpoints_dir = Path(checkpoints_dir)
        self.recoverables, self.optional_recoverables = {}, {}
        self.custom_load_hooks = dict(custom_load_hooks or {})
        self.custom_save_hooks = dict(custom_save_hooks or {})
        self.allow_partial_load = allow_partial_load
        self.add_recoverables(recoverables or {})
        self._whole = {}  # path -> whether its files are as they were written

    def open(self) -> None:
        """Make the folder, and remove what a process that was killed left by halves."""
        self.checkpoints_dir.mkdir(parents=True, exist_ok=True)
        if if_main_process():
            for left in self.checkpoints_dir.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left)

    def save_checkpoint(self, *args, **kwargs):
        """Save under another name, then rename; see SpeechBrain's."""
        self.checkpoints_dir.mkdir(parents=True, exist_ok=True)
        with writing(self.checkpoints_dir):
            saved = super().save_checkpoint(*args, **kwargs)
            if saved is not None:
                saved = self._finish(saved)
        wait_for_all()  # before another process looks for it
        return saved

    def _new_checkpoint_dirpath(self) -> Path:
        path = super()._new_checkpoint_dirpath()
        return path.with_name(UNFINISHED + path.name)

    def _finish(self, saved):
        path = saved.path.with_name(saved.path.name.removeprefix(UNFINISHED))
        write_text(json.dumps(_checksums(saved.path)), saved.path / CHECKSUMS)
        os.replace(saved.path, path)
        self._whole[path] = True
        files = {
            name: path / file.relative_to(saved.path)
            for name, file in saved.paramfiles.items()
        }
        return Checkpoint(path, saved.meta, files)

    def save_and_keep_only(
        self,
        meta: dict,
        min_keys: list[str] | tuple = (),
        num_to_keep: int = KEPT,
        ckpt_predicate=None,
        **kwargs,
    ) -> None:
        """Save, and keep the newest and the best.

        Arguments
        ---------
        meta : dict
            What is known of the checkpoint.
        min_keys : sequence
            Of these the checkpoint with the lowest value is kept.
        num_to_keep : int
            Of the newest; there are always `KEPT` at least.
        ckpt_predicate : callable, optional
            Only checkpoints of which it is true may be deleted.
        **kwargs
            Of `save_checkpoint`.
        """
        self.save_checkpoint(meta=meta, **kwargs)
        if not if_main_process():
            return
        checkpoints = self.list_checkpoints()
        kept = sorted(checkpoints, key=ckpt_recency)[-max(KEPT, num_to_keep) :]
        for key in min_keys:
            kept += self.find_checkpoints(min_key=key, max_num_checkpoints=1)
        paths = {checkpoint.path for checkpoint in kept}
        for checkpoint in checkpoints:
            removable = ckpt_predicate is None or ckpt_predicate(checkpoint)
            if removable and checkpoint.path not in paths:
                self._delete_checkpoint(checkpoint)

    def find_checkpoints(
        self,
        importance_key=None,
        max_key=None,
        min_key: str | None = None,
        ckpt_predicate=None,
        max_num_checkpoints: int | None = None,
    ) -> list:
        """SpeechBrain's, but with `min_key` in the order of the class's docstring."""
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
        # Not SpeechBrain's, which says nothing of one that lost its meta file.
        paths = Path(self.checkpoints_dir).glob(f"{CKPT_PREFIX}*")
        return [path for path in paths if path.is_dir() and self._is_whole(path)]

    def _is_whole(self, path: Path) -> bool:
        if path not in self._whole:
            self._whole[path] = _checksums(path) == _written(path)
            if not self._whole[path]:
                logger.warning(
                    "the checkpoint %s is damaged (its files are not those that were "
                    "written) and passed over; the one before it is used, if there is "
                    "one",
                    path,
                )
        return self._whole[path]


def _by_lowest(key: str):
    """A sort key of checkpoints: the best of them first."""

    def rank(checkpoint) -> tuple:
        value = checkpoint.meta[key]
        unfit = bool(checkpoint.meta.get(UNFIT)) or math.isnan(value)
        earlier = (checkpoint.meta.get("epoch", 0), checkpoint.meta["unixtime"])
        return unfit, math.inf if math.isnan(value) else value, *earlier

    return rank


def _checksums(folder: Path) -> dict[str, str]:
    """File name to a hash of its content."""
    sums = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.name != CHECKSUMS:
            name = path.relative_to(folder).as_posix()
            sums[name] = file_hash(path, n_bytes=64)[:32]
    return sums


def _written(folder: Path) -> dict[str, str]:
    """The checksums that stand with a checkpoint; None where they cannot be read."""
    try:
        return json.loads((Path(folder) / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
