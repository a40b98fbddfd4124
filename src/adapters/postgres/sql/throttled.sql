-- Nobody asks this platform before then; a shorter wait never cuts a longer one. $1 int8: platform, $2 float8: seconds.
UPDATE vz_platforms
SET next_token_at = greatest(next_token_at, clock_timestamp() + $2::float8 * interval '1 second')
WHERE id = $1
