-- Gives a group another layout, whose ids say no time before $3. By key.
UPDATE {schema}.id_group SET layout = $2, floor_ms = greatest(floor_ms, $3) WHERE name = $1
