-- One index for each kind of claim instead of one for all that nobody asked for: the claim takes no more of a kind than
-- there is room for. A backlog of one kind must not be read to find the few due states of another, and what was put
-- off for a moment must not stand behind it.
DROP INDEX vz_sync_states_scheduled;
CREATE INDEX vz_sync_states_put_off ON vz_sync_states (platform_id, due_at)
    WHERE requested_at IS NULL AND not_before IS NOT NULL AND due_at IS NOT NULL;
CREATE INDEX vz_sync_states_scheduled ON vz_sync_states (platform_id, due_at)
    WHERE requested_at IS NULL AND not_before IS NULL AND last_success_at IS NOT NULL AND due_at IS NOT NULL;
CREATE INDEX vz_sync_states_unloaded ON vz_sync_states (platform_id, due_at)
    WHERE requested_at IS NULL AND not_before IS NULL AND last_success_at IS NULL AND due_at IS NOT NULL;
