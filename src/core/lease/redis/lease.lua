-- The leases of one group in one hash, KEYS[1]. One key, so that a slot that is moved is here or there and never in between.
-- ARGV: what to do, the time in ms (empty: the server's own), our id, our session, and what it is about.
-- Fields: see redis.rs. What is answered: a word, and what belongs to it.

local key, op, now, id, session = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if now == '' then
  -- Before 3.2 a script that asks for the time may write nothing: then it must be told.
  if not redis.replicate_commands then return {'clock'} end
  redis.replicate_commands()
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
now = tonumber(now)

-- Removes nothing. A replica refuses it, so that nobody is told an old view; and a script that has written once may go on
-- where the memory is full, so that no lease is lost for that.
redis.call('HDEL', key, '')

-- Session and record of a member that lives.
local function member(name)
  local text = redis.call('HGET', key, 'registry/' .. name) or ''
  local till, theirs, record = string.match(text, '^(%d+) (%S+) (.*)$')
  if till and tonumber(till) > now then return theirs, record end
end

-- Epoch, session and holder of a lease that is held.
local function lease(input)
  local text = redis.call('HGET', key, 'leases/' .. input) or ''
  local epoch, theirs, holder = string.match(text, '^(%d+) (%S+) (.*)$')
  if epoch and member(holder) == theirs then return epoch, theirs, holder end
end

local function register(timeout, record)
  local till = string.format('%.0f', now + timeout)
  redis.call('HSET', key, 'registry/' .. id, till .. ' ' .. session .. ' ' .. record)
  return {'done'}
end

-- Gives a lease to somebody, with a new epoch.
local function grant(input, above, to, theirs)
  local last = tonumber(redis.call('HGET', key, 'epochs/' .. input) or 0)
  local epoch = string.format('%.0f', math.max(last, tonumber(above)) + 1)
  redis.call('HSET', key, 'epochs/' .. input, epoch)
  redis.call('HSET', key, 'leases/' .. input, epoch .. ' ' .. theirs .. ' ' .. to)
  return {'done', epoch}
end

-- Removes the members that are dead, and leases that nobody holds.
local function sweep()
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local name, input = string.match(field, '^registry/(.*)$'), string.match(field, '^leases/(.*)$')
    if name and not member(name) or input and not lease(input) then redis.call('HDEL', key, field) end
  end
end

local ops = {}

function ops.begin(timeout, record)
  local theirs, known = member(id)
  if theirs and theirs ~= session then return {'taken', known} end
  sweep()
  return register(timeout, record)
end

function ops.renew(timeout, record)
  if member(id) ~= session then return {'lost'} end
  return register(timeout, record)
end

ops['end'] = function()
  if member(id) == session then redis.call('HDEL', key, 'registry/' .. id) end
  sweep()
  return {'done'}
end

function ops.view()
  return {'done', string.format('%.0f', now), redis.call('HGETALL', key)}
end

function ops.campaign(input)
  if member(id) ~= session then return {'lost'} end
  local epoch, theirs = lease(input)
  if theirs == session then return {'done', epoch} end
  if epoch then return {'no'} end
  return grant(input, 0, id, session)
end

function ops.transfer(input, with, to)
  local epoch, theirs, holder = lease(input)
  local heir = member(to)
  if theirs == session and epoch == with and heir then return grant(input, epoch, to, heir) end
  -- It was done already, and the answer lost.
  if holder == to and tonumber(epoch) == tonumber(with) + 1 then return {'done', epoch} end
  return {'no'}
end

function ops.resign(input, with)
  local epoch, theirs = lease(input)
  if theirs == session and epoch == with then redis.call('HDEL', key, 'leases/' .. input) end
  return {'done'}
end

function ops.raise(input, with, above)
  local epoch, theirs = lease(input)
  if theirs ~= session then return {'no'} end
  -- It was done already, and the answer lost.
  if tonumber(epoch) > tonumber(above) then return {'done', epoch} end
  if epoch ~= with then return {'no'} end
  return grant(input, above, id, session)
end

function ops.put_note(name, text)
  redis.call('HSET', key, 'notes/' .. name, text)
  return {'done'}
end

function ops.create_note(name, text)
  if redis.call('HSETNX', key, 'notes/' .. name, text) == 0 then return {'no'} end
  return {'done'}
end

function ops.remove_note(name)
  redis.call('HDEL', key, 'notes/' .. name)
  return {'done'}
end

return ops[op](unpack(ARGV, 5))
