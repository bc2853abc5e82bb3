"""Checkpoints that are whole, or not there, or told to be damaged."""

import hashlib
import json
import logging
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

from speechbrain_lmac.distributed import wait_for_all
from speechbrain_lmac.files import write_text, writing

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"
UNFINISHED = "unfinished+"
KEPT = 2  # of the newest; if one is damaged, there is the other


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer, for machines that fail.

    A checkpoint is written under another name and renamed when it is whole: a process
    that is killed leaves none by halves. With it stand the checksums of its files. One
    that no longer fits them is passed over with a warning, and the one before it is
    loaded; so the two newest are kept, besides the best.

    Arguments are those of `speechbrain.utils.checkpoints.Checkpointer`.
    """

    def __init__(self, checkpoints_dir, *args, **kwargs):
        super().__init__(checkpoints_dir, *args, **kwargs)
        self._whole = {}  # path -> whether its files are as they were written
        if if_main_process():
            for left in Path(checkpoints_dir).glob(f"{UNFINISHED}*"):
                shutil.rmtree(left)

    def save_checkpoint(self, *args, **kwargs):
        """Save under another name, then rename; see SpeechBrain's."""
        with writing(self.checkpoints_dir):
            saved = super().save_checkpoint(*args, **kwargs)
            if saved is not None:
                saved = self._finish(saved)
        wait_for_all()  # before another process looks for it
        return saved

    def _new_checkpoint_dirpath(self):
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
        self, meta, min_keys=(), num_to_keep=KEPT, ckpt_predicate=None, **kwargs
    ):
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
            with_key = [c for c in checkpoints if key in c.meta]
            kept += [min(with_key, key=lambda c: c.meta[key])] if with_key else []
        paths = {checkpoint.path for checkpoint in kept}
        for checkpoint in checkpoints:
            removable = ckpt_predicate is None or ckpt_predicate(checkpoint)
            if removable and checkpoint.path not in paths:
                self._delete_checkpoint(checkpoint)

    def _list_checkpoint_dirs(self):
        # Not SpeechBrain's, which says nothing of one that lost its meta file.
        paths = Path(self.checkpoints_dir).glob(f"{CKPT_PREFIX}*")
        return [path for path in paths if path.is_dir() and self._is_whole(path)]

    def _is_whole(self, path):
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


def _checksums(folder):
    """File name to a hash of its content."""
    sums = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.name != CHECKSUMS:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "blake2b")
            sums[path.relative_to(folder).as_posix()] = digest.hexdigest()[:32]
    return sums


def _written(folder):
    """The checksums that stand with a checkpoint; None where they cannot be read."""
    try:
        return json.loads((Path(folder) / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
