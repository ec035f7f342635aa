-- Evaluations: a sample of a run's answers compared with those of a dearer tier.
CREATE TABLE evaluations (
    evaluation      INTEGER PRIMARY KEY,
    run             INTEGER NOT NULL REFERENCES runs (run),
    seed            INTEGER NOT NULL,
    sample          INTEGER NOT NULL CHECK (sample > 0),            -- as asked for
    against         TEXT NOT NULL CHECK (against IN ('next', 'top')),
    judge           TEXT NOT NULL,                                  -- a model, or 'exact'
    stratify        TEXT NOT NULL CHECK (stratify IN ('', 'tier', 'task', 'tier,task')),
    prompt_version  INTEGER NOT NULL CHECK (prompt_version > 0),
    population      INTEGER NOT NULL CHECK (population > 0),        -- done records with a dearer tier above, and their texts
    at_top          INTEGER NOT NULL CHECK (at_top >= 0),           -- done at the top: nothing to compare with
    without_text    INTEGER NOT NULL CHECK (without_text >= 0),     -- request or answer purged
    started_at      TEXT NOT NULL,
    finished_at     TEXT,
    UNIQUE (run, seed, sample, against, judge, stratify, prompt_version)
) STRICT;

CREATE TABLE judgements (
    evaluation      INTEGER NOT NULL REFERENCES evaluations (evaluation),
    run             INTEGER NOT NULL,
    line            INTEGER NOT NULL,
    generation      INTEGER NOT NULL,                               -- of the answer that is compared
    tier            TEXT NOT NULL,
    against_tier    TEXT NOT NULL,
    other_attempt   INTEGER,                                        -- of the dearer answer
    other_model     TEXT,
    other_answer    TEXT,
    forward         TEXT CHECK (forward IN ('worse', 'same', 'better', 'none')),    -- the judge, our answer first
    backward        TEXT CHECK (backward IN ('worse', 'same', 'better', 'none')),   -- ours second, as it was said
    how             TEXT CHECK (how IN ('expect', 'exact', 'normalised', 'json', 'judge')),
    verdict         TEXT CHECK (verdict IN ('match', 'worse', 'better', 'unjudged')),
    gold            TEXT CHECK (gold IN ('match', 'worse', 'better')),              -- a person's word
    judged_at       TEXT,
    CHECK ((verdict IS NULL) = (judged_at IS NULL)),
    CHECK (how IS NOT NULL OR verdict IS NULL OR verdict = 'unjudged'),
    CHECK (how IS NULL OR how = 'judge' OR coalesce(forward, backward) IS NULL),
    PRIMARY KEY (evaluation, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluation_calls (                                     -- for which evaluation an attempt was made
    run         INTEGER NOT NULL,
    line        INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    evaluation  INTEGER NOT NULL REFERENCES evaluations (evaluation),
    PRIMARY KEY (run, line, attempt)
) STRICT, WITHOUT ROWID;
