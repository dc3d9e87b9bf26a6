-- Lists of ten thousand releases and a million receipts: filters, orders and words. All of it is folded from the log.
DROP TABLE p_release;
CREATE TABLE p_release (
    seq         INTEGER PRIMARY KEY,    -- the name of the row in p_release_text
    id          TEXT NOT NULL UNIQUE,
    service     TEXT NOT NULL,
    environment TEXT NOT NULL,
    actor       TEXT NOT NULL,
    digest      TEXT NOT NULL,
    state       TEXT NOT NULL,          -- in-flight, promoted, aborted, rolled-back
    started     INTEGER NOT NULL,       -- ms since 1970
    took        INTEGER NOT NULL,       -- ms; 0 while under way
    exposed     INTEGER NOT NULL,
    joules      REAL NOT NULL,
    row         TEXT NOT NULL           -- projections::ReleaseRow as JSON
);
CREATE INDEX p_release_started ON p_release (started, id);
CREATE INDEX p_release_state ON p_release (state, started, id);
CREATE INDEX p_release_service ON p_release (service, started, id);
CREATE INDEX p_release_environment ON p_release (environment, started, id);
CREATE INDEX p_release_actor ON p_release (actor, started, id);
CREATE INDEX p_release_digest ON p_release (digest);
CREATE INDEX p_release_took ON p_release (took, id);
-- What people search by, one row a release.
CREATE VIRTUAL TABLE p_release_text USING fts5 (words, tokenize = 'unicode61', prefix = '2 3');

-- One row for each end of a rollout: what delivery metrics are computed from.
CREATE TABLE p_rollout (
    idx         INTEGER PRIMARY KEY,    -- the receipt delivery.canary.completed
    release     TEXT NOT NULL,
    service     TEXT NOT NULL,
    environment TEXT NOT NULL,
    version     TEXT NOT NULL,
    ended       INTEGER NOT NULL,       -- ms since 1970
    outcome     TEXT NOT NULL,
    restore_ms  INTEGER
);
CREATE INDEX p_rollout_ended ON p_rollout (ended);
CREATE INDEX p_receipt_time ON p_receipt (time);
