-- Teams that were removed long enough ago. $1 float8: seconds that their rows are kept.
SELECT id FROM teams WHERE deleted_at <= now() - $1::float8 * interval '1 second' ORDER BY id
