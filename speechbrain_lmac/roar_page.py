"""The page of remove and retrain."""

from speechbrain_lmac.tables import table_text

HOW_TO_READ = (
    "Accuracy in % on the test clips: mean (least to largest) of {} retrainings, after "
    "the cells ranked highest were replaced by the training clips' mean of their bin. "
    "Lower: the method found more of what the classes are told by."
)


def roar_page(rows, header, repeats, picture):
    """The text of the page.

    Arguments
    ---------
    rows : pandas.DataFrame
        From `roar.remove_and_retrain`.
    header : list
        Of str: the command, the data, the seed, the versions.
    repeats : int
        Retrainings of each method and share.
    picture : str
        Name of the picture beside the page.

    Returns
    -------
    text : str
    """
    lines = ["# Remove and retrain", "", *(f"- {line}" for line in header), ""]
    lines += [roar_table(rows), f"![Accuracy after removal]({picture})", ""]
    lines.append(HOW_TO_READ.format(repeats))
    return "\n".join(lines) + "\n"


def roar_table(rows):
    """Accuracies in percent as Markdown: a row per method, a column per share."""
    shares = sorted(rows["share"].unique())
    head = ["method", *(f"{100 * share:g} % removed" for share in shares)]
    lines = []
    for method, group in rows.groupby("method", sort=False):
        cells = []
        for share in shares:
            values = 100 * group.loc[group["share"] == share, "accuracy"]
            shown = f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})"
            cells.append(shown if len(values) else "")
        lines.append([method, *cells])
    return table_text(head, lines)
