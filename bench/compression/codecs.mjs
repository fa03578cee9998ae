import { createRequire } from 'node:module';
import { codecsOf } from '../../build/cli/tune/codecs.js';

const { PerMessageDeflate } = createRequire(import.meta.url)('ws');
const MAX_SIZE = 64 * 1024 * 1024;

/** A table row → a function that creates one end of a connection. */
export const makerOf = (row) => (row.kind === 'ws' ? ofWs({ tuned: row.mode === 'tuned' }) : codecsOf(row));

/** `ws` with its defaults, or with the settings that its documentation recommends for low memory. */
function ofWs({ tuned }) {
  const zlibDeflateOptions = tuned ? { windowBits: 12, memLevel: 5 } : {};
  const windows = tuned ? { server_max_window_bits: ['12'], client_max_window_bits: ['12'] } : {};
  const contexts = tuned ? { server_no_context_takeover: [true], client_no_context_takeover: [true] } : {};
  return () => {
    const deflate = new PerMessageDeflate({ isServer: true, maxPayload: MAX_SIZE, zlibDeflateOptions });
    deflate.accept([{ ...windows, ...contexts }]);
    const promised = (method, data) =>
      new Promise((resolve, reject) =>
        deflate[method](data, true, (error, result) => (error ? reject(error) : resolve(result))),
      );
    return {
      compress: (message) => promised('compress', message),
      decompress: (wire) => promised('decompress', wire),
      close: () => deflate.cleanup(),
    };
  };
}
