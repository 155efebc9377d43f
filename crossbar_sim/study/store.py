"""Results of trials in one SQLite file: kept one by one, asked for by what they depend on."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Marks a file as ours ("xbar"), so that no other database is ever written to.
_APPLICATION = 0x78626172
_SCHEMA = 2
_TABLE = """
CREATE TABLE trial (
    key TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    point TEXT NOT NULL,
    die INTEGER NOT NULL,
    config TEXT NOT NULL,
    metrics TEXT NOT NULL,
    seconds REAL NOT NULL,
    version TEXT NOT NULL,
    machine TEXT NOT NULL DEFAULT ''
)
"""
#: Makes the present schema of the one before, which did not know the machine of a trial.
_UPGRADE = "ALTER TABLE trial ADD COLUMN machine TEXT NOT NULL DEFAULT ''"


class StoreError(ValueError):
    """A file that is not a store, or one that cannot be used."""


class StoreFault(RuntimeError):
    """A store that cannot be read or written now, as on a full disk; what it holds is whole."""


@dataclass(frozen=True)
class Record:
    """One finished trial.

    key: hash of everything the result depends on. study: name. point: parameters varied, by key.
    die: seed of the chip. config: the whole configuration. metrics: what was measured. seconds:
    it took. version: of the code. machine: that computed it, see
    `crossbar_sim.system.machine.summary`; "" where an older program kept the trial.
    """

    key: str
    study: str
    point: dict[str, Any]
    die: int
    config: dict[str, Any]
    metrics: dict[str, float]
    seconds: float
    version: str
    machine: str = ""


class Store:
    """A store of trials; several processes may use one file at a time.

    Every `add` is a transaction of its own, so that an interruption loses only trials in flight.
    """

    def __init__(self, path: str | Path) -> None:
        """Open or make a store, or bring one of the schema before up to date.

        Raises StoreError, the file untouched, if it is something else, StoreFault where it cannot
        be written.
        """
        self.path = Path(path).absolute()
        if self.path.exists() and self._check():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("PRAGMA application_id").fetchone()[0]:
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(_TABLE)
            elif connection.execute("PRAGMA user_version").fetchone()[0] < _SCHEMA:
                connection.execute(_UPGRADE)
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")
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
            record.machine,
        )
        with self._connect() as connection:
            values = ", ".join("?" * len(row))
            connection.execute(f"INSERT OR IGNORE INTO trial VALUES ({values})", row)

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
            Record(k, s, json.loads(p), d, json.loads(c), json.loads(m), t, v, machine)
            for k, s, p, d, c, m, t, v, machine in rows
        ]

    def _check(self) -> bool:
        """Look at a file without writing to it; return whether it is ready for use.

        It is not while it holds nothing yet, or has the schema before this one.
        Another process may be about to make it: making it here then waits for that one.
        """
        try:
            with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as connection:
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                state = connection.execute("PRAGMA quick_check").fetchone()[0]
                n_table = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        except sqlite3.OperationalError as error:
            raise self._fault(error) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path} is not a store of studies: {error}") from error
        finally:
            if "connection" in locals():
                connection.close()
        if not application and not n_table and state == "ok":
            return False
        if application != _APPLICATION:
            raise StoreError(f"{self.path} is another program's database; name another file")
        if version not in (_SCHEMA - 1, _SCHEMA):
            raise StoreError(f"{self.path} has schema {version}; this program reads {_SCHEMA}")
        if state != "ok":
            raise StoreError(f"{self.path} is damaged: {state}; restore a copy")
        return version == _SCHEMA

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
            with closing(connection):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.OperationalError as error:
            raise self._fault(error) from error

    def _fault(self, error: sqlite3.Error) -> StoreFault:
        return StoreFault(
            f"the store {self.path} cannot be read or written: {error}; the trials that it has are "
            "safe; make room or change permissions and repeat the command, or name another --store"
        )
