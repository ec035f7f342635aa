-- An invoice is compared with what was billed: calls to the demo gateway are left out.
DROP VIEW daily_cost;
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
WHERE a.state IN ('ok', 'error', 'not_sent') AND u.demo = 0
GROUP BY day, a.gateway, a.model, a.purpose, u.currency, a.cost_source;
