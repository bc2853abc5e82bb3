"""The base of all packages: errors, files, seeds, hashes, the terminal."""
