"""Batches of explanations, for the tests of `metrics.checks`."""

from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.metrics.checks import ExplainedBatch


def explained(domain, classifier, explanation, labels=None, **known):
    """Return an `ExplainedBatch`; `known` are its stems and classes."""
    evidence = gather_evidence(domain, classifier, explanation)
    return ExplainedBatch(domain, classifier, explanation, evidence, labels, **known)
