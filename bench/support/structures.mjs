/** The limit of values and keys of a message (the default of `messages.maxNodes`), less those around the data. */
const NODES = 9_990;
/** The limit of nesting. */
const DEPTH = 250;

const list = (item, nodes, make = () => item) =>
  `[${Array.from({ length: Math.floor(NODES / nodes) }, (_, at) => make(at)).join(',')}]`;
const name = (at) => at.toString(36);

/** Objects nested as deep as allowed, side by side. */
function chains(open, close, nodes) {
  const depth = Math.min(DEPTH, Math.floor(NODES / nodes));
  const chain = `${open.repeat(depth)}0${close.repeat(depth)}`;
  return `[${Array(Math.max(1, Math.floor(NODES / (nodes * depth + 1))))
    .fill(chain)
    .join(',')}]`;
}

/**
 * JSON that may use much memory for its text, by name: every kind of value, keys that share a shape and keys that do not,
 * array indices used as keys, one, two or many, nested, and mixed with values that make V8 box numbers.
 */
export function* structures() {
  for (const value of ['0', '1.5', 'null', '""', '"a"', '"\u4e2d"', '[]', '{}', '[0]', '[[]]', '{"a":0}'])
    yield [`a list of ${value}`, list(value, value === '[0]' || value === '[[]]' ? 2 : value === '{"a":0}' ? 3 : 1)];
  yield ['numbers beside an object', `[{},${list('1.5', 1).slice(1)}`];
  yield ['strings that differ', list('', 1, (at) => `"${name(at)}"`)];
  yield ['two-byte strings that differ', list('', 1, (at) => `"\u4e2d${name(at)}"`)];
  for (const value of ['0', '{}', '[]', '1.5']) {
    yield [`objects whose key differs, of ${value}`, list('', 3, (at) => `{"${name(at)}":${value}}`)];
    yield [
      `one object of ${value}`,
      `{${Array.from({ length: NODES / 2 - 1 }, (_, at) => `"${name(at)}":${value}`).join(',')}}`,
    ];
  }
  for (const keys of [2, 5, 20, 120])
    yield [
      `objects of ${keys} keys that differ`,
      list(
        '',
        1 + 2 * keys,
        (at) => `{${Array.from({ length: keys }, (_, key) => `"${name(at * keys + key)}":0`).join(',')}}`,
      ),
    ];
  for (const index of [
    0, 1, 2, 4, 8, 16, 17, 24, 30, 32, 33, 34, 35, 36, 50, 100, 499, 500, 1000, 1023, 1024, 9999, 4294967294,
  ]) {
    for (const value of ['0', '{}']) yield [`objects of index ${index}, of ${value}`, list(`{"${index}":${value}}`, 3)];
    yield [`objects of index ${index} in each other`, chains(`{"${index}":`, '}', 2)];
    yield [`objects of an escaped index ${index}`, list(`{"\\u003${String(index)[0]}${String(index).slice(1)}":0}`, 3)];
  }
  for (const [one, two] of [
    [16, 33],
    [34, 100],
    [34, 67],
    [1, 1000],
  ])
    yield [`objects of indices ${one} and ${two}`, list(`{"${one}":0,"${two}":0}`, 5)];
  for (const count of [3, 5, 8])
    for (const [start, factor] of [
      [34, 1.5],
      [34, 2],
      [16, 2],
      [34, 3],
    ]) {
      const keys = Array.from({ length: count }, (_, at) => `"${Math.floor(start * factor ** at)}":0`);
      yield [
        `objects of ${count} indices from ${start}, each ${factor} times the one before`,
        list(`{${keys.join(',')}}`, 1 + 2 * count),
      ];
    }
  yield ['objects of an index and a key that differs', list('', 5, (at) => `{"34":0,"${name(at)}":0}`)];
  yield ['lists in each other', chains('[', ']', 1)];
  yield ['objects in each other', chains('{"a":', '}', 2)];
}
