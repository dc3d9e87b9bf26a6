-- A receipt may be about several artifacts: what a cluster was asked to run has many images. Folded again from the log.
DROP TABLE p_subject;
CREATE TABLE p_subject (
    subject TEXT NOT NULL,              -- sha256:…
    idx     INTEGER NOT NULL,           -- the receipt
    PRIMARY KEY (subject, idx)
) WITHOUT ROWID;
