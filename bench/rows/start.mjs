import { startServer } from '../servers/index.mjs';
import { Row } from './collector.mjs';

const KEYS = ['nestWs', 'ours'];
const MIB = 1024 * 1024;

/** Time and memory that the module adds to the start of an application, relative to the stock adapter. */
export async function start(bench) {
  const of = (id, title, unit) => new Row({ id: `start.${id}`, title, unit, base: null });
  const rows = {
    create: of('create', 'NestFactory.create and listen', 'ms'),
    whole: of('whole', 'Start of the process to listening', 'ms'),
    rss: of('rss', 'RSS after the start', 'MiB'),
  };
  const more = (id, title, unit, max) =>
    new Row({ id: `start.more.${id}`, title, unit, base: null, limits: { ours: { max } } });
  const differences = {
    create: more('create', 'NestFactory.create and listen, more than with the stock adapter', 'ms', 60),
    whole: more('whole', 'Start of the process, more than with the stock adapter', 'ms', 60),
    rss: more('rss', 'RSS after the start, more than with the stock adapter', 'MiB', 12),
  };
  await bench.turns(11, KEYS, async (key) => {
    const figures = await startOf(key);
    for (const [name, row] of Object.entries(rows)) row.add(key, figures[name]);
  });
  for (const [name, { samples }] of Object.entries(rows))
    for (const [turn, value] of (samples.ours ?? []).entries())
      if (samples.nestWs !== undefined) differences[name].add('ours', value - samples.nestWs[turn]);
  return [...Object.values(rows), ...Object.values(differences)];
}

async function startOf(key) {
  const server = await startServer(key);
  try {
    const { create, whole } = await server.child.call('started');
    return { create, whole, rss: (await server.memory()).rss / MIB };
  } finally {
    await server.stop();
  }
}
