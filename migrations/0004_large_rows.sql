-- Without a rowid a row longer than a quarter of a page spills into pages that it shares with no other; with one, a row
-- stays whole up to a page, and rows are appended. The views stay as they are: they name the tables, which come back.
-- The texts live on in the new rows, so the old ones are not overwritten, which would double the log of this upgrade.
PRAGMA legacy_alter_table = ON;
PRAGMA secure_delete = OFF;

ALTER TABLE requests RENAME TO requests_before;
CREATE TABLE requests (
    run                INTEGER NOT NULL,
    line               INTEGER NOT NULL,
    body               TEXT,                                        -- without model; NULL once cleared
    prompt_bytes       INTEGER NOT NULL,
    images             INTEGER NOT NULL,
    choices            INTEGER NOT NULL,
    max_output_tokens  INTEGER,                                     -- NULL: the record names none
    needs              TEXT NOT NULL,                               -- comma-separated features
    requested_model    TEXT,
    metadata           TEXT,
    expect             TEXT,
    PRIMARY KEY (run, line)
) STRICT;
INSERT INTO requests SELECT * FROM requests_before;
DROP TABLE requests_before;

ALTER TABLE results RENAME TO results_before;
CREATE TABLE results (
    run             INTEGER NOT NULL,
    line            INTEGER NOT NULL,
    generation      INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('done', 'failed', 'rejected')),
    attempt         INTEGER,                                        -- the one behind the result
    tier            TEXT,
    model           TEXT,
    answer          TEXT,
    finish_reason   TEXT,
    response        TEXT,                                           -- JSON as received
    error_class     TEXT,
    error           TEXT,
    escalated_from  TEXT,
    baseline_nano   INTEGER,                                        -- the same tokens at the baseline's price
    finished_at     TEXT NOT NULL,
    PRIMARY KEY (run, line, generation)
) STRICT;
INSERT INTO results SELECT * FROM results_before;
DROP TABLE results_before;

PRAGMA secure_delete = ON;
PRAGMA legacy_alter_table = OFF;
