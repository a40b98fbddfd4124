-- Moves one member from in flight back to the waiting, where the better score wins, payload and all.
-- A member whose payload is gone or makes no sense can only be set aside.
local function put_back(due, inflight, payload, bad, member)
  if redis.call('ZREM', inflight, member) == 0 then
    return
  end
  local field = 'inflight:' .. member
  -- A field that is missing is false here, not nil.
  local kept = redis.call('HGET', payload, field) or ''
  redis.call('HDEL', payload, field)
  local score, body = string.match(kept, '^(%d+) (.+)$')
  if not score then
    redis.call('HSET', bad, member, kept)
  elseif redis.call('ZADD', due, 'LT', 'CH', score, member) == 1 then
    redis.call('HSET', payload, member, body)
  end
end

-- The life of a key is that of the queue: what nobody touches for a day is gone, and Postgres fills it again.
local function live(seconds)
  for _, key in ipairs(KEYS) do
    redis.call('EXPIRE', key, seconds)
  end
end

