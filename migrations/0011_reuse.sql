-- Answers that identical requests are given again: whose answer a result is, and what can be given again.
ALTER TABLE results ADD COLUMN reused_run INTEGER;                  -- of the record whose answer it is
ALTER TABLE results ADD COLUMN reused_line INTEGER;

CREATE TABLE reusable (                                             -- of runs with [run] reuse
    digest      BLOB PRIMARY KEY CHECK (length(digest) = 16),       -- of what was sent, and to which models
    run         INTEGER NOT NULL REFERENCES runs (run),
    line        INTEGER NOT NULL,
    generation  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reuse_counters (
    run        INTEGER PRIMARY KEY REFERENCES runs (run),
    records    INTEGER NOT NULL,
    cost_nano  INTEGER NOT NULL CHECK (cost_nano >= 0),             -- what the answers cost when they were asked for
    unpriced   INTEGER NOT NULL CHECK (unpriced >= 0)               -- how many cost nobody knows what
) STRICT;

CREATE TRIGGER results_reused AFTER INSERT ON results WHEN NEW.reused_run IS NOT NULL BEGIN
    INSERT INTO reuse_counters
    SELECT NEW.run, 1, coalesce(a.cost_nano, 0), a.cost_nano IS NULL FROM (SELECT 1)
    LEFT JOIN results s ON s.run = NEW.reused_run AND s.line = NEW.reused_line AND s.state = 'done' AND s.attempt IS NOT NULL
        AND s.generation = (SELECT max(o.generation) FROM results o
            WHERE o.run = NEW.reused_run AND o.line = NEW.reused_line AND o.state = 'done' AND o.attempt IS NOT NULL)
    LEFT JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
    WHERE true
    ON CONFLICT DO UPDATE SET
        records = records + 1,
        cost_nano = cost_nano + excluded.cost_nano,
        unpriced = unpriced + excluded.unpriced;
END;

DROP VIEW answers;
CREATE VIEW answers AS
SELECT
    r.run,
    u.name,
    r.line,
    r.id,
    r.task,
    CASE r.state WHEN 'queued' THEN 'pending' ELSE r.state END AS status,
    r.tier,
    s.model,
    s.answer,
    s.finish_reason,
    f.input_tokens,
    f.cached_tokens,
    f.output_tokens,
    f.reasoning_tokens,
    coalesce((SELECT sum(a.cost_nano) FROM attempts a
      WHERE a.run = r.run AND a.line = r.line AND a.purpose = 'answer' AND a.state IN ('ok', 'error', 'not_sent')),
      iif(s.reused_run IS NOT NULL, 0, NULL)) / 1e9 AS cost,
    coalesce((SELECT sum(a.cost_nano) FROM attempts a
      WHERE a.run = r.run AND a.line = r.line AND a.purpose = 'answer' AND a.state IN ('ok', 'error', 'not_sent')),
      iif(s.reused_run IS NOT NULL, 0, NULL)) AS cost_nano,
    u.currency,
    (SELECT count(*) FROM attempts a WHERE a.run = r.run AND a.line = r.line AND a.purpose = 'answer') AS attempts,
    s.escalated_from,
    d.reason AS route_reason,
    f.latency_ms,
    s.error,
    s.finished_at,
    q.body AS request,
    s.response,
    q.metadata,
    s.reused_run,
    s.reused_line
FROM records r
JOIN runs u ON u.run = r.run
LEFT JOIN results s ON s.run = r.run AND s.line = r.line AND s.generation = r.generation
LEFT JOIN attempts f ON f.run = r.run AND f.line = r.line AND f.attempt = s.attempt
LEFT JOIN decisions d ON d.run = r.run AND d.line = r.line
LEFT JOIN requests q ON q.run = r.run AND q.line = r.line;
