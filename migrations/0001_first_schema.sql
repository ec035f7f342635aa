-- Money is INTEGER nano-units of the run's currency; times are UTC ISO-8601 text; keys are integers.

CREATE TABLE runs (
    run             INTEGER PRIMARY KEY,
    name            TEXT,
    input           TEXT NOT NULL,                                  -- absolute path, or '-'
    demo            INTEGER NOT NULL DEFAULT 0 CHECK (demo IN (0, 1)),
    state           TEXT NOT NULL CHECK (state IN ('running', 'stopped', 'finished')),
    exit_code       INTEGER,
    stop_reason     TEXT,
    started_at      TEXT NOT NULL,
    finished_at     TEXT,                                           -- of the last invocation's end
    currency        TEXT NOT NULL,
    fixed           TEXT NOT NULL,                                  -- JSON: the settings fixed at intake
    max_failed      TEXT,                                           -- as given: N or P%
    intake_state    TEXT NOT NULL DEFAULT 'reading' CHECK (intake_state IN ('reading', 'complete', 'cut')),
    intake_offset   INTEGER NOT NULL DEFAULT 0,                     -- bytes, decompressed
    intake_line     INTEGER NOT NULL DEFAULT 0,
    intake_digest   TEXT NOT NULL DEFAULT '',                       -- sha256 of those bytes
    intake_ended    INTEGER NOT NULL DEFAULT 1 CHECK (intake_ended IN (0, 1)),
    intake_blank    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX runs_by_input ON runs (input, demo);
CREATE INDEX runs_by_name ON runs (name, demo) WHERE name IS NOT NULL;

CREATE TABLE run_configs (
    config      INTEGER PRIMARY KEY,
    run         INTEGER NOT NULL REFERENCES runs (run),
    started_at  TEXT NOT NULL,
    version     TEXT NOT NULL,                                      -- of batchrouter
    settings    TEXT NOT NULL                                       -- JSON, whole; never a key
) STRICT;
CREATE INDEX run_configs_by_run ON run_configs (run);

CREATE TABLE records (
    run         INTEGER NOT NULL REFERENCES runs (run),
    line        INTEGER NOT NULL,
    id          TEXT,
    task        TEXT,
    state       TEXT NOT NULL CHECK (state IN ('queued', 'done', 'failed', 'rejected')),
    tier        TEXT,                                               -- where it is now; NULL: undecided or --no-routing
    generation  INTEGER NOT NULL DEFAULT 1,
    "offset"    INTEGER NOT NULL,
    digest      BLOB NOT NULL,                                      -- of the line's bytes
    PRIMARY KEY (run, line)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_queued ON records (run, tier, line) WHERE state = 'queued';

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
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
    run      INTEGER NOT NULL REFERENCES runs (run),
    tier     TEXT NOT NULL,                                         -- '' where the record has none
    state    TEXT NOT NULL CHECK (state IN ('queued', 'done', 'failed', 'rejected')),
    records  INTEGER NOT NULL,
    PRIMARY KEY (run, tier, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER records_counted AFTER INSERT ON records BEGIN
    INSERT INTO counters (run, tier, state, records) VALUES (NEW.run, coalesce(NEW.tier, ''), NEW.state, 1)
    ON CONFLICT (run, tier, state) DO UPDATE SET records = records + 1;
END;
CREATE TRIGGER records_recounted AFTER UPDATE OF state, tier ON records
WHEN OLD.state IS NOT NEW.state OR OLD.tier IS NOT NEW.tier BEGIN
    UPDATE counters SET records = records - 1
    WHERE run = OLD.run AND tier = coalesce(OLD.tier, '') AND state = OLD.state;
    INSERT INTO counters (run, tier, state, records) VALUES (NEW.run, coalesce(NEW.tier, ''), NEW.state, 1)
    ON CONFLICT (run, tier, state) DO UPDATE SET records = records + 1;
END;

CREATE TABLE decisions (
    run     INTEGER NOT NULL,
    line    INTEGER NOT NULL,
    tier    TEXT,
    router  TEXT NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (run, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    run               INTEGER NOT NULL,
    line              INTEGER NOT NULL,
    attempt           INTEGER NOT NULL,                             -- 1, 2, … of the record, over all generations
    generation        INTEGER NOT NULL,
    purpose           TEXT NOT NULL CHECK (purpose IN ('answer', 'classify', 'judge')),
    tier              TEXT,
    model             TEXT NOT NULL,
    gateway           TEXT NOT NULL,
    config            INTEGER NOT NULL REFERENCES run_configs (config),
    state             TEXT NOT NULL CHECK (state IN ('open', 'ok', 'error', 'not_sent', 'unknown')),
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
    cost_source       TEXT CHECK (cost_source IN ('gateway', 'table', 'reserved', 'none')),
    latency_ms        INTEGER,
    model_served      TEXT,
    response_id       TEXT,
    CHECK ((state = 'open') = (ended_at IS NULL)),
    PRIMARY KEY (run, line, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_open ON attempts (run, started_at) WHERE state = 'open';

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
) STRICT, WITHOUT ROWID;
