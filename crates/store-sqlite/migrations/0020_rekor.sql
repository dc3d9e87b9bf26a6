-- The log of signatures (Rekor v2's form), a second tree beside the receipts. Never changed, never deleted.
CREATE TABLE rekor_entry (
    idx  INTEGER PRIMARY KEY,           -- place in the log, from 0
    leaf BLOB NOT NULL UNIQUE,          -- RFC 6962 hash of body: the same body is logged once
    body BLOB NOT NULL,                 -- canonical JSON as it is hashed and served
    by   TEXT NOT NULL,                 -- who handed it in
    at   INTEGER NOT NULL               -- ms since 1970
);
-- Complete subtrees from level 1 on: level * 2^56 + index. Level 0 is rekor_entry.leaf.
CREATE TABLE rekor_node (
    id   INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
);
CREATE TABLE rekor_head (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    size  INTEGER NOT NULL,
    note  TEXT NOT NULL,                -- the newest signed checkpoint; older ones follow from the tree
    begun INTEGER NOT NULL              -- ms since 1970
);
