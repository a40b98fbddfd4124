-- The gates of every platform, by the database's clock.
SELECT id, base_url, circuit_state, consecutive_failures, open_until, last_error,
       greatest(extract(epoch FROM next_token_at - clock_timestamp()), 0)::float8 AS throttled_seconds
FROM vz_platforms
ORDER BY id
