-- KEYS due, inflight, payload, bad; ARGV seconds to live, lowest score, score above the highest, limit,
-- lease in ms. Gives member and payload of each popped entry in turn; a missing payload is empty.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  put_back(KEYS[1], KEYS[2], KEYS[3], KEYS[4], member)
end
local popped = {}
local found = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], '(' .. ARGV[3], 'WITHSCORES', 'LIMIT', 0, ARGV[4])
for i = 1, #found, 2 do
  local member, score = found[i], found[i + 1]
  -- A field that is missing is false here, not nil.
  local body = redis.call('HGET', KEYS[3], member) or ''
  redis.call('ZREM', KEYS[1], member)
  redis.call('HDEL', KEYS[3], member)
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[5]), member)
  redis.call('HSET', KEYS[3], 'inflight:' .. member, score .. ' ' .. body)
  popped[#popped + 1] = member
  popped[#popped + 1] = body
end
live(ARGV[1])
return popped
