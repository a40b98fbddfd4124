-- What a bench must not touch: teams that it has not made, and a service that runs.
SELECT (SELECT count(*) FROM teams WHERE name <> 'Team ' || id) AS teams,
       (SELECT count(*) FROM replicas WHERE stopping_at IS NULL AND heartbeat_at > now() - interval '15 seconds') AS replicas
