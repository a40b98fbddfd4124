COMMENT ON COLUMN rollout.enabled IS 'The pipeline as a whole (ENABLE_VZ_SYNC_PIPELINE); false claims nothing.';
