-- enter(live, rate, ...; member, hold_ms, counts, most, per_minute, ...): lets somebody in who is counted under several names
-- (a key, an address), each with its two keys and its two limits; 0: no limit. All of them agree, or nothing is written.
-- live: who of the name is here, by deadline; each is to be kept (ZADD) before hold_ms are over. rate: when the name's
-- beginnings will all have been paid for, at one each 60000 / per_minute ms (GCRA).
-- counts = 'start': both limits; 'try': the rate alone, nobody comes in; 'return': neither, but it is here.
-- Returns {0}, or {number of the name, 'live' | 'rate', ms until it is worth trying again}.
local member, hold, counts = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local paid = {}

for i = 1, #KEYS / 2 do
  local live, rate = KEYS[2 * i - 1], KEYS[2 * i]
  local most, per_minute = tonumber(ARGV[2 + 2 * i]), tonumber(ARGV[3 + 2 * i])
  if counts ~= 'return' and per_minute > 0 then
    local each = 60000 / per_minute
    paid[i] = math.max(now, tonumber(redis.call('GET', rate) or now)) + each
    if paid[i] - now > 60000 then return {i, 'rate', math.ceil(paid[i] - now - 60000)} end
  end
  if counts == 'start' and most > 0 then
    redis.call('ZREMRANGEBYSCORE', live, '-inf', now)
    if redis.call('ZCARD', live) >= most then return {i, 'live', hold} end
  end
end

for i = 1, #KEYS / 2 do
  local live, rate, most = KEYS[2 * i - 1], KEYS[2 * i], tonumber(ARGV[2 + 2 * i])
  if paid[i] then redis.call('SET', rate, string.format('%.3f', paid[i]), 'PX', math.ceil(paid[i] - now)) end
  if counts ~= 'try' and most > 0 then
    redis.call('ZADD', live, now + hold, member)
    redis.call('PEXPIRE', live, 2 * hold)
  end
end
return {0}
