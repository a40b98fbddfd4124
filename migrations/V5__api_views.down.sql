DROP VIEW vz_api.sync_status_v1, vz_api.job_logs_v1, vz_api.archived_sites_v1, vz_api.nodes_v1, vz_api.environments_v1;
DROP SCHEMA vz_api;
