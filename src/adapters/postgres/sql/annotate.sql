-- What the archive learnt; it neither archives nor un-archives. A probe that gave no answer counts as asked, or it
-- would be asked for ever. $1 int8 team, $2 text[] ids in order, $3 text[] deleted by, $4 timestamptz[] deleted at,
-- $5 bool[] alive, $6 timestamptz sent.
UPDATE archived_sites a
SET deleted_by = coalesce(m.deleted_by, a.deleted_by), deleted_at = coalesce(m.deleted_at, a.deleted_at),
    last_probe_at = $6, last_probe_alive = m.alive
FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::bool[]) AS m(id, deleted_by, deleted_at, alive)
WHERE a.team_id = $1 AND a.id = m.id
