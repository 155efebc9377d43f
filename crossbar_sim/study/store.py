"""Results of trials in one SQLite file, each under the hash of everything it depends on."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinynets.version import VERSION

#: Marks a file as a store ("xbar"), so that no other program's database is ever written to.
_APPLICATION = 0x78626172
_SCHEMA = 2
#: How long to wait for other processes that write [s].
_PATIENCE = 60.0
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
#: Upgrades the previous schema, which had no machine, to this one.
_UPGRADE = "ALTER TABLE trial ADD COLUMN machine TEXT NOT NULL DEFAULT ''"


class StoreError(ValueError):
    """A file that is not a store, or a store that cannot be used."""


class StoreFault(RuntimeError):
    """A store that cannot be read or written now, as on a full disk; its content is intact."""


@dataclass(frozen=True)
class Record:
    """One finished trial.

    key: hash of everything the result depends on.
    study: name of the study.
    point: varied parameters, by key.
    die: seed of the chip.
    config: the whole configuration.
    metrics: results, by name.
    seconds: computing time [s].
    version: of the code.
    machine: the machine that computed it, see `crossbar_sim.system.machine.summary`; "" if an
        older version of the program kept the trial.
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

    Every `add` is a transaction of its own, so an interruption loses only unfinished trials.
    """

    def __init__(self, path: str | Path) -> None:
        """Open, create or upgrade a store.

        Raises StoreError for any other file, which stays untouched, and StoreFault if the store
        cannot be written.
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
        """Keep a trial, unless the store already has one of the same key."""
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
        """Return all trials, or those of one study, always in the same order."""
        query = "SELECT * FROM trial WHERE ? IS NULL OR study = ? ORDER BY point, die, key"
        with self._connect() as connection:
            rows = connection.execute(query, (study, study)).fetchall()
        return [
            Record(k, s, json.loads(p), d, json.loads(c), json.loads(m), t, v, machine)
            for k, s, p, d, c, m, t, v, machine in rows
        ]

    def _check(self) -> bool:
        """Check a file without writing to it; return whether it is ready for use.

        It is not ready if it is still empty or has the previous schema. Another process may be
        creating it right now; creating it here then waits for that process.
        """
        try:
            uri = f"file:{self.path}?mode=ro"
            with closing(sqlite3.connect(uri, timeout=_PATIENCE, uri=True)) as connection:
                connection.execute("BEGIN")  # all reads see the same moment
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                state = connection.execute("PRAGMA quick_check").fetchone()[0]
                n_table = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        except sqlite3.OperationalError as error:
            raise self._fault(error) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path} is not a store of studies: {error}") from error
        if not application and not n_table and state == "ok":
            return False
        if application != _APPLICATION:
            raise StoreError(f"{self.path} is another program's database; name another file")
        if version not in (_SCHEMA - 1, _SCHEMA):
            raise StoreError(
                f"{self.path} is a store of schema {version}; crossbar-sim {VERSION} reads "
                f"{_SCHEMA - 1} and {_SCHEMA}; use the program that wrote it"
            )
        if state != "ok":
            raise StoreError(f"{self.path} is damaged: {state}; restore a backup")
        return version == _SCHEMA

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            with closing(connection):
                _keep_a_log(connection)
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.OperationalError as error:
            raise self._fault(error) from error

    def _fault(self, error: sqlite3.Error) -> StoreFault:
        return StoreFault(
            f"the store {self.path} cannot be read or written: {error}; its trials are safe; make "
            "room or change permissions and repeat the command, or name another --store"
        )


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log, which SQLite does not wait for while others open the file."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
