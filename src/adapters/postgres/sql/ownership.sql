-- Whether anybody is mirrored, and the installation's key as it is sealed.
SELECT EXISTS (SELECT FROM teams) AS has_teams, (SELECT raw_version_key_sealed FROM installation) AS sealed
