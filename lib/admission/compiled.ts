/** A list that was checked before, at the start or by its author: what is still wrong with it is a bug, and thrown. */
export function compiled<T extends object>(parsed: T | string[]): T {
  if (Array.isArray(parsed)) throw new TypeError(parsed.join('; '));
  return parsed;
}
