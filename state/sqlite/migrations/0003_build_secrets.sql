-- The names of the secrets that a build asked for: a later master that goes on with it must
-- hide them, too.
CREATE TABLE build_secrets (
  build_id INTEGER NOT NULL REFERENCES builds (id),
  name     TEXT    NOT NULL,
  PRIMARY KEY (build_id, name)
);
