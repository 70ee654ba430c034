-- Tells the time.
SELECT {schema}.now_us()
