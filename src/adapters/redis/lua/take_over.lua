-- KEYS lock; ARGV dead owner, new owner, ms to live. A missing lock is false here, and nobody's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
