-- The log. These four tables are the truth; everything named p_… below is folded from them.
CREATE TABLE entry (
    idx   INTEGER PRIMARY KEY,          -- place in the log, from 0
    bytes BLOB NOT NULL                 -- the DSSE envelope as it was hashed and signed
);
-- Complete subtrees: level * 2^56 + index. Level 0 is the leaf hashes. Never changed, never deleted.
CREATE TABLE node (
    id   INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
);
CREATE TABLE entry_key (
    key    TEXT PRIMARY KEY,            -- idempotency key
    idx    INTEGER NOT NULL,
    digest BLOB NOT NULL                -- what the key stands for
) WITHOUT ROWID;
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,           -- receipts covered
    note TEXT NOT NULL                  -- the signed note
);

-- Bytes under their digest: recipes, ticks and measurements behind verdicts.
CREATE TABLE segment (
    digest TEXT PRIMARY KEY,
    bytes  BLOB NOT NULL
) WITHOUT ROWID;

-- Projections: dropped and folded again at any time.
CREATE TABLE p_cursor (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    next INTEGER NOT NULL,              -- first index that is not folded
    fold INTEGER NOT NULL               -- version of the fold
);
INSERT INTO p_cursor (one, next, fold) VALUES (1, 0, 0);
CREATE TABLE p_receipt (
    idx     INTEGER PRIMARY KEY,
    kind    TEXT NOT NULL,
    actor   TEXT NOT NULL,
    time    INTEGER NOT NULL,           -- ms since 1970
    release TEXT
);
CREATE INDEX p_receipt_release ON p_receipt (release) WHERE release IS NOT NULL;
CREATE INDEX p_receipt_kind ON p_receipt (kind);
CREATE INDEX p_receipt_actor ON p_receipt (actor);
CREATE TABLE p_release (
    id      TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    state   TEXT NOT NULL,              -- in-flight, promoted, aborted, rolled-back
    started INTEGER NOT NULL,           -- ms since 1970
    row     TEXT NOT NULL               -- projections::ReleaseRow as JSON
);
CREATE INDEX p_release_started ON p_release (started);
CREATE INDEX p_release_state ON p_release (state, started);
CREATE INDEX p_release_service ON p_release (service, started);

-- Samples: not receipts, but what verdicts are computed from. One row is some seconds of ticks.
CREATE TABLE tick_block (
    id         INTEGER PRIMARY KEY,
    release    TEXT NOT NULL,
    first_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    ticks      BLOB NOT NULL,           -- JSON, histograms left out
    histograms BLOB NOT NULL            -- see tick_codec
);
CREATE INDEX tick_block_release ON tick_block (release, first_at);
CREATE TABLE measurement (
    id      INTEGER PRIMARY KEY,
    release TEXT NOT NULL,
    data    TEXT NOT NULL               -- controller::Measurement as JSON
);
CREATE INDEX measurement_release ON measurement (release);

-- Links, sessions, tokens, by the hash of their secret.
CREATE TABLE credential (
    hash       TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    actor      TEXT NOT NULL,
    role       TEXT NOT NULL,
    created    INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    form_token TEXT
) WITHOUT ROWID;
CREATE INDEX credential_expires ON credential (expires);
