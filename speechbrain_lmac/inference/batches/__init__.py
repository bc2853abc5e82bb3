"""Many files at once: which they are, what is named after them, what is finished."""
