SELECT (SELECT count(*) FROM environments WHERE NOT stale) + (SELECT count(*) FROM nodes WHERE NOT stale)
