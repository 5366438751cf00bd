-- emit(replay, channel of each result; keep, ttl_s, then epoch, seq, message, begins of each): stored first, and only
-- then published. begins = '1': nothing need come before it. Returns of each 1 stored, 0 was already stored, -1 refused:
-- a newer epoch has spoken, -2 the server has lost all that came before. An error HOLE: the message before it was never
-- stored (memory was full, say), so that all of them must be sent again, in order.
local keep, ttl = ARGV[1], ARGV[2]

local function last(replay)
  local info = redis.pcall('XINFO', 'STREAM', replay)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return string.match(info[i + 1], '^(%d+)-(%d+)$') end
  end
end

local function emit(replay, channel, epoch, seq, message, begins)
  local before = epoch .. '-' .. (seq - 1)
  local found = redis.pcall('XRANGE', replay, before, before)
  if found.err then return found end
  if begins ~= '1' and #found == 0 then
    if redis.call('EXISTS', replay) == 0 then return -2 end
    -- trimmed, or lost with the server, or never there
    local last_epoch, last_seq = last(replay)
    if last_epoch == epoch and tonumber(last_seq) < seq - 1 then
      return redis.error_reply('HOLE ' .. last_epoch .. '-' .. last_seq .. ' is the last, ' .. seq .. ' came')
    end
  end
  local added = redis.pcall('XADD', replay, 'MAXLEN', '~', keep, epoch .. '-' .. seq, 'd', message)
  if type(added) == 'table' and added.err then
    if not string.find(added.err, 'equal or smaller', 1, true) then return added end
    return last(replay) == epoch and 0 or -1
  end
  -- a stream of an epoch begins with the first of these, and lives for an hour; but what was told to die soon dies
  if begins == '1' or seq % 16 == 0 then
    local left = redis.call('TTL', replay)
    if begins == '1' or left < 0 or 4 * left > tonumber(ttl) then redis.call('EXPIRE', replay, ttl) end
  end
  redis.call('PUBLISH', channel, message)
  return 1
end

local stored = {}
for i = 1, #KEYS / 2 do
  local at = 4 * i - 1
  stored[i] = emit(KEYS[2 * i - 1], KEYS[2 * i], ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
end
return stored
