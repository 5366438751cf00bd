-- issue(listing, key; digest, value, life_s, most, most_bytes): keeps an ephemeral key for so long, unless its owner has `most`
-- already, or they would take more than most_bytes together.
-- listing: 'digest:bytes' of the owner's, by when they expire (ms of the server).
-- Returns 0, or ms until the first of them expires.
local listing, key = KEYS[1], KEYS[2]
local value, life_ms, most, most_bytes = ARGV[2], ARGV[3] * 1000, tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', listing, '-inf', now)
local held = redis.call('ZRANGE', listing, 0, -1, 'WITHSCORES')
local bytes = #value
for i = 1, #held, 2 do bytes = bytes + tonumber(string.match(held[i], ':(%d+)$')) end
if #held / 2 >= most or (bytes > most_bytes and #held > 0) then return math.max(1, held[2] - now) end
redis.call('SET', key, value, 'PX', life_ms)
redis.call('ZADD', listing, now + life_ms, ARGV[1] .. ':' .. #value)
redis.call('PEXPIRE', listing, life_ms, 'NX')
redis.call('PEXPIRE', listing, life_ms, 'GT')
return 0
