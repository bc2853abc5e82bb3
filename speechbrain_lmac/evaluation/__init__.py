"""Evaluation of explainers: scores per clip, statistics, sanity checks, corpora."""
