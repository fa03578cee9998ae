/** The variant in use for each part that is used beyond a public interface, by the name of the part. */
export type CompatibilityReport = Readonly<Record<string, string>>;

const ways = new Map<string, string>();

/** Records the variant in use for a part in this process. The last call counts. */
export const reportUse = (part: string, way: string): void => void ways.set(part, way);

export const compatibilityReport = (): CompatibilityReport => Object.fromEntries(ways);
