DROP TABLE team_event_counters, team_settings, team_credentials, teams, rollout, freshness_defaults, installation, replicas, vz_platforms;
DROP FUNCTION vz_key_changed(), vz_rollout_changed(), vz_settings_enter(), vz_is_in_rollout(bigint, text[]);
