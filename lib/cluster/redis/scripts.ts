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
 * Checks attempts, one after the other. KEYS: hashes of incarnation → connections, with `r`: the theoretical arrival time
 * of the rate (GCRA) in microseconds; each key once. ARGV: a JSON array, because every argument of a command costs the
 * process and Redis more than a number in it: own, since, live, ttl; for each key the confirmed connections of this
 * process, and an upper bound of its connections before these attempts, if releases have not been written yet; then for
 * each attempt the number of its claims, and for each of them the position of the key, max or -1, microseconds per
 * attempt or 0, and per full bucket.
 *
 * The stored count is limited to the two values that the process passes: it is correct while the answers to earlier
 * attempts are outstanding, in whatever order they were executed, and also after Redis has lost its count. Each key is
 * read and written once, however many attempts have it; nothing is written before all keys are read.
 *
 * An arrival time that is later than a full bucket from now was stored before Redis's clock was set back: the bucket is
 * filled again.
 *
 * Returns for each attempt 0, or 1 if a count was missing; `s <claim>` if there are too many connections; `r <claim>
 * <milliseconds>` if a rate is exceeded; `e <error>` if one of its keys is not a hash, because another program has
 * written it.
 */
export const ADMIT = script(`
local arg = cjson.decode(ARGV[1])
local own, since, live, ttl = arg[1], arg[2], arg[3], arg[4]
${ALIVE}
local function number(text)
  local value = tonumber(text)
  return value and value >= 0 and value < 9007199254740992 and value or 0
end
local at = 5
local states = {}
for i = 1, #KEYS do
  local all = redis.pcall('HGETALL', KEYS[i])
  local state = { have = 0, sum = 0, tat = 0, members = 0, err = all.err }
  if all.err and not string.find(all.err, 'WRONGTYPE', 1, true) then return all end
  for j = 1, #all, 2 do
    local who = all[j]
    if who == 'r' then
      state.tat = number(all[j + 1])
    elseif who == own then
      state.have = number(all[j + 1])
      state.members = state.members + 1
    elseif alive(who) then
      state.sum = state.sum + number(all[j + 1])
      state.members = state.members + 1
    else
      state.ended = state.ended or {}
      table.insert(state.ended, who)
    end
  end
  local confirmed, bound = arg[at], arg[at + 1]
  state.lost = state.have == 0 and confirmed > 0
  state.have = math.max(confirmed, math.min(state.have, bound))
  states[i] = state
  at = at + 2
end
local now
local function admit(from, to)
  local late, slow = 0, 0
  local tats = {}
  for j = from, to, 4 do
    local state, interval, burst = states[arg[j]], arg[j + 2], arg[j + 3]
    if state.err then return 'e ' .. state.err end
    if interval > 0 then
      now = now or micros()
      local stored = state.tat
      if stored > now + burst + interval then stored = 0 end
      local tat = math.max(stored, now) + interval
      local wait = tat - now - burst
      if wait > interval / 1000 and wait > late then late, slow = wait, (j - from) / 4 + 1 end
      tats[j] = tat
    end
  end
  if slow > 0 then return 'r ' .. slow .. ' ' .. string.format('%.0f', math.ceil(late / 1000)) end
  local full
  local lost = 0
  for j = from, to, 4 do
    local state, max = states[arg[j]], arg[j + 1]
    if max >= 0 and not full then
      if state.lost then lost = 1 end
      if state.sum + state.have + 1 > max then full = (j - from) / 4 + 1 end
    end
  end
  for j = from, to, 4 do
    local state = states[arg[j]]
    state.paced = state.paced or tats[j]
    state.tat = tats[j] or state.tat
    if arg[j + 1] >= 0 and not full then
      state.have = state.have + 1
      state.counted = true
    end
  end
  return full and 's ' .. full or lost
end
local answers = {}
while at <= #arg do
  local to = at + 4 * arg[at]
  table.insert(answers, admit(at + 1, to))
  at = to + 1
end
for i = 1, #KEYS do
  local state = states[i]
  for _, who in ipairs(state.ended or {}) do redis.call('HDEL', KEYS[i], who) end
  local tat = state.paced and string.format('%.0f', state.tat)
  if state.counted then
    if tat then
      redis.call('HSET', KEYS[i], own, state.have, 'r', tat)
    else
      redis.call('HSET', KEYS[i], own, state.have)
    end
    redis.call('PEXPIRE', KEYS[i], ttl)
  elseif tat then
    redis.call('HSET', KEYS[i], 'r', tat)
    local idle = math.ceil((state.tat - now) / 1000)
    redis.call('PEXPIRE', KEYS[i], state.members > 0 and math.max(idle, ttl) or idle)
  end
end
return answers
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
