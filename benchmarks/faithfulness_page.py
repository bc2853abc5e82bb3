"""The part of docs/results/performance.md on faithfulness; see `benchmarks.page`."""

from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.reporting.markdown import table_lines


def faithfulness_part(measured, targets):
    """Yield the part on the faithfulness of the compact networks."""
    yield "## Faithfulness of the compact networks"
    yield (
        "CNN14 on generated sounds of 1 s (`benchmarks/hparams`); two networks "
        "trained on the same clips with the same objective for the same number of "
        "steps. Several trainings differ in their seed; the scores of a network are "
        "means over them. The published networks have the published optimizer and "
        "learning rate; those of the compact ones were chosen on the validation fold. "
        "Scored on the test fold, clean and in white noise at -5 dB: without noise, "
        "and with the published gains, CNN14 is nearly certain. Masks of one size: "
        "each mask of one network is raised to a power, so that its mean is that of "
        "the other's. "
        "Constant masks show the effect of the size alone. LMAC-TD's L1 weight is 16 "
        "for both networks instead of the published 0.4, which leaves all masks large. "
        "AI and AG need a gain of confidence: where CNN14 is certain, few clips have "
        "one. Differences are ours less the published, the mean over both pairs of one "
        "size, for each training (seed), their mean, and the largest less the smallest "
        "of them. The 95 % interval of the mean is a bootstrap over clips of these "
        "networks and does not contain the spread over trainings. So the verdict "
        "counts trainings, and a target counts the scores in which every training is "
        "at least as good; one training alone shows nothing about others."
    )
    for method, compared in measured.items():
        for condition, found in compared["conditions"].items():
            yield from condition_part(f"{method}, {condition}", found, targets)
        rows = [
            [
                name,
                f"{record['parameters']:,}",
                f"{record['interpreter_bytes'] / 1e6:.1f}",
                f"{record['checkpoint_bytes'] / 1e6:.1f}",
            ]
            for name, record in compared["records"].items()
        ]
        head = [method, "parameters", "interpreter, MB", "checkpoint, MB"]
        yield table_lines(head, rows)
        own = compared["records"]["ours"]
        targets.at_most(
            f"{method}: checkpoint, to 3 x the interpreter and 0.5 MB",
            own["checkpoint_bytes"] / (3 * own["interpreter_bytes"] + 0.5e6),
            1,
            " x",
        )


def condition_part(name, found, targets):
    """Yield the comparison of two networks in one condition."""
    scores, differences = found["scores"], found["differences"]
    yield (
        f"### {name}\n\n{found['n']} clips, accuracy of the classifier "
        f"{100 * found['accuracy']:.0f} %. Trainings of each: {found['trainings']}."
    )
    metrics = list(scores["ours"])
    rows = [[row, *(f"{scores[row][m]:.4g}" for m in metrics)] for row in scores]
    yield table_lines(["", *metrics], rows)
    rows = [
        [
            row["metric"],
            ", ".join(f"{one:.3g}" for one in row["each"]),
            spread(row),
            f"{row['difference']:.3g}",
            f"{row['low']:.3g} to {row['high']:.3g}",
            verdict(row),
        ]
        for row in differences
    ]
    head = ["one size", "each training", "spread", "mean", "over clips", "ours"]
    yield table_lines(head, rows)
    behind = [row for row in differences if is_behind(row)]
    reasons = [f"{row['metric']} {verdict(row)}" for row in behind]
    seeds = found["trainings"]
    trainings = "the one training" if seeds == 1 else f"each of {seeds} trainings"
    targets.at_least(
        f"{name}: scores of 5 in which the compact network is at least as good in "
        f"{trainings}, masks of one size",
        len(differences) - len(behind),
        len(differences),
        why=", ".join(reasons),
    )


def spread(row):
    """Return the largest less the smallest difference of the trainings, as text."""
    each = row["each"]
    return f"{max(each) - min(each):.3g}" if len(each) > 1 else "–"


def is_behind(row):
    """Return whether ours is worse in any training, by any difference."""
    return any(gain < 0 for gain in gains(row))


def verdict(row):
    """Return the share of trainings in which ours is better; or equal, or worse.

    Example
    -------
    >>> verdict({"metric": "AD", "each": [-24.0, 23.0]})  # lower is better
    'better in 1 of 2, worse in 1'
    """
    n = len(row["each"])
    found = {
        "better": sum(gain > 0 for gain in gains(row)),
        "equal": sum(gain == 0 for gain in gains(row)),
        "worse": sum(gain < 0 for gain in gains(row)),
    }
    if n == 1:
        (word,) = (word for word, k in found.items() if k)
        return f"{word}, one training"
    parts = [f"{word} in {k}" for word, k in found.items() if k]
    return ", ".join([f"{parts[0]} of {n}", *parts[1:]])


def gains(row):
    """Return the differences of the trainings, above 0 where ours is better."""
    metric = row["metric"]
    sign = 1 if metrics_by_name([metric])[0].higher_is_better else -1
    return [sign * one for one in row["each"]]
