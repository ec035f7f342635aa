-- Limits of gateways that nobody configured, as the calls of a run found them: JSON, model -> rpm, tpm, concurrency.
ALTER TABLE runs ADD COLUMN found_limits TEXT;
