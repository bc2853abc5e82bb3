"""`python -m speechbrain_lmac` is the command `speechbrain-lmac`."""

from speechbrain_lmac.cli import main

if __name__ == "__main__":
    main()
