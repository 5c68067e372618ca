-- Times are milliseconds since 1970 and 0 for "not yet"; ids that may be missing are
-- 0; booleans are 0 and 1; results are Buildbot's numbers and -1 while unfinished.
-- The SQL is what SQLite and PostgreSQL share, but for AUTOINCREMENT.

-- The oldest schema whose program can use this database. A migration that an older program
-- could not bear changes it; one version back should always be able to.
CREATE TABLE compatibility (
  schema INTEGER NOT NULL
);
INSERT INTO compatibility (schema) VALUES (1);

CREATE TABLE masters (
  id          INTEGER PRIMARY KEY,
  name        TEXT    NOT NULL,
  active      INTEGER NOT NULL,
  last_active INTEGER NOT NULL,
  epoch       INTEGER NOT NULL
);

CREATE TABLE builders (
  id                 INTEGER PRIMARY KEY,
  name               TEXT    NOT NULL UNIQUE,
  description        TEXT    NOT NULL,
  description_format TEXT    NOT NULL,
  project_id         INTEGER NOT NULL,
  tags               TEXT    NOT NULL, -- JSON list
  active             INTEGER NOT NULL,
  last_number        INTEGER NOT NULL DEFAULT 0 -- of its builds
);

CREATE TABLE projects (
  id                 INTEGER PRIMARY KEY,
  name               TEXT    NOT NULL UNIQUE,
  slug               TEXT    NOT NULL,
  description        TEXT    NOT NULL,
  description_format TEXT    NOT NULL,
  active             INTEGER NOT NULL
);

CREATE TABLE workers (
  id           INTEGER PRIMARY KEY,
  name         TEXT    NOT NULL UNIQUE,
  paused       INTEGER NOT NULL,
  pause_reason TEXT    NOT NULL,
  paused_by    TEXT    NOT NULL,
  paused_at    INTEGER NOT NULL,
  graceful     INTEGER NOT NULL,
  graceful_reason TEXT    NOT NULL,
  graceful_by  TEXT    NOT NULL,
  graceful_at  INTEGER NOT NULL,
  graceful_life TEXT NOT NULL, -- the process that shall exit, if it can be told from the next
  quarantine_since INTEGER NOT NULL,
  quarantine_until INTEGER NOT NULL,
  quarantine_count INTEGER NOT NULL,
  quarantine_cause TEXT    NOT NULL,
  quarantine_build INTEGER NOT NULL,
  info         TEXT    NOT NULL, -- JSON object
  connected    INTEGER NOT NULL,
  changed_at   INTEGER NOT NULL,
  active       INTEGER NOT NULL
);

CREATE TABLE schedulers (
  id       INTEGER PRIMARY KEY,
  name     TEXT    NOT NULL UNIQUE,
  enabled  INTEGER NOT NULL,
  active   INTEGER NOT NULL,
  error    TEXT    NOT NULL, -- '' for none
  error_at INTEGER NOT NULL,
  acted_at INTEGER NOT NULL
);

CREATE TABLE changesources (
  id     INTEGER PRIMARY KEY,
  name   TEXT    NOT NULL UNIQUE,
  error  TEXT    NOT NULL, -- '' for none
  active INTEGER NOT NULL
);

-- Equal stamps share a row: digest is over all that makes them equal.
CREATE TABLE sourcestamps (
  id         INTEGER PRIMARY KEY,
  digest     BLOB    NOT NULL UNIQUE,
  branch     TEXT,
  revision   TEXT,
  project    TEXT    NOT NULL,
  repository TEXT    NOT NULL,
  codebase   TEXT    NOT NULL,
  created_at INTEGER NOT NULL
);

-- A change's id is never used again, even after the row is gone: cursors hold it.
CREATE TABLE changes (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  author         TEXT    NOT NULL,
  committer      TEXT,
  comments       TEXT    NOT NULL,
  branch         TEXT,
  revision       TEXT,
  category       TEXT,
  revlink        TEXT,
  at             INTEGER NOT NULL, -- of the commit
  received_at    INTEGER NOT NULL,
  codebase       TEXT    NOT NULL,
  project        TEXT    NOT NULL,
  repository     TEXT    NOT NULL,
  files          TEXT    NOT NULL, -- JSON list
  properties     TEXT    NOT NULL, -- JSON object of [value, source]
  parent_id      INTEGER NOT NULL,
  sourcestamp_id INTEGER NOT NULL REFERENCES sourcestamps (id)
);
CREATE INDEX changes_line ON changes (repository, branch, project, codebase);
CREATE INDEX changes_sourcestamp ON changes (sourcestamp_id);
CREATE INDEX changes_at ON changes (at);

