"""Write the pages that hold measured or generated text: parts of README.md, docs/results and docs/reference.

Run: python -m benchmarks.pages.readme     (a test checks that the pages are up to date)
"""

from pathlib import Path

from benchmarks.common import ROOT
from benchmarks.pages import chapters, commands, drawings, formats, headline, python_names, size

START, END = "<!-- results: made by benchmarks/pages/readme.py -->", "<!-- end of results -->"


def main() -> None:
    """Write every page anew."""
    for path, text in written().items():
        replace(ROOT / path, text)


def written() -> dict[str, str]:
    """Return the text of every page that is written here, by its path in the repository."""
    before, rest = (ROOT / "README.md").read_text().split(START)
    found = {"README.md": f"{before}{START}\n\n{headline.bullets()}\n\n{END}{rest.split(END)[1]}"}
    found |= {f"docs/results/{name}": text for name, text in chapters.pages().items()}
    found["docs/pictures/precision.svg"] = headline.plot()
    found["docs/pictures/sums.svg"] = drawings.sums()
    found["docs/reference/commands.md"] = commands.page()
    found["docs/how_to/size_and_time.md"] = size.page()
    found |= {f"docs/reference/python/{name}": text for name, text in python_names.pages().items()}
    found["docs/reference/report.md"] = formats.report_page()
    return found


def replace(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    main()
