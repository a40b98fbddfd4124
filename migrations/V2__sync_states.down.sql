DROP TRIGGER teams_moved ON teams;
DROP TRIGGER team_settings_admission ON team_settings;
DROP TABLE vz_sync_data_types, vz_sync_jobs, vz_sync_states;
DROP FUNCTION vz_team_moved(), vz_settings_changed(), vz_state_enter();
