-- A process has a switch of its own now, ENABLE_VZ_SYNC_PIPELINE, read at every start: the one in the rollout is that of
-- all processes at once. One that nobody but configuration ever set stood for the first process's own.

UPDATE rollout SET enabled = true WHERE NOT enabled AND updated_by IS NULL AND updated_at = seeded_at;
COMMENT ON COLUMN rollout.enabled IS 'The switch of all processes at once, besides the one that each has of its own (ENABLE_VZ_SYNC_PIPELINE); false claims nothing.';
