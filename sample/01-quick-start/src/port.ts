const DEFAULT = 3000;

/** The port in a variable, 3000 when it is empty; 0 takes any free port. */
export function portOf(value: unknown): number {
  const text = String(value ?? '').trim();
  if (text === '') return DEFAULT;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65535) throw new Error(`PORT is ${JSON.stringify(value)}: expected 0 to 65535`);
  return port;
}
