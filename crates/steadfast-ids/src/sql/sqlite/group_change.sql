-- Gives a group another layout, whose ids say no time before ?3. By key.
UPDATE steadfast_id_group SET layout = ?2, floor_ms = max(floor_ms, ?3) WHERE name = ?1
