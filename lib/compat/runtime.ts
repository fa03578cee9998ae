/**
 * Imported before everything else: other runtimes lack parts of Node that this library needs, and would fail somewhere
 * in its modules with an error that says nothing.
 */
if ((process.versions as { bun?: string }).bun !== undefined)
  throw new Error(
    'nest-secure-ws needs Node.js 20.19 or newer: Bun does not hand upgrades over as Node does; run the application with node',
  );
