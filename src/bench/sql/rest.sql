-- Only environments are measured, and nothing of them is due until a phase says so.
UPDATE vz_sync_states
SET enabled = scope = 'environments',
    next_full_at = statement_timestamp() + interval '7 days', next_delta_at = statement_timestamp() + interval '7 days'
