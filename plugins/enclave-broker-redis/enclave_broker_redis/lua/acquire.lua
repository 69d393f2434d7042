-- KEYS: one for each key of the windows. ARGV: the windows.
return {acquire(KEYS, ARGV, 0)}
