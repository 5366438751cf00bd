-- enter(live, rate, ...; member, hold_ms, most, per_minute, cost, ...): lets somebody in who is counted under several names
-- (a key, an address), each with its two keys, its two limits (0: none) and its cost. All agree, or nothing is written.
-- live: who of the name is here, by deadline; each is to be kept (ZADD) before hold_ms are over. A member that is counted
-- already comes again beyond the limit. member '': nobody comes in. rate: when the name's beginnings will all have been paid
-- for, at one each 60000 / per_minute ms (GCRA). cost 0: only asks whether there could be one more.
-- Returns {0}, or {number of the name, 'live' | 'rate', ms until it is worth trying again}.
local member, hold = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local paid = {}

for i = 1, #KEYS / 2 do
  local live, rate = KEYS[2 * i - 1], KEYS[2 * i]
  local most, per_minute, cost = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if per_minute > 0 then
    local after = math.max(now, tonumber(redis.call('GET', rate) or now)) + 60000 / per_minute
    if after - now > 60000 then return {i, 'rate', math.ceil(after - now - 60000)} end
    if cost > 0 then paid[i] = after end
  end
  if member ~= '' and most > 0 then
    redis.call('ZREMRANGEBYSCORE', live, '-inf', now)
    if redis.call('ZCARD', live) >= most and not redis.call('ZSCORE', live, member) then return {i, 'live', hold} end
  end
end

for i = 1, #KEYS / 2 do
  local live, rate, most = KEYS[2 * i - 1], KEYS[2 * i], tonumber(ARGV[3 * i])
  if paid[i] then redis.call('SET', rate, string.format('%.3f', paid[i]), 'PX', math.ceil(paid[i] - now)) end
  if member ~= '' and most > 0 then
    redis.call('ZADD', live, now + hold, member)
    redis.call('PEXPIRE', live, 2 * hold, 'NX')
    redis.call('PEXPIRE', live, 2 * hold, 'GT')
  end
end
return {0}
