-- Other processes notice by themselves that the file has changed.
SELECT ?1, ?2 WHERE false
