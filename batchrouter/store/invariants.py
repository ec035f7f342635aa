"""What must hold between the rows of a database, as queries that give a line of text for each place where it does not.

Each reads its tables once, in the order of their keys, and keeps no more than a run's few totals in memory.
"""

from __future__ import annotations

from batchrouter.core.errors import ExitCode
from batchrouter.core.outcome import ErrorClass

_STOPPED_CODES = ", ".join(str(int(code)) for code in ExitCode if code not in (ExitCode.OK, ExitCode.SOME_FAILED))
_CLASSES_OF_STATE = {
    "ok": ("content_filter", "refusal", "truncated", "empty", "check"),
    "not_sent": ("not_sent", "certificate"),
    "unknown": ("reset", "lost", "crash", "stopped"),
}
_CLASSES_OF_STATE["error"] = tuple(
    name
    for name in ErrorClass
    if name not in ("unsupported", "poison", "refusal", "truncated", "empty", "check")
    and name not in (*_CLASSES_OF_STATE["not_sent"], *_CLASSES_OF_STATE["unknown"])
)
_STATUS_OF_CLASS = {
    "unusable": "= 200",
    "redirect": "BETWEEN 300 AND 399",
    "bad_request": "IN (400, 405, 415, 422)",
    "auth": "IN (401, 403)",
    "credit": "IN (400, 402, 403, 429)",
    "model_unknown": "IN (400, 403, 404, 410)",
    "transient": "IN (408, 409, 425)",
    "size": "IN (400, 413, 422, 429)",
    "overload": "IN (429, 529)",
    "content_filter": "IN (400, 403)",
    "server": "BETWEEN 500 AND 599",
}


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


_CLASS_FITS_STATE = " ".join(
    f"WHEN '{state}' THEN error_class IN ({_quoted(names)})" for state, names in _CLASSES_OF_STATE.items()
)
_STATUS_FITS_CLASS = " ".join(f"WHEN '{name}' THEN status_code {test}" for name, test in _STATUS_OF_CLASS.items())
_ATTEMPT = "'run ' || a.run || ', line ' || a.line || ', attempt ' || a.attempt"
_TIERS = """WITH tiers (run, tier, place) AS MATERIALIZED (
        SELECT run, value, key FROM runs, json_each(iif(json_valid(fixed), fixed, '{}'), '$.tiers'))"""
_WHEN = "[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9].[0-9][0-9][0-9]Z"
_TIMES = (
    ("schema_migrations", "number", "applied_at"),
    ("runs", "run", "started_at"),
    ("runs", "run", "finished_at"),
    ("run_configs", "run", "started_at"),
    ("attempts", "run", "started_at"),
    ("attempts", "run", "ended_at"),
    ("results", "run", "finished_at"),
    ("decision_cache", "line", "decided_at"),
    ("evaluations", "evaluation", "started_at"),
    ("evaluations", "evaluation", "finished_at"),
    ("judgements", "line", "judged_at"),
)

