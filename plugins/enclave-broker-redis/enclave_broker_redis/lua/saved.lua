-- KEYS: session, answers, saved state.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
return {redis.call('GET', KEYS[3]), redis.call('HGETALL', KEYS[2])}
