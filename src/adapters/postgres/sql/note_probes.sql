-- Archived sites that were asked for again. One without an answer counts as asked, or it would be asked for ever.
-- $1 int8 team, $2 text[] ids in order, $3 bool[] alive, $4 timestamptz sent.
INSERT INTO archived_site_probes AS p (team_id, id, probed_at, alive)
SELECT $1, m.id, $4, m.alive
FROM unnest($2::text[], $3::bool[]) AS m(id, alive)
JOIN archived_sites a ON a.team_id = $1 AND a.id = m.id
ON CONFLICT (team_id, id) DO UPDATE SET probed_at = excluded.probed_at, alive = excluded.alive
