"""What everything else stands on: errors, files, seeds, hashes, the terminal."""
