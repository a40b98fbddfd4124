-- $1 int8 team.
SELECT id, source_version, raw_version, fence, outline_version, NULL::text AS parent, env_name, status,
       missing_since, stale, needs_validation, held, quarantined
FROM environments WHERE team_id = $1
