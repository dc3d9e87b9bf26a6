-- Receipts by the artifact that they are about: what a release's policy and its page ask for. Folded from the log.
CREATE TABLE p_subject (
    idx     INTEGER PRIMARY KEY,        -- the receipt
    subject TEXT NOT NULL               -- sha256:…
);
CREATE INDEX p_subject_subject ON p_subject (subject, idx);
