-- KEYS inflight, payload, bad; ARGV seconds to live, then members that are in flight and cannot be read.
for i = 2, #ARGV do
  local member = ARGV[i]
  local field = 'inflight:' .. member
  if redis.call('ZREM', KEYS[1], member) == 1 then
    -- Score and payload as they were found, for whoever looks into it.
    redis.call('HSET', KEYS[3], member, redis.call('HGET', KEYS[2], field) or '')
    redis.call('HDEL', KEYS[2], field)
  end
end
live(ARGV[1])
return 0
