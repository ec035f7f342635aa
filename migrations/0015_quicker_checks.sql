-- CHECK (x IN (…)) of more than two words builds a table of the words for each row that is written; compared one by one
-- they take about half the time of a row. These are the calls and the counters that triggers write with every call: most
-- of what is to be won. Records and results would have to be copied for little more.
-- The texts live on in the new rows, so the old ones are not overwritten.
PRAGMA legacy_alter_table = ON;
PRAGMA secure_delete = OFF;

ALTER TABLE counters RENAME TO counters_before;
CREATE TABLE counters (
    run      INTEGER NOT NULL REFERENCES runs (run),
    tier     TEXT NOT NULL,                                         -- '' where the record has none
    state    TEXT NOT NULL CHECK (state = 'queued' OR state = 'done' OR state = 'failed' OR state = 'rejected'),
    records  INTEGER NOT NULL,
    PRIMARY KEY (run, tier, state)
) STRICT, WITHOUT ROWID;
INSERT INTO counters SELECT * FROM counters_before;
DROP TABLE counters_before;

ALTER TABLE attempt_counters RENAME TO attempt_counters_before;
CREATE TABLE attempt_counters (                                     -- of calls that ended
    run            INTEGER NOT NULL REFERENCES runs (run),
    purpose        TEXT NOT NULL CHECK (purpose = 'answer' OR purpose = 'classify' OR purpose = 'judge'),
    tier           TEXT NOT NULL,                                   -- '' where the record has none
    model          TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state = 'ok' OR state = 'error' OR state = 'not_sent' OR state = 'unknown'),
    attempts       INTEGER NOT NULL,
    input_tokens   INTEGER NOT NULL,
    output_tokens  INTEGER NOT NULL,
    cost_nano      INTEGER NOT NULL,                                -- of those whose cost is known
    unpriced       INTEGER NOT NULL,                                -- how many others there are
    PRIMARY KEY (run, purpose, tier, model, state)
) STRICT, WITHOUT ROWID;
INSERT INTO attempt_counters SELECT * FROM attempt_counters_before;
DROP TABLE attempt_counters_before;

ALTER TABLE attempts RENAME TO attempts_before;
CREATE TABLE attempts (
    run               INTEGER NOT NULL,
    line              INTEGER NOT NULL,
    attempt           INTEGER NOT NULL,                             -- 1, 2, … of the record, over all generations
    generation        INTEGER NOT NULL,
    purpose           TEXT NOT NULL CHECK (purpose = 'answer' OR purpose = 'classify' OR purpose = 'judge'),
    tier              TEXT,
    model             TEXT NOT NULL,
    gateway           TEXT NOT NULL,
    config            INTEGER NOT NULL REFERENCES run_configs (config),
    state             TEXT NOT NULL CHECK (state = 'open' OR state = 'ok' OR state = 'error' OR state = 'not_sent' OR state = 'unknown'),
    started_at        TEXT NOT NULL,
    ended_at          TEXT,
    reserved_nano     INTEGER,                                      -- the worst case; NULL: no price known
    output_cap        INTEGER NOT NULL,                             -- tokens
    status_code       INTEGER,
    error_class       TEXT,
    error             TEXT,
    input_tokens      INTEGER,
    cached_tokens     INTEGER,
    output_tokens     INTEGER,
    reasoning_tokens  INTEGER,
    cache_write_tokens  INTEGER,
    cost_nano         INTEGER,                                      -- NULL: unknown
    cost_source       TEXT CHECK (cost_source = 'gateway' OR cost_source = 'table' OR cost_source = 'reserved' OR cost_source = 'none'),
    latency_ms        INTEGER,
    model_served      TEXT,
    response_id       TEXT,
    CHECK ((state = 'open') = (ended_at IS NULL)),
    PRIMARY KEY (run, line, attempt)
) STRICT, WITHOUT ROWID;
INSERT INTO attempts SELECT * FROM attempts_before;
DROP TABLE attempts_before;

CREATE INDEX attempts_open ON attempts (run, started_at) WHERE state = 'open';
CREATE INDEX attempts_by_end ON attempts (ended_at) WHERE ended_at IS NOT NULL;

CREATE TRIGGER attempts_counted AFTER UPDATE OF state ON attempts WHEN OLD.state = 'open' AND NEW.state <> 'open' BEGIN
    INSERT INTO attempt_counters VALUES (
        NEW.run, NEW.purpose, coalesce(NEW.tier, ''), NEW.model, NEW.state, 1, coalesce(NEW.input_tokens, 0),
        coalesce(NEW.output_tokens, 0), coalesce(NEW.cost_nano, 0), NEW.cost_nano IS NULL)
    ON CONFLICT DO UPDATE SET
        attempts = attempts + 1,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cost_nano = cost_nano + excluded.cost_nano,
        unpriced = unpriced + excluded.unpriced;
END;
CREATE TRIGGER attempts_timed AFTER UPDATE OF state ON attempts
WHEN OLD.state = 'open' AND NEW.latency_ms IS NOT NULL AND NEW.purpose = 'answer' BEGIN
    INSERT INTO latency_counters VALUES (NEW.run, coalesce(NEW.tier, ''), NEW.model, NEW.latency_ms, 1)
    ON CONFLICT DO UPDATE SET attempts = attempts + 1;
END;
CREATE TRIGGER attempts_at_worst_case AFTER UPDATE OF state ON attempts
WHEN OLD.state = 'open' AND NEW.cost_source = 'reserved' AND NEW.state <> 'unknown' BEGIN
    INSERT INTO worst_case_counters VALUES (NEW.run, 1, NEW.cost_nano)
    ON CONFLICT DO UPDATE SET attempts = attempts + 1, cost_nano = cost_nano + excluded.cost_nano;
END;

PRAGMA secure_delete = ON;
PRAGMA legacy_alter_table = OFF;
