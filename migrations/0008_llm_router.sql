-- Decisions by a model: where each came from, how many of each kind, and what is remembered across runs.
ALTER TABLE decisions ADD COLUMN origin TEXT CHECK (origin IN ('asked', 'cache', 'fallback'));  -- of the router 'llm'

CREATE TABLE decision_counters (                                    -- of the router 'llm'
    run      INTEGER NOT NULL REFERENCES runs (run),
    origin   TEXT NOT NULL CHECK (origin IN ('asked', 'cache', 'fallback')),
    records  INTEGER NOT NULL,
    PRIMARY KEY (run, origin)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER decisions_counted AFTER INSERT ON decisions WHEN NEW.origin IS NOT NULL BEGIN
    INSERT INTO decision_counters (run, origin, records) VALUES (NEW.run, NEW.origin, 1)
    ON CONFLICT DO UPDATE SET records = records + 1;
END;

CREATE TABLE decision_cache (
    key             BLOB PRIMARY KEY,                               -- of the type of request, the model and the prompt
    kind            TEXT NOT NULL CHECK (kind IN ('task', 'template', 'text')),
    task            TEXT,                                           -- the name, where that makes the type
    tier            TEXT NOT NULL,
    model           TEXT NOT NULL,
    prompt_version  INTEGER NOT NULL,
    run             INTEGER NOT NULL REFERENCES runs (run),         -- where it was decided, and for which record
    line            INTEGER NOT NULL,
    decided_at      TEXT NOT NULL,
    CHECK ((kind = 'task') = (task IS NOT NULL)),
    CHECK (length(key) = 16 AND prompt_version > 0 AND task <> '')
) STRICT, WITHOUT ROWID;