-- The changes that wait for a scheduler's timer.
CREATE TABLE scheduler_changes (
  scheduler_id INTEGER NOT NULL REFERENCES schedulers (id),
  change_id    INTEGER NOT NULL REFERENCES changes (id),
  important    INTEGER NOT NULL,
  PRIMARY KEY (scheduler_id, change_id)
);
CREATE INDEX scheduler_changes_change ON scheduler_changes (change_id);

-- What services want to find again: cursors, due times, the revisions of a poller.
CREATE TABLE memory (
  kind  TEXT NOT NULL,
  owner TEXT NOT NULL,
  name  TEXT NOT NULL,
  value TEXT NOT NULL, -- JSON
  PRIMARY KEY (kind, owner, name)
);

CREATE TABLE buildsets (
  id                  INTEGER PRIMARY KEY,
  external_id         TEXT,
  reason              TEXT    NOT NULL,
  scheduler           TEXT    NOT NULL,
  submitted_at        INTEGER NOT NULL,
  complete            INTEGER NOT NULL,
  complete_at         INTEGER NOT NULL,
  results             INTEGER NOT NULL,
  parent_build_id     INTEGER NOT NULL,
  parent_step         INTEGER NOT NULL,
  parent_seq          INTEGER NOT NULL,
  parent_relationship TEXT    NOT NULL,
  rebuilt_build_id    INTEGER NOT NULL,
  properties          TEXT    NOT NULL -- JSON object of [value, source]
);
CREATE INDEX buildsets_submitted ON buildsets (submitted_at);
CREATE INDEX buildsets_rebuilt ON buildsets (rebuilt_build_id) WHERE rebuilt_build_id <> 0;
-- A step that is run again after a restart finds what it triggered, and triggers nothing twice.
CREATE UNIQUE INDEX buildsets_parent ON buildsets (parent_build_id, parent_step, parent_seq) WHERE parent_build_id <> 0;

CREATE TABLE buildset_sourcestamps (
  buildset_id    INTEGER NOT NULL REFERENCES buildsets (id),
  position       INTEGER NOT NULL,
  sourcestamp_id INTEGER NOT NULL REFERENCES sourcestamps (id),
  PRIMARY KEY (buildset_id, position)
);
CREATE INDEX buildset_sourcestamps_stamp ON buildset_sourcestamps (sourcestamp_id);

CREATE TABLE buildrequests (
  id           INTEGER PRIMARY KEY,
  buildset_id  INTEGER NOT NULL REFERENCES buildsets (id),
  builder_id   INTEGER NOT NULL REFERENCES builders (id),
  priority     INTEGER NOT NULL,
  claimed      INTEGER NOT NULL,
  claimed_at   INTEGER NOT NULL,
  complete     INTEGER NOT NULL,
  complete_at  INTEGER NOT NULL,
  results      INTEGER NOT NULL,
  submitted_at INTEGER NOT NULL,
  waited_for   INTEGER NOT NULL,
  retries      INTEGER NOT NULL,
  collapsed_to INTEGER NOT NULL
);
CREATE INDEX buildrequests_buildset ON buildrequests (buildset_id);
CREATE INDEX buildrequests_builder ON buildrequests (builder_id);
CREATE INDEX buildrequests_open ON buildrequests (builder_id, claimed) WHERE complete = 0;
CREATE INDEX buildrequests_unclaimed ON buildrequests (builder_id) WHERE claimed = 0;

CREATE TABLE builds (
  id             INTEGER PRIMARY KEY,
  number         INTEGER NOT NULL,
  builder_id     INTEGER NOT NULL REFERENCES builders (id),
  request_id     INTEGER NOT NULL,
  worker_id      INTEGER NOT NULL,
  started_at     INTEGER NOT NULL,
  complete_at    INTEGER NOT NULL,
  complete       INTEGER NOT NULL,
  locks_duration INTEGER NOT NULL, -- seconds
  state_string   TEXT    NOT NULL,
  results        INTEGER NOT NULL,
  generation     INTEGER NOT NULL,
  stop_reason    TEXT    NOT NULL,
  epoch          INTEGER NOT NULL, -- of the master that started it
  worker_life    TEXT    NOT NULL,
  locked         INTEGER NOT NULL,
  properties     TEXT    NOT NULL  -- JSON object of [value, source]
);
CREATE UNIQUE INDEX builds_number ON builds (builder_id, number);
CREATE INDEX builds_request ON builds (request_id);
CREATE INDEX builds_worker ON builds (worker_id);
CREATE INDEX builds_started ON builds (started_at);
CREATE INDEX builds_running ON builds (builder_id) WHERE complete = 0;

