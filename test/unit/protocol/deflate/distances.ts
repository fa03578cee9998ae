/** The largest distance in raw DEFLATE of stored and fixed or dynamic blocks: the smallest window that inflates it. */
export function furthestBackReference(transport: Buffer): number {
  return distancesOf(transport).reduce((a, b) => Math.max(a, b), 0);
}

/** A plain decoder after RFC 1951, 3.2, that only records distances. */
function distancesOf(transport: Buffer): number[] {
  const input = Buffer.concat([transport, Buffer.from([0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff])]);
  const distances: number[] = [];
  let at = 0;
  const bits = (n: number): number => {
    let value = 0;
    for (let i = 0; i < n; i++, at++) value |= ((input[at >> 3]! >> (at & 7)) & 1) << i;
    return value;
  };
  const tree = (lengths: number[]): Map<string, number> => {
    const codes = new Map<string, number>();
    let code = 0;
    for (let length = 1; length <= 15; length++) {
      code <<= 1;
      lengths.forEach((l, symbol) => {
        if (l === length) codes.set((code++).toString(2).padStart(length, '0'), symbol);
      });
    }
    return codes;
  };
  const symbol = (codes: Map<string, number>): number => {
    for (let key = ''; key.length <= 15; ) {
      key += bits(1);
      const found = codes.get(key);
      if (found !== undefined) return found;
    }
    throw new Error('bad code');
  };
  const extra = (base: number[], counts: number[], i: number): number => base[i]! + bits(counts[i]!);
  const L = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
  ];
  const LX = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
  const D = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
    8193, 12289, 16385, 24577,
  ];
  const DX = D.map((_, i) => (i < 2 ? 0 : (i >> 1) - 1));
  const dynamic = (): [Map<string, number>, Map<string, number>] => {
    const [hlit, hdist, hclen] = [bits(5) + 257, bits(5) + 1, bits(4) + 4];
    const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    const meta = Array<number>(19).fill(0);
    for (let i = 0; i < hclen; i++) meta[order[i]!] = bits(3);
    const codes = tree(meta);
    const all: number[] = [];
    while (all.length < hlit + hdist) {
      const s = symbol(codes);
      if (s < 16) all.push(s);
      else if (s === 16) all.push(...Array<number>(3 + bits(2)).fill(all.at(-1)!));
      else all.push(...Array<number>(s === 17 ? 3 + bits(3) : 11 + bits(7)).fill(0));
    }
    return [tree(all.slice(0, hlit)), tree(all.slice(hlit))];
  };
  for (let final = 0; final === 0; ) {
    final = bits(1);
    const type = bits(2);
    if (type === 0) {
      at = (at + 7) & ~7;
      const length = bits(16);
      at += 16 + 8 * length;
      continue;
    }
    const fixed = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));
    const [literals, far] = type === 1 ? [tree(fixed), tree(Array<number>(30).fill(5))] : dynamic();
    for (let s = symbol(literals); s !== 256; s = symbol(literals)) {
      if (s < 256) continue;
      extra(L, LX, s - 257);
      distances.push(extra(D, DX, symbol(far)));
    }
  }
  return distances;
}