INVARIANTS = {
    "counters agree with the records": """
        SELECT 'run ' || run || ', tier ' || tier || ', ' || state || ': off by ' || sum(n) FROM (
            SELECT run, coalesce(tier, '') AS tier, state, count(*) AS n FROM records GROUP BY 1, 2, 3
            UNION ALL SELECT run, tier, state, -records FROM counters)
        GROUP BY run, tier, state HAVING sum(n) <> 0""",
    "counters of calls agree with the attempts": """
        SELECT 'run ' || run || ', tier ' || tier || ', ' || model || ', ' || purpose || ', ' || state FROM (
            SELECT run, purpose, coalesce(tier, '') AS tier, model, state, 1 AS n, coalesce(input_tokens, 0) AS i,
                coalesce(output_tokens, 0) AS o, coalesce(cost_nano, 0) AS c, cost_nano IS NULL AS u
            FROM attempts WHERE state <> 'open'
            UNION ALL SELECT run, purpose, tier, model, state, -attempts, -input_tokens, -output_tokens, -cost_nano, -unpriced
            FROM attempt_counters)
        GROUP BY run, purpose, tier, model, state HAVING sum(n) <> 0 OR sum(i) <> 0 OR sum(o) <> 0 OR sum(c) <> 0 OR sum(u) <> 0""",
    "counters of worst cases agree with the attempts": """
        SELECT 'run ' || run FROM (
            SELECT run, 1 AS n, cost_nano AS c FROM attempts WHERE cost_source = 'reserved' AND state <> 'unknown'
            UNION ALL SELECT run, -attempts, -cost_nano FROM worst_case_counters)
        GROUP BY run HAVING sum(n) <> 0 OR sum(c) <> 0""",
    "counters of latencies agree with the attempts": """
        SELECT 'run ' || run || ', tier ' || tier || ', ' || model || ', ' || latency_ms || ' ms' FROM (
            SELECT run, coalesce(tier, '') AS tier, model, latency_ms, 1 AS n FROM attempts
            WHERE purpose = 'answer' AND latency_ms IS NOT NULL
            UNION ALL SELECT run, tier, model, latency_ms, -attempts FROM latency_counters)
        GROUP BY run, tier, model, latency_ms HAVING sum(n) <> 0""",
    "counters of results agree with the results": """
        SELECT 'run ' || run || ', tier ' || tier || ', ' || model FROM (
            SELECT s.run, coalesce(s.tier, '') AS tier, coalesce(s.model, '') AS model, 1 AS n, coalesce(a.cost_nano, 0) AS c,
                coalesce(s.baseline_nano, 0) AS b, s.baseline_nano IS NULL AS u
            FROM results s JOIN records r ON r.run = s.run AND r.line = s.line AND r.generation = s.generation
            LEFT JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
            WHERE s.state = 'done'
            UNION ALL SELECT run, tier, model, -records, -cost_nano, -baseline_nano, -no_baseline FROM result_counters)
        GROUP BY run, tier, model HAVING sum(n) <> 0 OR sum(c) <> 0 OR sum(b) <> 0 OR sum(u) <> 0""",
    "each row's run and configuration are there": """
        SELECT "table" || ' refers to a row of ' || parent || ' that is missing' FROM pragma_foreign_key_check""",
    "each run ended as its state says": f"""
        SELECT 'run ' || run FROM runs u WHERE name = '' OR stop_reason = '' OR NOT (input = '-' OR substr(input, 1, 1) = '/') OR (CASE state
            WHEN 'running' THEN exit_code IS NULL AND stop_reason IS NULL AND finished_at IS NULL AND epoch > 0
            WHEN 'finished' THEN exit_code IN (0, 3) AND stop_reason IS NULL AND finished_at IS NOT NULL
                AND intake_state <> 'reading' AND epoch > 0
            ELSE CASE WHEN exit_code IS NULL THEN epoch = 0 OR intake_state = 'reading'
                    OR EXISTS (SELECT 1 FROM records r WHERE r.run = u.run AND r.generation > 1)
                WHEN exit_code IN (0, 3) THEN intake_state = 'reading' AND finished_at IS NOT NULL
                ELSE exit_code IN ({_STOPPED_CODES}) AND finished_at IS NOT NULL AND epoch > 0
                    AND (stop_reason IS NOT NULL OR exit_code = 1) END
            END) IS NOT 1""",
    "finished runs have nothing pending": """
        SELECT 'run ' || u.run FROM runs u WHERE u.state = 'finished'
        AND EXISTS (SELECT 1 FROM records r WHERE r.run = u.run AND r.state = 'queued')""",
    "each start of a run has its configuration, kept when it changes": """
        SELECT 'run ' || u.run FROM runs u LEFT JOIN run_configs c ON c.run = u.run
        GROUP BY u.run HAVING count(c.config) > u.epoch OR (count(c.config) = 0) <> (u.epoch = 0)
        UNION ALL SELECT 'configuration ' || config FROM (
            SELECT config, version, settings, lag(version) OVER before AS version_before, lag(settings) OVER before AS settings_before
            FROM run_configs WINDOW before AS (PARTITION BY run ORDER BY config))
        WHERE version = '' OR (version = version_before AND settings = settings_before)""",
    "every line that was read is a row or was blank": """
        SELECT 'run ' || u.run || ': ' || u.intake_line || ' lines, ' || u.intake_blank || ' blank, '
            || count(r.line) || ' rows' FROM runs u LEFT JOIN records r ON r.run = u.run
        GROUP BY u.run HAVING count(r.line) + u.intake_blank <> u.intake_line OR max(r.line) > u.intake_line
            OR u.intake_blank < 0""",
    "lines stand in the input one behind the other, up to where it was read": """
        SELECT 'run ' || run || ', line ' || line FROM (
            SELECT run, line, "offset", lag("offset", 1, -1) OVER before AS offset_before FROM records
            WINDOW before AS (PARTITION BY run ORDER BY line))
        WHERE line < 1 OR "offset" <= offset_before OR "offset" < line - 1
        UNION ALL SELECT 'run ' || u.run FROM runs u LEFT JOIN records r ON r.run = u.run
        GROUP BY u.run HAVING max(r."offset") > u.intake_offset OR u.intake_offset < 0
            OR u.intake_digest NOT GLOB iif(u.intake_offset = 0, '', replace(hex(zeroblob(32)), '0', '[0-9a-f]'))
            OR (u.intake_offset = 0 AND u.intake_ended = 0) OR (u.intake_line = 0 AND u.intake_offset > 0)""",
    "each record has a digest, an id if it is valid, and as many results as it was done": """
        SELECT 'run ' || r.run || ', line ' || r.line FROM records r
        LEFT JOIN results s ON s.run = r.run AND s.line = r.line
        GROUP BY r.run, r.line HAVING length(r.digest) <> 16 OR (r.state <> 'rejected' AND r.id IS NULL)
            OR (r.state = 'rejected' AND (r.generation <> 1 OR r.task IS NOT NULL OR r.tier IS NOT NULL)) OR r.task = ''
            OR r.generation <> count(s.line) + (r.state = 'queued')""",
    "each ended record has one result of its generation, state and tier, each queued one none": """
        SELECT 'run ' || r.run || ', line ' || r.line FROM records r
        LEFT JOIN results s ON s.run = r.run AND s.line = r.line AND s.generation = r.generation
        WHERE CASE r.state WHEN 'queued' THEN s.line IS NOT NULL ELSE s.state IS NOT r.state OR s.tier IS NOT r.tier END""",
    "each result belongs to a record": """
        SELECT 'run ' || s.run || ', line ' || s.line FROM results s
        LEFT JOIN records r ON r.run = s.run AND r.line = s.line
        WHERE r.line IS NULL OR s.generation > r.generation OR s.generation < 1 OR (r.state = 'rejected') <> (s.state = 'rejected')""",
    "each record has its request, and each request its record": """
        SELECT 'run ' || r.run || ', line ' || r.line FROM records r
        LEFT JOIN requests q ON q.run = r.run AND q.line = r.line
        WHERE (r.state <> 'rejected') <> (q.line IS NOT NULL) OR (r.state = 'queued' AND q.body IS NULL)
        UNION ALL SELECT 'run ' || q.run || ', line ' || q.line FROM requests q
        LEFT JOIN records r ON r.run = q.run AND r.line = q.line WHERE r.line IS NULL
            OR q.prompt_bytes < 0 OR q.images < 0 OR q.choices < 1 OR q.max_output_tokens < 1 OR q.requested_model = ''""",
    "each record is in the tier that was decided, or further up": f"""
        {_TIERS} SELECT 'run ' || r.run || ', line ' || r.line FROM records r
        LEFT JOIN decisions d ON d.run = r.run AND d.line = r.line
        LEFT JOIN tiers decided ON decided.run = r.run AND decided.tier = d.tier
        LEFT JOIN tiers present ON present.run = r.run AND present.tier = r.tier
        WHERE CASE WHEN d.line IS NULL THEN r.tier IS NOT NULL OR r.state IN ('done', 'failed')
            ELSE r.state = 'rejected' OR d.reason = '' OR (d.tier IS NULL) <> (d.router = 'none') OR d.router NOT IN ('rules', 'llm', 'pin', 'none')
                OR (d.router = 'llm') <> (d.origin IS NOT NULL)
                OR (d.tier IS NULL) <> (r.tier IS NULL) OR (d.tier IS NOT NULL AND (present.place >= decided.place) IS NOT 1) END
        UNION ALL SELECT 'run ' || d.run || ', line ' || d.line FROM decisions d
        LEFT JOIN records r ON r.run = d.run AND r.line = d.line WHERE r.line IS NULL""",
    "each result is whole": """
        SELECT 'run ' || s.run || ', line ' || s.line FROM results s
        LEFT JOIN decisions d ON d.run = s.run AND d.line = s.line
        WHERE s.escalated_from IS NOT iif(d.tier IS NOT s.tier, d.tier, NULL) OR (CASE s.state
            WHEN 'done' THEN (s.attempt IS NULL) = (s.reused_run IS NOT NULL) AND s.error_class IS NULL AND s.error IS NULL
            ELSE s.error_class IS NOT NULL AND s.error <> '' AND s.baseline_nano IS NULL END) IS NOT 1
            OR (s.reused_run IS NULL) <> (s.reused_line IS NULL) OR (s.reused_run IS NOT NULL AND s.state <> 'done')
            OR (s.attempt IS NULL AND s.reused_run IS NULL AND (s.model IS NOT NULL OR s.answer IS NOT NULL OR s.finish_reason IS NOT NULL
                OR s.response IS NOT NULL OR s.error_class NOT IN ('rejected', 'unsupported', 'size', 'poison')))
            OR (s.state = 'rejected') <> (s.error_class IS 'rejected')
            OR (s.state = 'rejected' AND (s.tier IS NOT NULL OR s.attempt IS NOT NULL))""",
    "each reused answer is the one of the record that it names": """
        SELECT 'run ' || s.run || ', line ' || s.line FROM results s WHERE s.reused_run IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM results o WHERE o.run = s.reused_run AND o.line = s.reused_line AND o.state = 'done'
                AND o.attempt IS NOT NULL AND o.model = s.model AND (s.response IS NULL OR o.response IS NULL
                    OR (o.answer IS s.answer AND o.response = s.response AND o.finish_reason IS s.finish_reason)))
        UNION ALL SELECT 'what can be given again: run ' || o.run || ', line ' || o.line FROM reusable o
        LEFT JOIN results s ON s.run = o.run AND s.line = o.line AND s.generation = o.generation
        WHERE s.state IS NOT 'done' OR s.attempt IS NULL""",
    "counters of reused answers agree with the results": """
        SELECT 'run ' || run FROM (
            SELECT run, 1 AS n FROM results WHERE reused_run IS NOT NULL UNION ALL SELECT run, -records FROM reuse_counters)
        GROUP BY run HAVING sum(n) <> 0""",
    "each result says what its attempt says": """
        SELECT 'run ' || s.run || ', line ' || s.line FROM results s
        LEFT JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.attempt = s.attempt
        WHERE s.attempt IS NOT NULL AND (a.line IS NULL OR a.generation <> s.generation OR a.tier IS NOT s.tier
            OR a.model IS NOT s.model OR a.ended_at IS NOT s.finished_at OR a.error_class IS NOT s.error_class
            OR coalesce(a.error, '') <> coalesce(s.error, '') OR (s.state = 'done' AND a.state <> 'ok'))""",
    "each good answer is behind a result": """
        SELECT 'run ' || a.run || ', line ' || a.line || ', attempt ' || a.attempt FROM attempts a
        LEFT JOIN results s ON s.run = a.run AND s.line = a.line AND s.attempt = a.attempt
        WHERE a.purpose = 'answer' AND a.state = 'ok' AND a.error_class IS NULL AND s.state IS NOT 'done'""",
    "each failure without an answer of its own has its cause": """
        SELECT 'run ' || s.run || ', line ' || s.line FROM results s
        LEFT JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.generation = s.generation AND a.purpose = 'answer'
        WHERE s.attempt IS NULL AND s.state = 'failed'
        GROUP BY s.run, s.line, s.generation HAVING CASE s.error_class
            WHEN 'poison' THEN total(a.error_class = 'crash') < 3
            ELSE total(a.error_class = 'size' AND a.tier IS s.tier) <> (s.error_class = 'size')
                OR (s.error_class = 'size' AND total(a.error_class = 'size' AND a.tier IS s.tier AND a.error = s.error) <> 1) END""",
    "attempts of a record are numbered from 1 without a gap": """
        SELECT 'run ' || run || ', line ' || line FROM attempts
        GROUP BY run, line HAVING min(attempt) <> 1 OR max(attempt) <> count(*)""",
    "each attempt belongs to a record, and none follows the result of its generation": """
        SELECT 'run ' || a.run || ', line ' || a.line FROM attempts a
        LEFT JOIN records r ON r.run = a.run AND r.line = a.line
        LEFT JOIN results s ON s.run = a.run AND s.line = a.line AND s.generation = a.generation
        WHERE r.line IS NULL OR r.state = 'rejected' OR a.generation > r.generation OR a.generation < 1
            OR (a.purpose <> 'judge' AND (a.attempt > s.attempt OR (a.state = 'open' AND s.line IS NOT NULL)))""",
    "the attempts of a record go up, in generations and tiers": f"""
        {_TIERS} SELECT {_ATTEMPT} FROM (
            SELECT b.*, t.place, d.tier AS decided, lag(b.generation) OVER w AS generation_before, lag(t.place) OVER w AS place_before,
                lag(b.state) OVER w AS state_before
            FROM attempts b LEFT JOIN tiers t ON t.run = b.run AND t.tier = b.tier
            LEFT JOIN decisions d ON d.run = b.run AND d.line = b.line
            WHERE b.purpose = 'answer' WINDOW w AS (PARTITION BY b.run, b.line ORDER BY b.attempt)) a
        LEFT JOIN tiers first ON first.run = a.run AND first.tier = a.decided
        LEFT JOIN records r ON r.run = a.run AND r.line = a.line
        LEFT JOIN tiers last ON last.run = a.run AND last.tier = r.tier
        WHERE a.generation < a.generation_before OR a.state_before = 'open' OR (a.place IS NULL) <> (a.decided IS NULL) OR a.place < first.place
            OR (a.generation = a.generation_before AND a.place < a.place_before)
            OR (a.generation = r.generation AND a.place > last.place)""",
    "each attempt ran under a configuration of its run": f"""
        SELECT {_ATTEMPT} FROM attempts a LEFT JOIN run_configs c ON c.config = a.config WHERE c.run IS NOT a.run""",
    "a model was asked for the tier before the first answer, and once with success where it decided": """
        SELECT 'run ' || run || ', line ' || line FROM (
            SELECT a.run, a.line, max(iif(a.purpose = 'classify', a.attempt, 0)) AS last_question,
                min(iif(a.purpose = 'answer', a.attempt, NULL)) AS first_answer,
                total(a.purpose = 'classify' AND a.state = 'ok') AS replies,
                total(a.purpose = 'classify' AND (a.tier IS NOT NULL OR d.router IN ('rules', 'pin', 'none'))) AS misplaced,
                d.origin FROM attempts a LEFT JOIN decisions d ON d.run = a.run AND d.line = a.line GROUP BY a.run, a.line)
        WHERE last_question > first_answer OR misplaced > 0 OR replies > 1 OR (replies = 1 AND origin NOT IN ('asked', 'fallback'))
        UNION ALL SELECT 'run ' || d.run || ', line ' || d.line FROM decisions d WHERE d.origin = 'asked' AND NOT EXISTS
            (SELECT 1 FROM attempts a WHERE a.run = d.run AND a.line = d.line AND a.purpose = 'classify' AND a.state = 'ok')""",
    "counters of escalations agree with the results and what was spent below": """
        SELECT 'run ' || run || ', from ' || decided || ' to ' || tier FROM (
            SELECT s.run, s.escalated_from AS decided, s.tier, s.state, 1 AS n, 0 AS c, 0 AS u FROM results s
            WHERE s.escalated_from IS NOT NULL
            UNION ALL SELECT s.run, s.escalated_from, s.tier, s.state, 0, coalesce(a.cost_nano, 0), a.cost_nano IS NULL
            FROM results s JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.generation = s.generation
            WHERE s.escalated_from IS NOT NULL AND a.purpose = 'answer' AND a.tier IS NOT s.tier
                AND a.state IN ('ok', 'error', 'not_sent')
            UNION ALL SELECT run, decided, tier, state, -results, -below_nano, -unpriced FROM escalation_counters)
        GROUP BY run, decided, tier, state HAVING sum(n) <> 0 OR sum(c) <> 0 OR sum(u) <> 0""",
    "counters of decisions agree with the decisions": """
        SELECT 'run ' || run || ', ' || origin FROM (
            SELECT run, origin, 1 AS n FROM decisions WHERE origin IS NOT NULL
            UNION ALL SELECT run, origin, -records FROM decision_counters)
        GROUP BY run, origin HAVING sum(n) <> 0""",
    "each remembered decision was made by a model for a record": """
        SELECT 'run ' || c.run || ', line ' || c.line FROM decision_cache c
        LEFT JOIN decisions d ON d.run = c.run AND d.line = c.line
        LEFT JOIN records r ON r.run = c.run AND r.line = c.line
        WHERE d.router IS NOT 'llm' OR d.origin IS NOT 'asked' OR d.tier IS NOT c.tier OR c.task IS NOT r.task
            OR NOT EXISTS (SELECT 1 FROM attempts a WHERE a.run = c.run AND a.line = c.line AND a.purpose = 'classify'
                AND a.state = 'ok' AND a.model = c.model)""",
    "calls are open only while their run is running": """
        SELECT 'run ' || a.run || ', line ' || a.line FROM attempts a JOIN runs u ON u.run = a.run
        WHERE a.state = 'open' AND u.state <> 'running' AND a.purpose <> 'judge'""",
    "each judgement says what its calls and its judge say": """
        SELECT 'evaluation ' || j.evaluation || ', line ' || j.line FROM judgements j
        LEFT JOIN evaluations e ON e.evaluation = j.evaluation
        LEFT JOIN results s ON s.run = j.run AND s.line = j.line AND s.generation = j.generation
        LEFT JOIN attempts a ON a.run = j.run AND a.line = j.line AND a.attempt = j.other_attempt
        WHERE e.run IS NOT j.run OR s.state IS NOT 'done' OR s.tier IS NOT j.tier OR (j.other_attempt IS NULL) <> (j.other_model IS NULL)
            OR (j.other_attempt IS NOT NULL AND (a.purpose IS NOT 'judge' OR a.state IS NOT 'ok' OR a.tier IS NOT j.against_tier
                OR a.model IS NOT j.other_model))
            OR (j.how IS 'judge') <> (j.forward IS NOT NULL AND j.backward IS NOT NULL AND j.verdict IS NOT NULL)
            OR (j.how IS 'judge' AND j.verdict <> CASE WHEN 'none' IN (j.forward, j.backward) THEN 'unjudged'
                WHEN j.forward = 'same' AND j.backward = 'same' THEN 'match'
                WHEN j.forward = 'better' AND j.backward = 'worse' THEN 'better' ELSE 'worse' END)
            OR (j.how IN ('normalised', 'json') AND j.verdict <> 'match')""",
    "each call of a judge is of one evaluation, and each of an evaluation is such a call": """
        SELECT 'run ' || a.run || ', line ' || a.line || ', attempt ' || a.attempt FROM attempts a
        LEFT JOIN evaluation_calls c ON c.run = a.run AND c.line = a.line AND c.attempt = a.attempt
        LEFT JOIN judgements j ON j.evaluation = c.evaluation AND j.run = a.run AND j.line = a.line
        WHERE a.purpose = 'judge' AND j.line IS NULL
        UNION ALL SELECT 'evaluation ' || c.evaluation || ', line ' || c.line || ', attempt ' || c.attempt FROM evaluation_calls c
        LEFT JOIN attempts a ON a.run = c.run AND a.line = c.line AND a.attempt = c.attempt WHERE a.purpose IS NOT 'judge'""",
    "each evaluation ended when all of its sample was judged": """
        SELECT 'evaluation ' || e.evaluation FROM evaluations e LEFT JOIN judgements j ON j.evaluation = e.evaluation
        GROUP BY e.evaluation HAVING count(j.line) <> min(e.sample, e.population)
            OR e.finished_at < e.started_at OR e.finished_at < max(j.judged_at) OR min(j.judged_at) < e.started_at
            OR (e.finished_at IS NOT NULL AND count(j.verdict) <> count(j.line))""",
    "each open attempt says nothing yet, each ended one says how": f"""
        SELECT {_ATTEMPT} FROM attempts a WHERE a.reserved_nano < 0 OR a.output_cap < 1
            OR '' IN (coalesce(error, '-'), coalesce(model_served, '-'), coalesce(response_id, '-')) OR (CASE WHEN a.state = 'open'
            THEN coalesce(status_code, error_class, error, cost_nano, cost_source, latency_ms, input_tokens, cached_tokens,
                output_tokens, reasoning_tokens, cache_write_tokens, model_served, response_id) IS NULL
            ELSE (error_class IS NULL) = (error IS NULL) AND cost_source IS NOT NULL AND (cost_nano >= 0) IS NOT 0
                AND CASE WHEN error_class IS NULL THEN state = 'ok' ELSE CASE state {_CLASS_FITS_STATE} END END
                AND (state = 'ok' OR (model_served IS NULL AND response_id IS NULL)) END) IS NOT 1""",
    "each status is one of its error": f"""
        SELECT {_ATTEMPT} FROM attempts a WHERE (CASE WHEN state IN ('open', 'not_sent', 'unknown') THEN status_code IS NULL
            WHEN state = 'ok' THEN status_code = 200
            WHEN status_code IS NULL THEN error_class = 'bad_request' AND input_tokens IS NULL
            ELSE CASE error_class {_STATUS_FITS_CLASS} ELSE status_code NOT BETWEEN 200 AND 399 END END) IS NOT 1
            OR latency_ms < 0 OR (latency_ms IS NOT NULL AND error_class IN ('crash', 'stopped'))""",
    "token counts are all there or none, and fit": f"""
        SELECT {_ATTEMPT} FROM attempts a WHERE (CASE WHEN input_tokens IS NULL OR state IN ('not_sent', 'unknown')
            THEN coalesce(input_tokens, cached_tokens, output_tokens, reasoning_tokens, cache_write_tokens) IS NULL
            ELSE cached_tokens >= 0 AND cache_write_tokens >= 0 AND input_tokens >= cached_tokens + cache_write_tokens
                AND reasoning_tokens >= 0 AND output_tokens >= reasoning_tokens END) IS NOT 1""",
    "the costs of the answers add up to the run's answer cost": """
        SELECT 'run ' || u.run FROM runs u WHERE
            (SELECT coalesce(sum(cost_nano), 0) FROM answers a WHERE a.run = u.run) <>
            (SELECT coalesce(sum(cost_nano), 0) FROM attempts a WHERE a.run = u.run AND a.purpose = 'answer'
                AND a.state IN ('ok', 'error', 'not_sent'))""",
    "each time is one": " UNION ALL ".join(
        f"SELECT '{table} {key} ' || {key} || ', {column}' FROM {table} WHERE {column} NOT GLOB '{_WHEN}'"
        for table, key, column in _TIMES
    ),
}

TIMES_IN_ORDER = """
    SELECT 'run ' || c.run || ', configuration ' || c.config FROM run_configs c JOIN runs u ON u.run = c.run
    WHERE c.started_at < u.started_at
    UNION ALL SELECT 'run ' || a.run || ', line ' || a.line || ', attempt ' || a.attempt FROM attempts a
    JOIN run_configs c ON c.config = a.config JOIN runs u ON u.run = a.run
    WHERE a.started_at < c.started_at OR a.ended_at < a.started_at OR (a.purpose <> 'judge' AND a.ended_at > u.finished_at)
    UNION ALL SELECT 'run ' || s.run || ', line ' || s.line FROM results s JOIN runs u ON u.run = s.run
    WHERE s.finished_at < u.started_at OR s.finished_at > u.finished_at
    UNION ALL SELECT 'run ' || run FROM runs WHERE finished_at < started_at"""
"""A clock that was set back breaks it too, so it is a warning."""
