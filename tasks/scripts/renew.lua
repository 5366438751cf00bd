-- renew(lease, sess, web lease; stage, owner, epoch, reply, last_seq, ttl_ms, done, keep_s): still mine?
-- ttl 0 lets go; with done = '1' the stage is then marked done for the reply. What was let go is not given back:
-- a renewal that was under way meanwhile would keep the next owner out. keep_s: the session lives that long from now on;
-- '' leaves that to others.
-- Returns 0 lost, 1 mine, 2 mine but no web process holds the session.
local lease, sess, web = KEYS[1], KEYS[2], KEYS[3]
local stage, owner, epoch, reply, last_seq, ttl, done, keep = unpack(ARGV)
local mine = owner .. '|' .. epoch .. '|' .. reply .. '|'
local held = redis.call('GET', lease)
local holder = held and string.sub(held, 1, #mine) == mine
local newest, left, closed, current, finished = unpack(
  redis.call('HMGET', sess, 'epoch:' .. stage, 'left:' .. stage, 'closed', 'reply', 'done:' .. stage))
local mine_by_epoch = newest == epoch
if ttl == '0' then
  if holder then redis.call('DEL', lease) end
  if mine_by_epoch then redis.call('HSET', sess, 'left:' .. stage, epoch) end
  if done == '1' and mine_by_epoch then redis.call('HSET', sess, 'done:' .. stage, reply) end
  return mine_by_epoch and 1 or 0
end
if held and not holder then return 0 end
if not mine_by_epoch or left == epoch then return 0 end
if closed or (reply ~= '' and (current ~= reply or finished == reply)) then
  if holder then redis.call('DEL', lease) end
  return 0
end
redis.call('SET', lease, mine .. last_seq, 'PX', ttl)
if keep ~= '' then redis.call('EXPIRE', sess, keep) end
return redis.call('EXISTS', web) == 1 and 1 or 2
