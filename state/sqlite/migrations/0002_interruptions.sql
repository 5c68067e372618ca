-- When builds that go on without the connection were out of touch.
CREATE TABLE interruptions (
  id         INTEGER PRIMARY KEY,
  build_id   INTEGER NOT NULL REFERENCES builds (id),
  cause      TEXT    NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL,
  times      INTEGER NOT NULL,
  lines      TEXT    NOT NULL  -- JSON object: log id -> lines that it had
);
CREATE INDEX interruptions_build ON interruptions (build_id);
