DROP TABLE vz_sync_quarantine, vz_sync_removal_hold_items, vz_sync_removal_holds, job_logs, archived_sites, nodes, environments;
