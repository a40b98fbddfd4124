-- KEYS inflight, payload; ARGV seconds to live, then members.
for i = 2, #ARGV do
  redis.call('ZREM', KEYS[1], ARGV[i])
  redis.call('HDEL', KEYS[2], 'inflight:' .. ARGV[i])
end
live(ARGV[1])
return 0
