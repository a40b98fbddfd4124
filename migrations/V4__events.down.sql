DROP TABLE sse_tickets, idempotency_keys, sync_staging, sync_outbox_relay, sync_outbox, resource_changes;
DROP FUNCTION vz_drop_change_partitions(timestamptz), vz_ensure_change_partitions(timestamptz);
