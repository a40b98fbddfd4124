-- A complete listing has shown every element: what it did not refuse is no longer refused, but for rows that are
-- served in the place of a form that failed.
-- $1 int8 team, $2 text data type, $3 text[] ids refused by this listing.
DELETE FROM vz_sync_quarantine q
WHERE q.team_id = $1 AND q.data_type = $2 AND q.external_id <> ALL ($3::text[]) {still}
