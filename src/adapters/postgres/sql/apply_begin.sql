-- The database's clock, before any lock is waited for.
SELECT clock_timestamp() AS at
