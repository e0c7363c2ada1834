"""The Lua that runs inside Redis. It compares and writes; what is allowed is decided in ``revocations``.

Whole scripts are sent each time (EVAL): they are small, and a server that was restarted has forgotten cached
ones.
"""

from __future__ import annotations

from typing import Final

# KEYS: epoch, state, log, change_ids, head, restored
# ARGV: expected epoch (raw, "" if absent), new epoch, field, record ("" deletes), change id, change, log cap,
#       id cap, expected record ("" if absent), channel, head ("" if the writer cannot sign),
#       cap of restored (0 if this restores nothing)
# Returns {"ok", why nobody could be told or ""}, {"duplicate", epoch of the earlier write} or
# {"conflict", epoch, record, head as they are}.
#
# State first: it is what points enforce. Nobody can stop a kill by writing junk: a key of another type, or a log
# that cannot take our entry (it holds higher ids), is set aside as "<key>:damaged" and begun anew. The log only helps
# readers to catch up. What may be of another type is read before anything is written, so that setting it aside leaves
# nothing half done; and once it is written, not being allowed to publish does not make it fail: points ask within a
# beat.
WRITE: Final = """
local function write()
  local seen = redis.call('ZSCORE', KEYS[4], ARGV[5])
  if seen then return {'duplicate', seen} end
  local cap = tonumber(ARGV[12])
  if cap > 0 then redis.call('HLEN', KEYS[6]) end
  local epoch = redis.call('GET', KEYS[1]) or ''
  local record = redis.call('HGET', KEYS[2], ARGV[3]) or ''
  if epoch ~= ARGV[1] or record ~= ARGV[9] then
    return {'conflict', epoch, record, redis.call('GET', KEYS[5]) or ''}
  end
  if ARGV[4] == '' then redis.call('HDEL', KEYS[2], ARGV[3])
  else redis.call('HSET', KEYS[2], ARGV[3], ARGV[4]) end
  redis.call('SET', KEYS[1], ARGV[2])
  if ARGV[11] == '' then redis.call('DEL', KEYS[5]) else redis.call('SET', KEYS[5], ARGV[11]) end
  if cap > 0 then
    redis.call('HSET', KEYS[6], ARGV[3], ARGV[6])
    if redis.call('HLEN', KEYS[6]) > cap then redis.call('HDEL', KEYS[6], redis.call('HKEYS', KEYS[6])[1]) end
  end
  redis.call('ZADD', KEYS[4], ARGV[2], ARGV[5])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - tonumber(ARGV[8]))
  local entry = {'XADD', KEYS[3], 'MAXLEN', '~', ARGV[7], ARGV[2] .. '-0',
    'id', ARGV[5], 'change', ARGV[6], 'head', ARGV[11]}
  if redis.pcall(unpack(entry)).err then
    redis.call('RENAME', KEYS[3], KEYS[3] .. ':damaged')
    redis.pcall(unpack(entry))
  end
  local told = redis.pcall('PUBLISH', ARGV[10], ARGV[11] == '' and ARGV[6] or ARGV[6] .. string.char(10) .. ARGV[11])
  return {'ok', type(told) == 'table' and told.err or ''}
end
local worked, reply = pcall(write)
if worked then return reply end
local aside = 0
for i, kind in ipairs({'string', 'hash', 'stream', 'zset', 'string', 'hash'}) do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    redis.call('RENAME', KEYS[i], KEYS[i] .. ':damaged')
    aside = aside + 1
  end
end
if aside == 0 then
  if type(reply) == 'table' then return reply end
  return redis.error_reply(tostring(reply))
end
return write()
"""

# Puts a whole state in place of the one there is. Readers see an epoch without a log entry and take a snapshot.
#
# KEYS: epoch, state, head, restored (which is only set aside if it is of another type)
# ARGV: expected epoch (raw, "" if absent), new epoch, head, channel, message, then field and record in turn
MEND: Final = """
for i, kind in ipairs({'string', 'hash', 'string', 'hash'}) do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then redis.call('RENAME', KEYS[i], KEYS[i] .. ':damaged') end
end
local epoch = redis.call('GET', KEYS[1]) or ''
if epoch ~= ARGV[1] then return {'conflict', epoch} end
redis.call('DEL', KEYS[2])
for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] == '' then redis.call('DEL', KEYS[3]) else redis.call('SET', KEYS[3], ARGV[3]) end
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return {'ok'}
"""

# A point says that it lives and how far it has come, and learns how many points there are. Scores are the server's
# clock, so that points with wrong clocks are not taken for dead. Those not seen for a day are forgotten, a few a time.
#
# Only a new point is written to the append-only file (and to replicas), so that after a restart of the server it is
# known who may still be acting under an old lease. The rest is said again a beat later, and on disk it would cost a
# thousand points a thousand fsyncs a second.
#
# KEYS: points, points:seen, applied. ARGV: point id, record, applied epoch, forget after (s)
BEAT: Final = """
local now = redis.call('TIME')
local now_s = string.format('%.6f', tonumber(now[1]) + tonumber(now[2]) / 1000000)
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  if redis.call('HEXISTS', KEYS[1], 'born') == 0 then redis.call('HSET', KEYS[1], 'born', now_s) end
  redis.call('ZADD', KEYS[2], now_s, ARGV[1])
end
redis.set_repl(redis.REPL_NONE)
redis.call('ZADD', KEYS[2], now_s, ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now_s - tonumber(ARGV[4]), 'LIMIT', 0, 10)
redis.set_repl(redis.REPL_ALL)
for _, id in ipairs(old) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
end
return redis.call('ZCARD', KEYS[2])
"""

# A point confirms. KEYS: applied. ARGV: point id, epoch, channel, acknowledgement
ACK: Final = """
redis.set_repl(redis.REPL_NONE)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('PUBLISH', ARGV[3], ARGV[4])
"""

# A point signs off. KEYS: points, points:seen, applied. ARGV: point id
LEAVE: Final = """
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[3], ARGV[1])
"""
