-- emit(replay, channel; epoch, seq, message, keep, ttl_s): stored first, and only then published.
-- Returns 1 stored, 0 was already stored, -1 refused: a newer epoch has spoken.
local replay, channel = KEYS[1], KEYS[2]
local epoch, seq, message, keep, ttl = unpack(ARGV)
local id = epoch .. '-' .. seq
local added = redis.pcall('XADD', replay, 'MAXLEN', '~', keep, id, 'd', message)
if type(added) == 'table' and added.err then
  if not string.find(added.err, 'equal or smaller', 1, true) then return added end
  local info = redis.call('XINFO', 'STREAM', replay)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return string.match(info[i + 1], '^(%d+)') == epoch and 0 or -1
    end
  end
end
redis.call('EXPIRE', replay, ttl)
redis.call('PUBLISH', channel, message)
return 1
