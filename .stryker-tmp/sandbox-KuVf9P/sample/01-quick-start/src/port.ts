// @ts-nocheck
const DEFAULT = 3000;

/** The port that a variable names, 3000 where it is empty; 0 takes any. */
export function portOf(value: unknown): number {
  const text = String(value ?? '').trim();
  if (text === '') return DEFAULT;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65535) throw new Error(`PORT is ${JSON.stringify(value)}: expected 0 to 65535`);
  return port;
}
