-- emit(replay, channel; epoch, seq, message, keep, ttl_s, begins): stored first, and only then published.
-- begins = '1': nothing need come before it. Returns 1 stored, 0 was already stored, -1 refused: a newer epoch has
-- spoken, -2 the server has lost all that came before. An error HOLE: the message before it was never stored (memory
-- was full, say), so that all of them must be sent again, in order.
local replay, channel = KEYS[1], KEYS[2]
local epoch, seq, message, keep, ttl, begins = unpack(ARGV)

local function last()
  local info = redis.pcall('XINFO', 'STREAM', replay)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return string.match(info[i + 1], '^(%d+)-(%d+)$') end
  end
end

if begins ~= '1' and redis.call('EXISTS', replay) == 0 then return -2 end
local before = epoch .. '-' .. (seq - 1)
if begins ~= '1' and #redis.call('XRANGE', replay, before, before) == 0 then
  -- trimmed, or lost with the server, or never there
  local last_epoch, last_seq = last()
  if last_epoch == epoch and tonumber(last_seq) < seq - 1 then
    return redis.error_reply('HOLE ' .. last_epoch .. '-' .. last_seq .. ' is the last, ' .. seq .. ' came')
  end
end
local added = redis.pcall('XADD', replay, 'MAXLEN', '~', keep, epoch .. '-' .. seq, 'd', message)
if type(added) == 'table' and added.err then
  if not string.find(added.err, 'equal or smaller', 1, true) then return added end
  return last() == epoch and 0 or -1
end
redis.call('EXPIRE', replay, ttl)
redis.call('PUBLISH', channel, message)
return 1
