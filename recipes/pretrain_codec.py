"""Renamed: train_codec.py."""

from speechbrain_lmac.utils.console import renamed

if __name__ == "__main__":
    renamed("recipes/train_codec.py")
