-- Costs that nobody told: calls that were answered without usage are charged at the worst case that was reserved for them.
CREATE TABLE worst_case_counters (                                  -- of calls inside the cost; lost ones stand apart from it
    run        INTEGER PRIMARY KEY REFERENCES runs (run),
    attempts   INTEGER NOT NULL CHECK (attempts > 0),
    cost_nano  INTEGER NOT NULL CHECK (cost_nano >= 0)
) STRICT;

CREATE TRIGGER attempts_at_worst_case AFTER UPDATE OF state ON attempts
WHEN OLD.state = 'open' AND NEW.cost_source = 'reserved' AND NEW.state <> 'unknown' BEGIN
    INSERT INTO worst_case_counters VALUES (NEW.run, 1, NEW.cost_nano)
    ON CONFLICT DO UPDATE SET attempts = attempts + 1, cost_nano = cost_nano + excluded.cost_nano;
END;

INSERT INTO worst_case_counters
SELECT run, count(*), sum(cost_nano) FROM attempts
WHERE cost_source = 'reserved' AND state NOT IN ('open', 'unknown') GROUP BY run;
