-- Adds a team, brings a removed one back, or updates its name and platform.
-- $1 int8: team, $2 text: name, $3 int8: platform, $4 bool: on another platform it is still the same account.
-- The number of another account's owner means nothing.
INSERT INTO teams AS t (id, name, platform_id)
VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, platform_id = excluded.platform_id, deleted_at = NULL,
    owner_uid = CASE WHEN t.platform_id = excluded.platform_id OR $4 THEN t.owner_uid END
