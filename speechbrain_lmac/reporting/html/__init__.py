"""The HTML report of an evaluation: tables, and clips with audio and masks."""
