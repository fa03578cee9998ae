/** A pseudo-random generator with a fixed seed, equal on every machine. */
function generator(seed) {
  let state = seed;
  const next = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const whole = (below) => Math.floor(next() * below);
  return {
    next,
    whole,
    pick: (list) => list[whole(list.length)],
    hex: (n) => Array.from({ length: n }, () => whole(16).toString(16)).join(''),
  };
}

const WORDS =
  'the of and a to in is you that it he was for on are as with his they I at be this have from or one had by word but not what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see number no way could people my than first water been call who oil its now find long down day did get come made may part'.split(
    ' ',
  );

/** Events of a chat, a ticker, a board and a document, of 60 bytes to 20 KiB. */
function makers({ next, whole, pick, hex }) {
  const text = (words) => Array.from({ length: words }, () => pick(WORDS)).join(' ');
  const user = () => ({
    id: hex(24),
    name: `${pick(WORDS)}${whole(1000)}`,
    avatar: `https://cdn.example.com/u/${hex(16)}.png`,
  });
  const at = () => new Date(1.7e12 + whole(1e10)).toISOString();
  const quote = () => ({
    symbol: `${pick(WORDS).toUpperCase()}USD`,
    bid: +(next() * 1e4).toFixed(2),
    ask: +(next() * 1e4).toFixed(2),
    volume: whole(1e6),
    at: at(),
  });
  const item = () => ({
    id: hex(24),
    type: pick(['task', 'note', 'bug']),
    title: text(6),
    done: whole(2) === 1,
    owner: user().name,
    updatedAt: at(),
  });
  const list = (make, most) => Array.from({ length: 1 + whole(most) }, make);
  return [
    () => ({ event: 'presence', data: { user: hex(24), online: whole(2) === 1 } }),
    () => ({ event: 'typing', data: { room: hex(12), user: hex(24) } }),
    () => ({
      event: 'message',
      data: { id: hex(24), room: hex(12), from: user(), text: text(3 + whole(60)), at: at() },
    }),
    () => ({
      event: 'message',
      data: { id: hex(24), room: hex(12), from: user(), text: text(3 + whole(20)), at: at() },
    }),
    () => ({ event: 'ticks', data: list(quote, 20) }),
    () => ({ event: 'cursor', data: { document: hex(24), user: hex(24), x: whole(2000), y: whole(2000) } }),
    () => ({ event: 'board', data: { id: hex(24), items: list(item, 40) } }),
    () => ({ event: 'document', data: { id: hex(24), author: user(), body: list(() => text(80), 40), at: at() } }),
  ];
}

export function generateCorpus(count = 600, seed = 20) {
  const random = generator(seed);
  const kinds = makers(random);
  return Array.from({ length: count }, () => Buffer.from(JSON.stringify(random.pick(kinds)())));
}
