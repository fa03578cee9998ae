// `npm start`: installs and builds what is missing, then runs the quick-start sample, which reads `.env` here.
import { build, install, root } from './build.mjs';

const SAMPLE = '01-quick-start';

process.chdir(root);
try {
  await install();
  await build([SAMPLE]);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
await import(`../sample/${SAMPLE}/dist/main.js`);
