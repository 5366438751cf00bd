-- save(sess; web epoch, ttl_s, field, value ...): the web's state, refused once another web process owns the session.
-- Returns 1 saved, 0 fenced out.
local sess = KEYS[1]
if redis.call('HGET', sess, 'epoch:web') ~= ARGV[1] then return 0 end
if #ARGV > 2 then redis.call('HSET', sess, unpack(ARGV, 3)) end
redis.call('EXPIRE', sess, ARGV[2])
return 1
