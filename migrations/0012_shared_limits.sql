-- When found_limits was noted, by which the next start judges whether it begins with them; and which models share a
-- limit of their account: JSON, a list of lists of models.
ALTER TABLE runs ADD COLUMN found_at TEXT;
ALTER TABLE runs ADD COLUMN shared_limits TEXT;
