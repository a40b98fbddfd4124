-- Keeps the answer to an idempotency key, with the trigger it answers.
-- $1 int8 team, $2 text key, $3 bytea hash of the body, $4 jsonb answer.
INSERT INTO idempotency_keys AS k (team_id, key, body_hash, status_code, response)
VALUES ($1, $2, $3, 202, $4)
ON CONFLICT (team_id, key) DO UPDATE
SET body_hash = excluded.body_hash, status_code = excluded.status_code, response = excluded.response, created_at = now()
