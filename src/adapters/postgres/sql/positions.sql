-- Queued jobs of all teams that go before these. $1 int8[] jobs.
SELECT ours.id, (
    SELECT count(*) FROM vz_sync_jobs o
    WHERE o.state = 'queued' AND o.id <> ours.id
      AND (o.class > ours.class OR (o.class = ours.class AND (o.deadline, o.id) < (ours.deadline, ours.id)))) AS position
FROM vz_sync_jobs ours
WHERE ours.id = ANY ($1::int8[])
