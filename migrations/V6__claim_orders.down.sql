DROP INDEX vz_sync_states_put_off, vz_sync_states_scheduled, vz_sync_states_unloaded;
CREATE INDEX vz_sync_states_scheduled ON vz_sync_states (platform_id, due_at) WHERE requested_at IS NULL AND due_at IS NOT NULL;
