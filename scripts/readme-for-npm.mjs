// Makes the links and images of the README absolute before the package is packed, so that they work wherever the README is
// shown, and relative again afterwards:
//
//     node scripts/readme-for-npm.mjs absolute    (prepack)
//     node scripts/readme-for-npm.mjs relative    (postpack)
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const HOME = 'https://github.com/nest-secure-ws/nest-secure-ws';
const PICTURES = 'https://raw.githubusercontent.com/nest-secure-ws/nest-secure-ws/main/';
/** A file or folder of the repository. */
const at = (path) => `${HOME}/${/\.\w+$|LICENSE$/.test(path.split('#')[0]) ? 'blob' : 'tree'}/main/${path}`;

/** Converts every relative link and image to an absolute address. */
export const absolute = (text) =>
  text
    .replace(/(!\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)/g, (_, shown, path) => `${shown}(${PICTURES}${path})`)
    .replace(/(?<!!\[[^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)/g, (_, path) => `](${at(path)})`);

/** The inverse. */
export const relative = (text) =>
  text.replaceAll(`](${PICTURES}`, '](').replace(new RegExp(`\\]\\(${HOME}/(?:blob|tree)/main/`, 'g'), '](');

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const convert = { absolute, relative }[process.argv[2]];
  if (convert === undefined) throw new Error('either absolute or relative');
  writeFileSync('README.md', convert(readFileSync('README.md', 'utf8')));
}
