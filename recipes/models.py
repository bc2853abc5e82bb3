"""Moved: tools/models.py."""

from speechbrain_lmac.utils.console import renamed

if __name__ == "__main__":
    renamed("tools/models.py")
