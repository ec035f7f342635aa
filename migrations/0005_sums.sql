-- What status and report show is kept as it happens, so that both are as quick after a million records as after one.

CREATE TABLE attempt_counters (                                     -- of calls that ended
    run            INTEGER NOT NULL REFERENCES runs (run),
    purpose        TEXT NOT NULL CHECK (purpose IN ('answer', 'classify', 'judge')),
    tier           TEXT NOT NULL,                                   -- '' where the record has none
    model          TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('ok', 'error', 'not_sent', 'unknown')),
    attempts       INTEGER NOT NULL,
    input_tokens   INTEGER NOT NULL,
    output_tokens  INTEGER NOT NULL,
    cost_nano      INTEGER NOT NULL,                                -- of those whose cost is known
    unpriced       INTEGER NOT NULL,                                -- how many others there are
    PRIMARY KEY (run, purpose, tier, model, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE latency_counters (                                     -- of answers: percentiles without sorting
    run         INTEGER NOT NULL REFERENCES runs (run),
    tier        TEXT NOT NULL,
    model       TEXT NOT NULL,
    latency_ms  INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    PRIMARY KEY (run, tier, model, latency_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE result_counters (                                      -- of records that are done
    run            INTEGER NOT NULL REFERENCES runs (run),
    tier           TEXT NOT NULL,
    model          TEXT NOT NULL,
    records        INTEGER NOT NULL,
    cost_nano      INTEGER NOT NULL,                                -- of the answers behind them
    baseline_nano  INTEGER NOT NULL,
    no_baseline    INTEGER NOT NULL,                                -- how many have none
    PRIMARY KEY (run, tier, model)
) STRICT, WITHOUT ROWID;

INSERT INTO attempt_counters
SELECT run, purpose, coalesce(tier, ''), model, state, count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
    coalesce(sum(cost_nano), 0), sum(cost_nano IS NULL)
FROM attempts WHERE state <> 'open' GROUP BY 1, 2, 3, 4, 5;

INSERT INTO latency_counters
SELECT run, coalesce(tier, ''), model, latency_ms, count(*)
FROM attempts WHERE purpose = 'answer' AND latency_ms IS NOT NULL GROUP BY 1, 2, 3, 4;

INSERT INTO result_counters
SELECT s.run, coalesce(s.tier, ''), coalesce(s.model, ''), count(*), coalesce(sum(a.cost_nano), 0), coalesce(sum(s.baseline_nano), 0),
    sum(s.baseline_nano IS NULL)
FROM results s
JOIN records r ON r.run = s.run AND r.line = s.line AND r.generation = s.generation
LEFT JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
WHERE s.state = 'done' GROUP BY 1, 2, 3;

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
CREATE TRIGGER results_counted AFTER INSERT ON results WHEN NEW.state = 'done' BEGIN
    INSERT INTO result_counters VALUES (
        NEW.run, coalesce(NEW.tier, ''), coalesce(NEW.model, ''), 1,
        coalesce((SELECT cost_nano FROM attempts WHERE run = NEW.run AND line = NEW.line AND attempt = NEW.attempt), 0),
        coalesce(NEW.baseline_nano, 0), NEW.baseline_nano IS NULL)
    ON CONFLICT DO UPDATE SET
        records = records + 1,
        cost_nano = cost_nano + excluded.cost_nano,
        baseline_nano = baseline_nano + excluded.baseline_nano,
        no_baseline = no_baseline + excluded.no_baseline;
END;
CREATE TRIGGER results_uncounted AFTER UPDATE OF generation ON records WHEN OLD.state = 'done' BEGIN
    UPDATE result_counters SET
        records = result_counters.records - 1,
        cost_nano = result_counters.cost_nano - coalesce(was.cost_nano, 0),
        baseline_nano = result_counters.baseline_nano - coalesce(was.baseline_nano, 0),
        no_baseline = no_baseline - (was.baseline_nano IS NULL)
    FROM (
        SELECT coalesce(s.tier, '') AS tier, coalesce(s.model, '') AS model, s.baseline_nano, a.cost_nano FROM results s
        LEFT JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
        WHERE s.run = OLD.run AND s.line = OLD.line AND s.generation = OLD.generation
    ) AS was
    WHERE result_counters.run = OLD.run AND result_counters.tier = was.tier AND result_counters.model = was.model;
END;

CREATE INDEX records_unanswered ON records (run, line) WHERE state IN ('failed', 'rejected');

-- `wasted` is what answer attempts cost that are not behind the latest result of a record that is done.
DROP VIEW run_summary;
CREATE VIEW run_summary AS
WITH
counted AS (
    SELECT run,
        sum(records) AS records,
        sum(CASE state WHEN 'done' THEN records ELSE 0 END) AS done,
        sum(CASE state WHEN 'failed' THEN records ELSE 0 END) AS failed,
        sum(CASE state WHEN 'rejected' THEN records ELSE 0 END) AS rejected,
        sum(CASE state WHEN 'queued' THEN records ELSE 0 END) AS pending
    FROM counters GROUP BY run
),
spent AS (
    SELECT run,
        sum(CASE WHEN state <> 'unknown' THEN cost_nano ELSE 0 END) AS cost,
        sum(CASE WHEN state <> 'unknown' AND purpose = 'answer' THEN cost_nano ELSE 0 END) AS answer_cost,
        sum(CASE WHEN state <> 'unknown' AND purpose = 'classify' THEN cost_nano ELSE 0 END) AS classify_cost,
        sum(CASE WHEN state <> 'unknown' AND purpose = 'judge' THEN cost_nano ELSE 0 END) AS judge_cost,
        sum(CASE WHEN state <> 'unknown' THEN unpriced ELSE 0 END) AS unpriced,
        sum(CASE WHEN state = 'unknown' THEN cost_nano ELSE 0 END) AS unknown_cost,
        sum(CASE WHEN state = 'unknown' THEN unpriced ELSE 0 END) AS unknown_unpriced,
        sum(CASE WHEN state = 'unknown' THEN attempts ELSE 0 END) AS unknown_calls
    FROM attempt_counters GROUP BY run
),
finals AS (
    SELECT run, sum(baseline_nano) AS baseline, sum(no_baseline) AS no_baseline, sum(cost_nano) AS final_cost
    FROM result_counters GROUP BY run
),
figures AS (
    SELECT
        u.*, c.records, c.done, c.failed, c.rejected, c.pending,
        CASE WHEN coalesce(s.unpriced, 0) = 0 THEN coalesce(s.cost, 0) END AS cost,
        CASE WHEN coalesce(s.unpriced, 0) = 0 THEN coalesce(s.answer_cost, 0) END AS answer_cost,
        CASE WHEN coalesce(s.unpriced, 0) = 0 THEN coalesce(s.classify_cost, 0) END AS classify_cost,
        CASE WHEN coalesce(s.unpriced, 0) = 0 THEN coalesce(s.judge_cost, 0) END AS judge_cost,
        CASE WHEN coalesce(s.unpriced, 0) = 0 THEN coalesce(s.answer_cost, 0) - coalesce(f.final_cost, 0) END AS wasted,
        CASE WHEN coalesce(s.unknown_unpriced, 0) = 0 THEN coalesce(s.unknown_cost, 0) END AS unknown_cost,
        coalesce(s.unknown_calls, 0) AS unknown_calls,
        CASE WHEN coalesce(f.no_baseline, 0) = 0 THEN coalesce(f.baseline, 0) END AS baseline
    FROM runs u
    LEFT JOIN counted c ON c.run = u.run
    LEFT JOIN spent s ON s.run = u.run
    LEFT JOIN finals f ON f.run = u.run
)
SELECT
    run, name, input, state, started_at, finished_at,
    coalesce(records, 0) AS records, coalesce(done, 0) AS done, coalesce(failed, 0) AS failed,
    coalesce(rejected, 0) AS rejected, coalesce(pending, 0) AS pending,
    cost / 1e9 AS cost, answer_cost / 1e9 AS answer_cost, classify_cost / 1e9 AS classify_cost,
    judge_cost / 1e9 AS judge_cost, wasted / 1e9 AS wasted, unknown_cost / 1e9 AS unknown_cost, unknown_calls,
    baseline / 1e9 AS baseline,
    (baseline - answer_cost - classify_cost) / 1e9 AS saved,
    CASE WHEN baseline > 0 THEN round(100.0 * (baseline - answer_cost - classify_cost) / baseline, 2) END AS saved_pct,
    currency, exit_code
FROM figures;

-- The calls that are open are few, and counted as they are.
DROP VIEW tier_summary;
CREATE VIEW tier_summary AS
WITH
called AS (
    SELECT run, tier, model, attempts, input_tokens, output_tokens,
        iif(state = 'unknown', 0, cost_nano) AS cost_nano, iif(state = 'unknown', 0, unpriced) AS unpriced
    FROM attempt_counters WHERE purpose = 'answer'
    UNION ALL
    SELECT run, coalesce(tier, ''), model, 1, 0, 0, 0, 0
    FROM attempts INDEXED BY attempts_open WHERE state = 'open' AND purpose = 'answer'
),
timed AS (
    SELECT run, tier, model, latency_ms, attempts,
        sum(attempts) OVER (PARTITION BY run, tier, model ORDER BY latency_ms) AS up_to,
        sum(attempts) OVER (PARTITION BY run, tier, model) AS measured
    FROM latency_counters
),
latency AS (
    SELECT run, tier, model,
        round(1.0 * sum(latency_ms * attempts) / sum(attempts), 1) AS avg_ms,
        min(CASE WHEN up_to >= 0.95 * measured THEN latency_ms END) AS p95_ms
    FROM timed GROUP BY run, tier, model
)
SELECT
    a.run, a.tier, a.model,
    coalesce(s.records, 0) AS records,
    sum(a.attempts) AS attempts,
    sum(a.input_tokens) AS input_tokens,
    sum(a.output_tokens) AS output_tokens,
    CASE WHEN sum(a.unpriced) = 0 THEN sum(a.cost_nano) / 1e9 END AS cost,
    l.avg_ms AS avg_latency_ms,
    l.p95_ms AS p95_latency_ms
FROM called a
LEFT JOIN result_counters s ON s.run = a.run AND s.tier = a.tier AND s.model = a.model
LEFT JOIN latency l ON l.run = a.run AND l.tier = a.tier AND l.model = a.model
GROUP BY a.run, a.tier, a.model;
