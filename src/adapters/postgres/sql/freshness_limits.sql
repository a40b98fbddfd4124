-- The age limits of the configuration, where they differ. $1 text[]: tables, $2 int4[]: seconds.
UPDATE freshness_defaults f
SET max_allowed_staleness_seconds = n.seconds
FROM unnest($1::text[], $2::int4[]) AS n (data_type, seconds)
WHERE f.data_type = n.data_type AND f.max_allowed_staleness_seconds <> n.seconds
