/** Which way is taken for each part that is used beyond a public interface, by the part's name. */
export type CompatibilityReport = Readonly<Record<string, string>>;

const ways = new Map<string, string>();

/** A probe has found out which way a part is used in this process. The last one counts. */
export const reportUse = (part: string, way: string): void => void ways.set(part, way);

export const compatibilityReport = (): CompatibilityReport => Object.fromEntries(ways);
