-- What the history told of archived sites; it neither archives nor un-archives.
-- $1 int8 team, $2 text[] ids in order, $3 text[] deleted by, $4 timestamptz[] deleted at.
UPDATE archived_sites a
SET deleted_by = coalesce(m.deleted_by, a.deleted_by), deleted_at = coalesce(m.deleted_at, a.deleted_at)
FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS m(id, deleted_by, deleted_at)
WHERE a.team_id = $1 AND a.id = m.id
