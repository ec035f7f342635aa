-- `epoch` counts the invocations of a run: each transaction of one compares it, so that no two ever write for a run.
ALTER TABLE runs ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;

-- What was sent in the last minute still counts against the gateway's limits when a process starts.
CREATE INDEX attempts_by_end ON attempts (ended_at) WHERE ended_at IS NOT NULL;
