-- KEYS due, inflight, payload, bad; ARGV seconds to live, then members.
for i = 2, #ARGV do
  put_back(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[i])
end
live(ARGV[1])
return 0
