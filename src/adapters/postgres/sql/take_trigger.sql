-- Notes what is left in the team's bucket of triggers. $1 int8 team, $2 float8 tokens.
UPDATE team_settings SET trigger_tokens = $2::float8::real, trigger_refilled_at = clock_timestamp() WHERE team_id = $1
