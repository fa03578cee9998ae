/** The version of this library. Written from package.json by `node scripts/option-table.mjs`. */
export const VERSION: string = '0.2.0';

/** The default of the `Server` and `User-Agent` headers: `Node.js/x.y.z nest-secure-ws/X.Y`. */
export const IDENTITY = `Node.js/${process.versions.node} nest-secure-ws/${VERSION.split('.').slice(0, 2).join('.')}`;
