"""Training of judges: classifiers of masked clips (`metrics.checks.judge`)."""
