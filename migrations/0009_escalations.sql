-- Results of records that went up, as they are written: how many from where to where, and what was spent on the way in vain.
CREATE TABLE escalation_counters (
    run         INTEGER NOT NULL REFERENCES runs (run),
    decided     TEXT NOT NULL,                                      -- the tier that its router chose
    tier        TEXT NOT NULL,                                      -- where it ended
    state       TEXT NOT NULL CHECK (state IN ('done', 'failed')),
    results     INTEGER NOT NULL,                                   -- each time that a record was done counts
    below_nano  INTEGER NOT NULL,                                   -- known costs of its answer attempts on other tiers
    unpriced    INTEGER NOT NULL,                                   -- how many of those cost nobody knows what
    PRIMARY KEY (run, decided, tier, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER results_escalated AFTER INSERT ON results WHEN NEW.escalated_from IS NOT NULL BEGIN
    INSERT INTO escalation_counters
    SELECT NEW.run, NEW.escalated_from, NEW.tier, NEW.state, 1, coalesce(sum(a.cost_nano), 0),
        coalesce(sum(a.line IS NOT NULL AND a.cost_nano IS NULL), 0)
    FROM (SELECT 1) LEFT JOIN attempts a ON a.run = NEW.run AND a.line = NEW.line AND a.generation = NEW.generation
        AND a.purpose = 'answer' AND a.tier IS NOT NEW.tier AND a.state IN ('ok', 'error', 'not_sent')
    WHERE true
    ON CONFLICT DO UPDATE SET
        results = results + 1,
        below_nano = below_nano + excluded.below_nano,
        unpriced = unpriced + excluded.unpriced;
END;

INSERT INTO escalation_counters
SELECT s.run, s.escalated_from, s.tier, s.state, count(DISTINCT s.line || ' ' || s.generation), coalesce(sum(a.cost_nano), 0),
    coalesce(sum(a.line IS NOT NULL AND a.cost_nano IS NULL), 0)
FROM results s LEFT JOIN attempts a ON a.run = s.run AND a.line = s.line AND a.generation = s.generation
    AND a.purpose = 'answer' AND a.tier IS NOT s.tier AND a.state IN ('ok', 'error', 'not_sent')
WHERE s.escalated_from IS NOT NULL GROUP BY 1, 2, 3, 4;
