"""Moved: tools/tables.py."""

from speechbrain_lmac.utils.console import renamed

if __name__ == "__main__":
    renamed("tools/tables.py")
