import { createHash } from 'node:crypto';

/** A Lua script and the digest by which Redis knows it. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}

const script = (lua: string): Script => ({ lua, sha: createHash('sha1').update(lua).digest('hex') });

/*
 * A process is identified by its incarnation: 11 hexadecimal digits of Redis's time in milliseconds when it joined, and
 * its id. Scripts get their own incarnation, those that were alive when the process last read the list, and when that
 * was. An incarnation that is neither in this list nor younger has ended, and its counts are deleted. One from the future
 * of Redis's clock joined before that clock was set back, and is not younger than the list.
 *
 * Numbers of 10^14 and more are formatted with '%.0f', because `tostring` loses their last digits. TIME returns
 * microseconds without leading zeros, so they are added as a number.
 */
const IDENTITY = 'local own, since, live, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]';
const ALIVE = `
local function micros()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function alive(who)
  if who == own or string.find(live, who, 1, true) then return true end
  local joined = tonumber(string.sub(who, 1, 11), 16) or 0
  return joined >= since and joined <= micros() / 1000
end
`;

/**
 * Checks one attempt. KEYS: hashes of incarnation → connections, with `r`: the theoretical arrival time of the rate
 * (GCRA) in microseconds. ARGV: a JSON array, because every argument of a command costs the process and Redis more than a
 * number in it: own, since, live, ttl; then for each key: the confirmed connections of this process
 * including this one; an upper bound if releases have not been written yet; max or -1; microseconds per attempt or 0,
 * and per full bucket.
 *
 * The count that is written is the stored one plus one, limited to the two values that the process passes: it is
 * correct while the answers to earlier attempts are outstanding, in whatever order they were executed, and also after
 * Redis has lost its count.
 *
 * An arrival time that is later than a full bucket from now was stored before Redis's clock was set back: the bucket is
 * filled again.
 *
 * Returns 0, or 1 if a count was missing; `s <key>` if there are too many connections; `r <key> <milliseconds>` if a
 * rate is exceeded.
 */
export const ADMIT = script(`
local arg = cjson.decode(ARGV[1])
local own, since, live, ttl = arg[1], arg[2], arg[3], arg[4]
${ALIVE}
local now
local late, slow = 0, 0
local tats, counts, lost = {}, {}, 0
for i = 1, #KEYS do
  local interval = arg[5 * i + 3]
  if interval > 0 then
    now = now or micros()
    local stored = tonumber(redis.call('HGET', KEYS[i], 'r') or 0) or 0
    if stored > now + arg[5 * i + 4] + interval then stored = 0 end
    local tat = math.max(stored, now) + interval
    local wait = tat - now - arg[5 * i + 4]
    if wait > interval / 1000 and wait > late then late, slow = wait, i end
    tats[i] = tat
  end
end
if slow > 0 then return 'r ' .. slow .. ' ' .. string.format('%.0f', math.ceil(late / 1000)) end
local full
for i = 1, #KEYS do
  local max = arg[5 * i + 2]
  if max >= 0 and not full then
    local all = redis.call('HGETALL', KEYS[i])
    local sum, have = 0, 0
    for j = 1, #all, 2 do
      if all[j] == own then
        have = tonumber(all[j + 1]) or 0
      elseif all[j] ~= 'r' then
        if alive(all[j]) then sum = sum + (tonumber(all[j + 1]) or 0) else redis.call('HDEL', KEYS[i], all[j]) end
      end
    end
    local certain = arg[5 * i]
    if have == 0 and certain > 1 then lost = 1 end
    counts[i] = math.max(certain, math.min(have + 1, arg[5 * i + 1]))
    if sum + counts[i] > max then full = i end
  end
end
for i = 1, #KEYS do
  local count = not full and counts[i]
  if count and tats[i] then
    redis.call('HSET', KEYS[i], own, count, 'r', string.format('%.0f', tats[i]))
    redis.call('PEXPIRE', KEYS[i], ttl)
  elseif count then
    redis.call('HSET', KEYS[i], own, count)
    redis.call('PEXPIRE', KEYS[i], ttl)
  elseif tats[i] then
    redis.call('HSET', KEYS[i], 'r', string.format('%.0f', tats[i]))
    local idle = math.ceil((tats[i] - now) / 1000)
    redis.call('PEXPIRE', KEYS[i], redis.call('HLEN', KEYS[i]) > 1 and math.max(idle, ttl) or idle)
  end
end
if full then return 's ' .. full end
return lost
`);

