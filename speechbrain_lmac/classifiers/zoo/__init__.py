"""Public classifiers whose networks and features are written here; weights are not."""
