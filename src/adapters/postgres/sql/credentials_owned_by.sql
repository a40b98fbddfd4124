-- Notes whose mirror a team has. $1 int8: team, $2 int8: the owner's number.
UPDATE teams SET owner_uid = $2 WHERE id = $1 AND owner_uid IS DISTINCT FROM $2