/**
 * Writes the number of connections of this process. KEYS: as for ADMIT. ARGV: own, since, live, ttl; then for each key
 * the confirmed count, and the count including unanswered attempts: the stored count is limited to these two. A key that
 * is not a hash, because another program has written it, is skipped.
 */
export const ASSERT = script(`${IDENTITY}${ALIVE}
local function write(i, stored)
  local have = tonumber(stored or 0) or 0
  local count = math.max(tonumber(ARGV[2 * i + 3]), math.min(have, tonumber(ARGV[2 * i + 4])))
  if count == 0 then redis.call('HDEL', KEYS[i], own) else redis.call('HSET', KEYS[i], own, count) end
  local left = 0
  for _, who in ipairs(redis.call('HKEYS', KEYS[i])) do
    if who ~= 'r' then
      if alive(who) then left = left + 1 else redis.call('HDEL', KEYS[i], who) end
    end
  end
  if left > 0 then
    redis.call('PEXPIRE', KEYS[i], ttl)
  else
    local tat = redis.call('HGET', KEYS[i], 'r')
    local idle = math.min(math.ceil(((tonumber(tat or 0) or 0) - micros()) / 1000), tonumber(ttl))
    if idle > 0 then redis.call('PEXPIRE', KEYS[i], idle) else redis.call('DEL', KEYS[i]) end
  end
end
for i = 1, #KEYS do
  local stored = redis.pcall('HGET', KEYS[i], own)
  if type(stored) ~= 'table' then
    write(i, stored)
  elseif not string.find(stored.err, 'WRONGTYPE', 1, true) then
    return stored
  end
end
return 0
`);

/**
 * Checks one connection of a user. KEYS: sorted sets of `incarnation/connection` by the time of opening, in
 * milliseconds of Redis's clock, or later than the newest, if that clock was set back. ARGV: own, since, live, ttl,
 * connection; then for each key: max, and `refuse` or `closeOldest`. Returns `s <key>`, or the members that were displaced.
 */
export const ADMIT_USER = script(`${IDENTITY}${ALIVE}
local member = own .. '/' .. ARGV[5]
local kept = {}
for i = 1, #KEYS do
  kept[i] = {}
  for _, each in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
    local who = string.match(each, '^[^/]*')
    if not alive(who) then
      redis.call('ZREM', KEYS[i], each)
    elseif each ~= member then
      table.insert(kept[i], each)
    end
  end
  local max, mode = tonumber(ARGV[2 * i + 4]), ARGV[2 * i + 5]
  if #kept[i] >= max and (mode == 'refuse' or max < 1) then return 's ' .. i end
end
local displaced = {}
for i = 1, #KEYS do
  local max = tonumber(ARGV[2 * i + 4])
  local left = 0
  for _, each in ipairs(kept[i]) do if not displaced[each] then left = left + 1 end end
  for _, each in ipairs(kept[i]) do
    if left < max then break end
    if not displaced[each] then
      displaced[each] = true
      table.insert(displaced, each)
      left = left - 1
    end
  end
end
local opened = math.floor(micros() / 1000)
for i = 1, #KEYS do
  local newest = redis.call('ZRANGE', KEYS[i], -1, -1, 'WITHSCORES')
  if newest[1] ~= member then opened = math.max(opened, (tonumber(newest[2]) or 0) + 1) end
end
opened = string.format('%.0f', opened)
for i = 1, #KEYS do
  for _, each in ipairs(displaced) do redis.call('ZREM', KEYS[i], each) end
  redis.call('ZADD', KEYS[i], opened, member)
  redis.call('PEXPIRE', KEYS[i], ttl)
end
return displaced
`);

/**
 * Writes which connections of a user this process has. KEYS: one sorted set. ARGV: own, since, live, ttl; then time,
 * connection …; a connection without a time is unanswered, and is left unchanged. One that is there keeps its time, which is
 * that of Redis.
 */
export const ASSERT_USER = script(`${IDENTITY}${ALIVE}
local mine = {}
for i = 5, #ARGV, 2 do mine[own .. '/' .. ARGV[i + 1]] = ARGV[i] end
for _, each in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local who = string.match(each, '^[^/]*')
  if not alive(who) or (who == own and not mine[each]) then redis.call('ZREM', KEYS[1], each) end
end
for each, opened in pairs(mine) do
  if opened ~= '' then redis.call('ZADD', KEYS[1], 'NX', opened, each) end
end
redis.call('PEXPIRE', KEYS[1], ttl)
return 0
`);

