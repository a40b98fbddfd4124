-- Drops the partitions that hold nothing but old change rows. $1 float8: seconds that change rows are kept.
SELECT count(*) AS n FROM vz_drop_change_partitions(now() - $1::float8 * interval '1 second')
