-- The views that users query; their columns are stable.

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
    (SELECT sum(a.cost_nano) FROM attempts a
      WHERE a.run = r.run AND a.line = r.line AND a.purpose = 'answer' AND a.state IN ('ok', 'error', 'not_sent')) / 1e9 AS cost,
    (SELECT sum(a.cost_nano) FROM attempts a
      WHERE a.run = r.run AND a.line = r.line AND a.purpose = 'answer' AND a.state IN ('ok', 'error', 'not_sent')) AS cost_nano,
    u.currency,
    (SELECT count(*) FROM attempts a WHERE a.run = r.run AND a.line = r.line AND a.purpose = 'answer') AS attempts,
    s.escalated_from,
    d.reason AS route_reason,
    f.latency_ms,
    s.error,
    s.finished_at,
    q.body AS request,
    s.response,
    q.metadata
FROM records r
JOIN runs u ON u.run = r.run
LEFT JOIN results s ON s.run = r.run AND s.line = r.line AND s.generation = r.generation
LEFT JOIN attempts f ON f.run = r.run AND f.line = r.line AND f.attempt = s.attempt
LEFT JOIN decisions d ON d.run = r.run AND d.line = r.line
LEFT JOIN requests q ON q.run = r.run AND q.line = r.line;

-- `wasted` is what answer attempts cost that are not behind the latest result of a record that is done.
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
        sum(CASE WHEN state IN ('ok', 'error', 'not_sent') THEN cost_nano ELSE 0 END) AS cost,
        sum(CASE WHEN state IN ('ok', 'error', 'not_sent') AND purpose = 'answer' THEN cost_nano ELSE 0 END) AS answer_cost,
        sum(CASE WHEN state IN ('ok', 'error', 'not_sent') AND purpose = 'classify' THEN cost_nano ELSE 0 END) AS classify_cost,
        sum(CASE WHEN state IN ('ok', 'error', 'not_sent') AND purpose = 'judge' THEN cost_nano ELSE 0 END) AS judge_cost,
        sum(CASE WHEN state IN ('ok', 'error', 'not_sent') AND cost_nano IS NULL THEN 1 ELSE 0 END) AS unpriced,
        sum(CASE WHEN state = 'unknown' THEN cost_nano ELSE 0 END) AS unknown_cost,
        sum(CASE WHEN state = 'unknown' AND cost_nano IS NULL THEN 1 ELSE 0 END) AS unknown_unpriced,
        sum(CASE WHEN state = 'unknown' THEN 1 ELSE 0 END) AS unknown_calls
    FROM attempts GROUP BY run
),
finals AS (
    SELECT r.run,
        sum(s.baseline_nano) AS baseline,
        sum(s.baseline_nano IS NULL) AS no_baseline,
        sum(a.cost_nano) AS final_cost
    FROM records r
    JOIN results s ON s.run = r.run AND s.line = r.line AND s.generation = r.generation
    LEFT JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
    WHERE r.state = 'done'
    GROUP BY r.run
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

CREATE VIEW tier_summary AS
WITH
ranked AS (
    SELECT run, coalesce(tier, '') AS tier, model, input_tokens, output_tokens, latency_ms, cost_nano, state, line, attempt,
        row_number() OVER (PARTITION BY run, tier, model ORDER BY latency_ms) - sum(latency_ms IS NULL) OVER (PARTITION BY run, tier, model) AS place,
        count(latency_ms) OVER (PARTITION BY run, tier, model) AS measured
    FROM attempts WHERE purpose = 'answer'
)
SELECT
    a.run, a.tier, a.model,
    count(s.line) AS records,
    count(*) AS attempts,
    coalesce(sum(a.input_tokens), 0) AS input_tokens,
    coalesce(sum(a.output_tokens), 0) AS output_tokens,
    CASE WHEN sum(a.state IN ('ok', 'error', 'not_sent') AND a.cost_nano IS NULL) = 0
         THEN sum(CASE WHEN a.state IN ('ok', 'error', 'not_sent') THEN a.cost_nano ELSE 0 END) / 1e9 END AS cost,
    round(avg(a.latency_ms), 1) AS avg_latency_ms,
    min(CASE WHEN a.place >= 0.95 * a.measured AND a.place > 0 THEN a.latency_ms END) AS p95_latency_ms
FROM ranked a
LEFT JOIN results s ON s.run = a.run AND s.line = a.line AND s.attempt = a.attempt AND s.state = 'done'
    AND s.generation = (SELECT generation FROM records r WHERE r.run = a.run AND r.line = a.line)
GROUP BY a.run, a.tier, a.model;

CREATE VIEW daily_cost AS
SELECT
    substr(a.started_at, 1, 10) AS day,
    a.gateway, a.model, a.purpose,
    count(*) AS attempts,
    coalesce(sum(a.input_tokens), 0) AS input_tokens,
    coalesce(sum(a.cached_tokens), 0) AS cached_tokens,
    coalesce(sum(a.output_tokens), 0) AS output_tokens,
    coalesce(sum(a.reasoning_tokens), 0) AS reasoning_tokens,
    CASE WHEN count(*) = count(a.cost_nano) THEN sum(a.cost_nano) / 1e9 END AS cost,
    u.currency,
    a.cost_source
FROM attempts a
JOIN runs u ON u.run = a.run
WHERE a.state IN ('ok', 'error', 'not_sent')
GROUP BY day, a.gateway, a.model, a.purpose, u.currency, a.cost_source;