CREATE TABLE steps (
  id                INTEGER PRIMARY KEY,
  build_id          INTEGER NOT NULL REFERENCES builds (id),
  number            INTEGER NOT NULL,
  name              TEXT    NOT NULL,
  started_at        INTEGER NOT NULL,
  locks_acquired_at INTEGER NOT NULL,
  complete          INTEGER NOT NULL,
  complete_at       INTEGER NOT NULL,
  state_string      TEXT    NOT NULL,
  results           INTEGER NOT NULL,
  urls              TEXT    NOT NULL, -- JSON list
  hidden            INTEGER NOT NULL,
  position          INTEGER NOT NULL  -- in the factory
);
CREATE UNIQUE INDEX steps_build ON steps (build_id, number);

CREATE TABLE logs (
  id        INTEGER PRIMARY KEY,
  step_id   INTEGER NOT NULL REFERENCES steps (id),
  build_id  INTEGER NOT NULL REFERENCES builds (id),
  name      TEXT    NOT NULL,
  slug      TEXT    NOT NULL,
  complete  INTEGER NOT NULL,
  num_lines INTEGER NOT NULL,
  type      TEXT    NOT NULL
);
CREATE UNIQUE INDEX logs_step ON logs (step_id, slug);
CREATE INDEX logs_build ON logs (build_id);

-- The journal of builds: the order of n is the order of sending.
CREATE TABLE commands (
  n         INTEGER PRIMARY KEY,
  id        TEXT    NOT NULL UNIQUE,
  build_id  INTEGER NOT NULL REFERENCES builds (id),
  step_id   INTEGER NOT NULL,
  seq       INTEGER NOT NULL,
  worker    TEXT    NOT NULL,
  args_hash BLOB    NOT NULL,
  done      INTEGER NOT NULL,
  rc        INTEGER,
  failure   TEXT    NOT NULL
);
CREATE INDEX commands_build ON commands (build_id);

-- The ledger of latent workers: a row is here before its instance is. Ids tag instances, so
-- they are never used again.
CREATE TABLE instances (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  worker       TEXT    NOT NULL,
  kind         TEXT    NOT NULL,
  state        TEXT    NOT NULL,
  handle       TEXT    NOT NULL, -- '': none yet
  info         TEXT    NOT NULL, -- JSON list
  password     TEXT    NOT NULL,
  arguments    TEXT    NOT NULL, -- JSON object
  caps         TEXT    NOT NULL, -- JSON list
  generation   INTEGER NOT NULL,
  build_id     INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  started_at   INTEGER NOT NULL,
  connected_at INTEGER NOT NULL,
  stopping_at  INTEGER NOT NULL,
  gone_at      INTEGER NOT NULL,
  failures     INTEGER NOT NULL,
  failure      TEXT    NOT NULL
);
CREATE INDEX instances_left ON instances (worker) WHERE gone_at = 0;
CREATE INDEX instances_gone ON instances (gone_at);

-- A generation's id is never used again, even after the row is gone.
CREATE TABLE generations (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  created_at INTEGER NOT NULL,
  digest     BLOB    NOT NULL UNIQUE,
  main       TEXT    NOT NULL, -- path of the input that is evaluated
  env        TEXT    NOT NULL, -- JSON object
  in_force   INTEGER NOT NULL
);

CREATE TABLE generation_inputs (
  generation_id INTEGER NOT NULL REFERENCES generations (id),
  path          TEXT    NOT NULL,
  digest        BLOB    NOT NULL REFERENCES inputs (digest),
  PRIMARY KEY (generation_id, path)
);
CREATE INDEX generation_inputs_digest ON generation_inputs (digest);

CREATE TABLE inputs (
  digest BLOB PRIMARY KEY, -- SHA-256 of data
  data   BLOB NOT NULL
);
