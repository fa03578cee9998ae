/** The limit of values and keys of a message (the default of `messages.maxNodes`), less those around the data. */
const NODES = 9_990;
/** The limit of nesting. */
const DEPTH = 250;

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$';

/** The name of a number, in letters. */
function name(number, length = 1) {
  let text = '';
  for (let rest = number; rest > 0 || text.length < length; rest = Math.floor(rest / LETTERS.length))
    text += LETTERS[rest % LETTERS.length];
  return text;
}

const times = (count, make) => Array.from({ length: count }, (_, at) => make(at));
const list = (nodes, make) => `[${times(Math.floor(NODES / nodes), make)}]`;

/** Structures nested as deep as allowed, side by side. `open` returns text with `nodes` values and keys. */
function chains(nodes, open, close) {
  const depth = Math.floor(DEPTH / close.length);
  const chain = () => `${times(depth, open).join('')}0${close.repeat(depth)}`;
  return `[${times(Math.max(1, Math.floor(NODES / (nodes * depth + 1))), chain)}]`;
}

/** An object with `count` array indices as keys. The first is the largest. */
const indices = (count, greatest, rest) => `{${times(count, (at) => `"${at === 0 ? greatest : rest(at)}":0`)}}`;

/**
 * JSON that may use much memory for its text, by name: every kind of value, keys that share a shape and keys that do not,
 * array indices used as keys, one, two or many, nested, and mixed with values that make V8 box numbers. Keys differ from
 * those of another `copy`, because V8 shares the shapes of objects.
 */
export function* structures(copy = 0) {
  let names = copy * NODES * 2;
  const next = (length) => name(names++, length);
  for (const [value, nodes] of [
    ['0', 1],
    ['1.5', 1],
    ['null', 1],
    ['""', 1],
    ['"a"', 1],
    ['"\u4e2d"', 1],
    ['[]', 1],
    ['{}', 1],
    ['[0]', 2],
    ['[[]]', 2],
    ['[{}]', 2],
    ['[1.5,-0]', 3],
    ['{"a":0}', 3],
    ['{"a":{}}', 3],
  ])
    yield [`a list of ${value}`, list(nodes, () => value)];
  yield ['numbers beside an object', `[{},${list(1, () => '1.5').slice(1)}`];
  yield ['negative zeros beside an object', `[{},${list(1, () => '-0').slice(1)}`];
  yield ['strings that differ', list(1, () => `"${next()}"`)];
  yield ['two-byte strings that differ', list(1, () => `"\u4e2d${next()}"`)];
  yield ['strings beside a two-byte string', `["\u4e2d",${list(1, () => `"${next()}"`).slice(1)}`];
  for (const length of [1, 2, 3, 4, 5, 6, 8, 12]) {
    for (const value of ['0', '{}', '[]', '1.5'])
      yield [
        `objects whose key of ${length} letters differs, of ${value}`,
        list(3, () => `{"${next(length)}":${value}}`),
      ];
    yield [`such objects in each other, ${length} letters`, chains(2, () => `{"${next(length)}":`, '}')];
    yield [`such objects in lists, ${length} letters`, chains(3, () => `[{"${next(length)}":`, '}]')];
    yield [
      `such objects beside a two-byte string, ${length} letters`,
      `["\u4e2d",${list(3, () => `{"${next(length)}":0}`).slice(1)}`,
    ];
    for (const keys of [2, 5, 20, 60, 120, 127, 128, 171, 400, 2000])
      yield [
        `objects of ${keys} keys of ${length} letters that differ`,
        list(1 + 2 * keys, () => `{${times(keys, () => `"${next(length)}":0`)}}`),
      ];
  }
  for (const keys of [2, 3, 10, 120, 128, 171, 342]) {
    const shared = `{${times(keys, () => `"${next()}":0`)}}`;
    yield [`objects of the same ${keys} keys`, list(1 + 2 * keys, () => shared)];
  }
  for (const keys of [2, 3])
    yield [
      `objects of ${keys} keys in many orders`,
      list(
        1 + 2 * keys,
        (at) => `{${times(keys, (key) => `"${LETTERS[(Math.floor(at / 13 ** key) % 13) + 13 * key]}":0`)}}`,
      ),
    ];
  for (const value of ['0', '{}', '[]', '1.5'])
    yield [`one object of ${value}`, `{${times(NODES / 2 - 1, () => `"${next()}":${value}`)}}`];
  for (const index of [
    0, 1, 2, 4, 8, 9, 16, 17, 24, 30, 32, 33, 34, 35, 36, 50, 99, 100, 499, 500, 1000, 1023, 1024, 9999, 4294967294,
  ]) {
    for (const value of ['0', '{}'])
      yield [`objects of index ${index}, of ${value}`, list(3, () => `{"${index}":${value}}`)];
    yield [`objects of index ${index} in each other`, chains(2, () => `{"${index}":`, '}')];
    yield [`objects of index ${index} in lists`, chains(3, () => `[{"${index}":`, '}]')];
    yield [
      `objects of an escaped index ${index}`,
      list(3, () => `{"\\u003${String(index)[0]}${String(index).slice(1)}":0}`),
    ];
  }
  // V8 changes from a list to a hash table where the list would have 9 places for each of the table.
  for (const count of [2, 3, 4, 6, 11, 12, 22, 43, 86, 171, 342, 683, 1366, 2731]) {
    const places = Math.max(4, 2 ** Math.ceil(Math.log2(count + Math.floor(count / 2))));
    for (const greatest of [9 * places - 2, 9 * places - 1])
      for (const [how, rest] of [
        ['all large', (at) => Math.max(0, greatest - at)],
        ['the others small', (at) => at],
        ['the others equal', () => 0],
      ])
        yield [
          `objects of ${count} indices up to ${greatest}, ${how}`,
          list(1 + 2 * count, () => indices(count, greatest, rest)),
        ];
  }
  for (const count of [3, 5, 8])
    for (const factor of [1.5, 2, 3])
      yield [
        `objects of ${count} indices, each ${factor} times the one before`,
        list(1 + 2 * count, () => indices(count, 34, (at) => Math.floor(34 * factor ** at))),
      ];
  yield ['objects of an index and a key that differs', list(5, () => `{"34":0,"${next()}":0}`)];
  yield ['lists in each other', chains(1, () => '[', ']')];
  yield ['objects in each other', chains(2, () => '{"a":', '}')];
}

/**
 * The message with this data: itself if `accepts` does, else with as little text beside the data as makes it accepted.
 */
export function accepted(data, accepts) {
  const text = (pad) => Buffer.from(`{"event":"hold","data":${data}${pad === 0 ? '' : `,"pad":"${'x'.repeat(pad)}"`}}`);
  let [refused, most] = [-1, 0];
  while (!accepts(text(most))) [refused, most] = [most, 2 * most + 64];
  while (most - refused > 16) {
    const middle = Math.floor((refused + most) / 2);
    if (accepts(text(middle))) most = middle;
    else refused = middle;
  }
  return text(most);
}
