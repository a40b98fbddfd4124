-- KEYS due, payload; ARGV seconds to live, then member, score and payload of each entry.
for i = 2, #ARGV, 3 do
  local member, score, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  -- A member whose payload was evicted starts anew. A missing score is false here, not nil. Nothing may be
  -- written for nothing: a full server refuses a script only until it has written.
  if redis.call('HEXISTS', KEYS[2], member) == 0 and redis.call('ZSCORE', KEYS[1], member) then
    redis.call('ZREM', KEYS[1], member)
  end
  if redis.call('ZADD', KEYS[1], 'LT', 'CH', score, member) == 1 then
    redis.call('HSET', KEYS[2], member, body)
  end
end
live(ARGV[1])
return 0