/**
 * Joins, or renews the lease. KEYS: the sorted set of incarnations by the end of their lease, the hash of their
 * descriptions (`lease renewal description`), the version of the bans. Renewals are counted: if Redis knows an earlier one
 * than it has confirmed, its data is older, and the process joins anew, so that what it has released since does not count.
 * A lease that ends later than one that is given now was given before Redis's clock was set back: it is shortened.
 * ARGV: own incarnation or '', id, lease, description, number of confirmed renewals. Returns own, 1 if it is new, time in
 * milliseconds, version of the bans, then incarnation, description …
 */
export const RENEW = script(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local own, id, lease = ARGV[1], ARGV[2], ARGV[3]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local new = 0
local known = tonumber(string.match(redis.call('HGET', KEYS[2], own) or '', '^%d+ (%d+)') or 0)
if own == '' or known < tonumber(ARGV[5]) or not redis.call('ZSCORE', KEYS[1], own) then
  new = 1
  for _, each in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.sub(each, 12) == id then redis.call('ZREM', KEYS[1], each) end
  end
  own = string.format('%011x', now) .. id
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), own)
redis.call('HSET', KEYS[2], own, lease .. ' ' .. ARGV[5] + 1 .. ' ' .. ARGV[4])
local answer = { own, new, string.format('%.0f', now), redis.call('GET', KEYS[3]) or '0' }
local abouts = {}
local all = redis.call('HGETALL', KEYS[2])
for j = 1, #all, 2 do abouts[all[j]] = all[j + 1] end
local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for j = 1, #members, 2 do
  local each = members[j]
  local its, about = string.match(abouts[each] or '', '^(%d+) %d+ (.*)$')
  local latest = now + (its or lease)
  if tonumber(members[j + 1]) > latest then redis.call('ZADD', KEYS[1], string.format('%.0f', latest), each) end
  table.insert(answer, each)
  table.insert(answer, about or '')
  abouts[each] = nil
end
for each in pairs(abouts) do redis.call('HDEL', KEYS[2], each) end
redis.call('PEXPIRE', KEYS[1], lease * 2)
redis.call('PEXPIRE', KEYS[2], lease * 2)
return answer
`);

/**
 * Saves or removes a ban. KEYS: the version, the sorted set of ids by the version of their last change, the hash of
 * values (`until value`). ARGV: id, until, value ('' removes), max, now in milliseconds. Returns the new version. A
 * removed ban stays in the sorted set, so that other processes learn of the removal, until it is one of the oldest.
 */
export const SAVE_BAN = script(`
local version = redis.call('INCR', KEYS[1])
local ids = redis.call('ZRANGE', KEYS[2], 0, 15)
for _, id in ipairs(ids) do
  local value = redis.call('HGET', KEYS[3], id)
  if value and tonumber(string.match(value, '^%d+')) <= tonumber(ARGV[5]) then
    redis.call('ZREM', KEYS[2], id)
    redis.call('HDEL', KEYS[3], id)
  end
end
redis.call('ZADD', KEYS[2], version, ARGV[1])
if ARGV[3] == '' then redis.call('HDEL', KEYS[3], ARGV[1]) else redis.call('HSET', KEYS[3], ARGV[1], ARGV[2] .. ' ' .. ARGV[3]) end
local many = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[4])
if many > 0 then
  local oldest = redis.call('ZPOPMIN', KEYS[2], many)
  for j = 1, #oldest, 2 do redis.call('HDEL', KEYS[3], oldest[j]) end
end
local keep = math.max(tonumber(ARGV[2]) - tonumber(ARGV[5]), 0) + 3600000
for i = 1, 3 do
  if redis.call('PTTL', KEYS[i]) < keep then redis.call('PEXPIRE', KEYS[i], string.format('%.0f', keep)) end
end
return version
`);

/**
 * Reads the bans that changed after a version. KEYS: as for SAVE_BAN. ARGV: version, maximum number. Returns version,
 * id, value …
 */
export const BANS_SINCE = script(`
local changed = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local answer = { redis.call('GET', KEYS[1]) or '0' }
for j = 1, #changed, 2 do
  table.insert(answer, changed[j])
  table.insert(answer, redis.call('HGET', KEYS[3], changed[j]) or '')
  if #answer > 2 * ARGV[2] then answer[1] = changed[j + 1] end
end
return answer
`);

/** Publishes through the node that has a key of the channel's name. KEYS: the channel. ARGV: the message. */
export const PUBLISH = `return redis.call('PUBLISH', KEYS[1], ARGV[1])`;
