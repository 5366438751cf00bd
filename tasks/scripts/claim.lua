-- claim(lease, sess; stage, owner, reply, ttl_ms, seize): who may work on a stage of a session, and in which epoch.
-- reply is '' for stages that last a whole session. seize = '1' displaces an owner (a client that came back).
-- Returns the epoch, or -1 closed, -2 stale reply, -3 already done, -4 held by another.
local lease, sess = KEYS[1], KEYS[2]
local stage, owner, reply, ttl, seize = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local closed, current, done = unpack(redis.call('HMGET', sess, 'closed', 'reply', 'done:' .. stage))
if redis.call('EXISTS', sess) == 0 or closed then return -1 end
if reply ~= '' then
  if current ~= reply then return -2 end
  if done == reply then return -3 end
end
local held = redis.call('GET', lease)
if held and seize ~= '1' then
  -- the lease of an older reply ends here: its owner is already out of date
  if reply == '' or string.match(held, '^[^|]*|[^|]*|([^|]*)') == reply then return -4 end
end
local epoch = redis.call('HINCRBY', sess, 'epoch:' .. stage, 1)
redis.call('SET', lease, owner .. '|' .. epoch .. '|' .. reply .. '|0', 'PX', ttl)
return epoch
