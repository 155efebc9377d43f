"""Results of trials in one SQLite file: kept one by one, asked for by what they depend on."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Marks a file as ours ("xbar"), so that no other database is ever written to.
_APPLICATION = 0x78626172
_SCHEMA = 1
_TABLE = """
CREATE TABLE trial (
    key TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    point TEXT NOT NULL,
    die INTEGER NOT NULL,
    config TEXT NOT NULL,
    metrics TEXT NOT NULL,
    seconds REAL NOT NULL,
    version TEXT NOT NULL
)
"""


class StoreError(ValueError):
    """A file that is not a store, or one that cannot be used."""


@dataclass(frozen=True)
class Record:
    """One finished trial.

    key: hash of everything the result depends on. study: name. point: parameters varied, by key.
    die: seed of the chip. config: the whole configuration. metrics: what was measured. seconds:
    it took. version: of the code.
    """

    key: str
    study: str
    point: dict[str, Any]
    die: int
    config: dict[str, Any]
    metrics: dict[str, float]
    seconds: float
    version: str


class Store:
    """A store of trials; several processes may use one file at a time.

    Every `add` is a transaction of its own, so that an interruption loses only trials in flight.
    """

    def __init__(self, path: str | Path) -> None:
        """Open or make a store. Raises StoreError, the file untouched, if it is something else."""
        self.path = Path(path).absolute()
        if self.path.exists() and self._check():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("PRAGMA application_id").fetchone()[0]:
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {_SCHEMA}")
                connection.execute(_TABLE)
            connection.execute("COMMIT")

    def add(self, record: Record) -> None:
        """Keep a trial; one that is there already stays as it is."""
        row = (
            record.key,
            record.study,
            json.dumps(record.point, sort_keys=True),
            record.die,
            json.dumps(record.config, sort_keys=True),
            json.dumps(record.metrics),
            record.seconds,
            record.version,
        )
        with self._connect() as connection:
            connection.execute("INSERT OR IGNORE INTO trial VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def keys(self) -> set[str]:
        """Return the keys of all trials."""
        with self._connect() as connection:
            return {row[0] for row in connection.execute("SELECT key FROM trial")}

    def records(self, study: str | None = None) -> list[Record]:
        """Return all trials, or those of one study, in an order that never changes."""
        query = "SELECT * FROM trial WHERE ? IS NULL OR study = ? ORDER BY point, die, key"
        with self._connect() as connection:
            rows = connection.execute(query, (study, study)).fetchall()
        return [
            Record(k, s, json.loads(p), d, json.loads(c), json.loads(m), t, v)
            for k, s, p, d, c, m, t, v in rows
        ]

    def _check(self) -> bool:
        """Look at a file without writing to it; return False when it holds nothing yet.

        Another process may be about to make it: making it here then waits for that one.
        """
        try:
            with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as connection:
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                state = connection.execute("PRAGMA quick_check").fetchone()[0]
                n_table = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path} is not a store of studies: {error}") from error
        finally:
            if "connection" in locals():
                connection.close()
        if not application and not n_table and state == "ok":
            return False
        if application != _APPLICATION:
            raise StoreError(f"{self.path} is another program's database; name another file")
        if version != _SCHEMA:
            raise StoreError(f"{self.path} has schema {version}; this program reads {_SCHEMA}")
        if state != "ok":
            raise StoreError(f"{self.path} is damaged: {state}; restore a copy")
        return True

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
        finally:
            connection.close()
