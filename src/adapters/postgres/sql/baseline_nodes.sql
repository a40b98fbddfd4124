-- $1 int8 team.
SELECT id, source_version, raw_version, fence, NULL::bytea AS outline_version, environment_id AS parent, NULL::text AS env_name,
       status, missing_since, stale, needs_validation, held, quarantined
FROM nodes WHERE team_id = $1
