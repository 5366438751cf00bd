-- reserve(held, line, alive; sid, room, hold_ms, wait_ms, most, first): a place for a session, or one in the line.
-- room: places there are. first = '1': a session that goes on comes before those that are new, and the line takes it in any
-- case. What it had it keeps. Called again by who waits, before wait_ms are over, or its place in the line is forgotten.
-- Returns 0 it has a place, n > 0 it is the n-th in the line, -1 the line has its `most` already.
local held, line, alive = KEYS[1], KEYS[2], KEYS[3]
local sid, room, hold, wait, most, first = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)

redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', now)) do
  redis.call('ZREM', line, gone)
  redis.call('ZREM', alive, gone)
end

if not redis.call('ZSCORE', held, sid) then
  local arrived = redis.call('ZSCORE', line, sid)
  -- those that go on are sorted as if they had come ten years earlier
  local score = arrived or string.format('%.0f', first == '1' and micros - 3e14 or micros)
  local before = redis.call('ZCOUNT', line, '-inf', '(' .. score)
  if before >= room - redis.call('ZCARD', held) then
    if not arrived then
      if first ~= '1' and redis.call('ZCARD', line) >= most then return -1 end
      redis.call('ZADD', line, score, sid)
    end
    redis.call('ZADD', alive, now + wait, sid)
    return before + 1
  end
  redis.call('ZREM', line, sid)
  redis.call('ZREM', alive, sid)
end
redis.call('ZADD', held, now + hold, sid)
return 0
