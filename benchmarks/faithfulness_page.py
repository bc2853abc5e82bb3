"""The part of docs/results/performance.md on faithfulness; see `benchmarks.page`."""

from speechbrain_lmac.reporting.markdown import table_lines


def faithfulness_part(measured, targets):
    """Yield the part on the faithfulness of the compact networks."""
    yield "## Faithfulness of the compact networks"
    yield (
        "CNN14 on generated sounds of 1 s (`benchmarks/hparams`); two networks "
        "trained on the same clips with the same objective for the same number of "
        "steps. Several trainings differ in their seed, and figures are means over "
        "them. The published networks have the published optimizer and learning rate; "
        "those of the compact ones were chosen on the validation fold. Scored on the "
        "test fold, clean and in white noise at -5 dB: without noise, and with the "
        "published gains, CNN14 is nearly certain. Masks of one size: each mask of one "
        "network is raised to a power, so that its mean is that of the other's. "
        "Constant masks show the effect of the size alone. LMAC-TD's L1 weight is 16 "
        "for both networks instead of the published 0.4, which leaves all masks large. "
        "AI and AG need a gain of confidence: where CNN14 is certain, few clips have "
        "one. Differences are ours less the published, the mean over both pairs of one "
        "size, with the 95 % interval of a bootstrap over clips; in brackets where it "
        "contains 0. A target is met by the mean alone."
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
            f"{row['difference']:.3g}",
            f"{row['low']:.3g} to {row['high']:.3g}",
            ", ".join(f"{one:.3g}" for one in row["each"]),
            verdict(row),
        ]
        for row in differences
    ]
    head = ["one size", "difference", "95 % interval", "each training", "ours"]
    yield table_lines(head, rows)
    behind = [row for row in differences if is_behind(row)]
    reasons = [f"{row['metric']} {verdict(row)}" for row in behind]
    targets.at_least(
        f"{name}: scores of 5 in which the compact network is at least as good, masks "
        "of one size",
        len(differences) - len(behind),
        len(differences),
        why=", ".join(reasons),
    )


def is_behind(row):
    """Return whether the mean of ours is worse, by any difference."""
    return not row["reference_better"] and row["difference"] != 0


def verdict(row):
    """Return better, worse or equal; in brackets where the interval contains 0."""
    if row["difference"] == 0:
        return "equal"
    word = "better" if row["reference_better"] else "worse"
    return f"({word})" if row["low"] <= 0 <= row["high"] else word
