-- issue(listing, key; digest, value, life_s, most): keeps an ephemeral key for so long, unless its owner has `most` already.
-- listing: digests of the owner's, by when they expire (ms of the server).
-- Returns 0, or ms until the first of them expires.
local listing, key = KEYS[1], KEYS[2]
local life_ms = ARGV[3] * 1000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', listing, '-inf', now)
if redis.call('ZCARD', listing) >= tonumber(ARGV[4]) then
  return math.max(1, redis.call('ZRANGE', listing, 0, 0, 'WITHSCORES')[2] - now)
end
redis.call('SET', key, ARGV[2], 'PX', life_ms)
redis.call('ZADD', listing, now + life_ms, ARGV[1])
redis.call('PEXPIRE', listing, life_ms, 'NX')
redis.call('PEXPIRE', listing, life_ms, 'GT')
return 0
