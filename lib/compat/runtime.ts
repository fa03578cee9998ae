/**
 * Imported before everything else: other runtimes lack parts of Node that this library needs, and would fail in one of
 * its modules with a meaningless error.
 */
if ((process.versions as { bun?: string }).bun !== undefined)
  throw new Error(
    'nest-secure-ws needs Node.js 20.19 or newer: Bun does not pass on upgrades as Node does; run the application with node',
  );
