"""Build the wheel and the sdist of the committed files, to the same bytes wherever it is done.

Run: python scripts/build_release.py [FOLDER]    (dist by default; needs git and setuptools)

Times are that of the last commit, or SOURCE_DATE_EPOCH; see reproducible-builds.org.
"""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(folder: Path) -> list[Path]:
    """Build both files into a folder and return their paths."""
    moment = int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct"))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work) / "tree"
        tree.mkdir()
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=-1)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(tree, filter="data")
        return build(tree, folder.resolve(), moment)


def build(tree: Path, folder: Path, moment: int) -> list[Path]:
    """Build a source tree that nothing was built in; return the paths of wheel and sdist.

    moment: time of every file in them [s since 1970].
    """
    made = []
    for kind in ("wheel", "sdist"):
        code = f"from setuptools import build_meta as b; print(b.build_{kind}({str(folder)!r}))"
        settings = os.environ | {"SOURCE_DATE_EPOCH": str(moment), "PYTHONHASHSEED": "0"}
        told = subprocess.run(
            [sys.executable, "-c", f"import os; os.umask(0o022); {code}"],
            cwd=tree,
            env=settings,
            check=True,
            capture_output=True,
            text=True,
        )
        made.append(folder / told.stdout.splitlines()[-1])
    _pack_again(made[-1], moment)
    return made


def _pack_again(path: Path, moment: int) -> None:
    """Write an sdist again, in order of names, without its builder and with one time."""
    with tarfile.open(path) as before:
        members = sorted(before.getmembers(), key=lambda member: member.name)
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as after:
            for member in members:
                member.mtime, member.uid, member.gid, member.uname, member.gname = (
                    moment,
                    0,
                    0,
                    "",
                    "",
                )
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                member.pax_headers = {}
                after.addfile(member, before.extractfile(member) if member.isfile() else None)
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=moment) as packed:
        packed.write(plain.getvalue())
    draft.replace(path)


def _git(*words: str) -> str:
    called = ["git", *words]
    return subprocess.run(called, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    for built in main(Path(next(iter(sys.argv[1:]), "dist"))):
        print(built)
