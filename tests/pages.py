"""The pages of the documentation, and the parts of a Markdown text."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
RESULTS = DOCS / "results"  # what commands write
README = ROOT / "README.md"
METHODS = DOCS / "methods.md"
METRICS = DOCS / "metrics.md"
DEVIATIONS = DOCS / "deviations.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
# What a user follows; where in it something stands is free.
GUIDES = [README, ROOT / "CONTRIBUTING.md", *sorted((DOCS / "guide").glob("*.md"))]


def text_of(path):
    """The content of a file."""
    return path.read_text(encoding="utf-8")


def blocks(text, *languages):
    """The fenced code blocks in one of the languages."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.M | re.S)
    return [code for language, code in fences if language in languages]


def prose(text):
    """The text without its fenced code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def inline_code(text):
    """What stands between single backticks."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(text))]


def section(text, title):
    """The text below a heading, to the next one of its level or above."""
    level, rest = re.search(
        rf"^(#+) {re.escape(title)}\n(.*)", text, re.M | re.S
    ).groups()
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.M)[0]


def rows(text):
    """The cells of the Markdown tables in a text, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    heads = {i for i, row in enumerate(table) if set("".join(row)) <= set("-")}
    return [r for i, r in enumerate(table) if i not in heads and i + 1 not in heads]


def guide():
    """The pages that a user follows, as one text."""
    return "\n".join(text_of(page) for page in GUIDES)


def own_metric():
    """The module that the page on tables tells to write."""
    (code,) = blocks(text_of(DOCS / "guide" / "evaluate.md"), "python")
    return code


def commands():
    """The command lines of the documentation, as lists of words."""
    lines = "".join(blocks(guide(), "sh", "bat")).splitlines()
    named = [c for c in inline_code(guide()) if re.match(r"make |torchrun ", c)]
    return [shlex.split(line.replace("\\", "/")) for line in [*lines, *named]]


def tables(text):
    """The Markdown tables of a text: its head, and its rows, as lists of cells."""
    found = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    for lines in found:
        head, _, *body = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in lines.splitlines()
        ]
        yield head, body


def is_the_readers(name):
    """Whether a file is one that the reader is told to write: mine.yaml, my_net.py."""
    return bool({"my", "mine"} & set(Path(name).stem.split("_")))


def git_files():
    """The tracked files, and those that `git add .` would add; no links."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def anchors(path):
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", prose(text_of(path)), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings}


def pictures_and_sounds(page):
    """The files of a page that are no text."""
    links = re.findall(r"\[[^\]]*\]\(([^)\s#]+)\)", prose(text_of(page)))
    links += re.findall(r'src="([^"]+)"', text_of(page))
    paths = [page.parent / link for link in links if not re.match(r"https?:", link)]
    return [path for path in paths if path.suffix in (".png", ".flac", ".wav", ".ogg")]


def numbers(text):
    """The numbers in a cell."""
    return {float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?", text)}
