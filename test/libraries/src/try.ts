import 'reflect-metadata';
import { ApolloModule } from './recipes/apollo.js';
import { MercuriusModule } from './recipes/mercurius.js';
import { tryGraphql } from './try-graphql.js';
import { tryPlainWs, tryVite } from './try-others.js';
import { tryExpressSession, tryPassport } from './try-sign-in.js';

const PLATFORMS = ['express', 'fastify'] as const;
const TRIES: readonly (readonly [name: string, run: () => Promise<void>])[] = [
  ...PLATFORMS.map((each) => [`passport on ${each}`, () => tryPassport(each)] as const),
  ['express-session', tryExpressSession],
  ['Apollo', () => tryGraphql(ApolloModule, 'express')],
  ['Mercurius', () => tryGraphql(MercuriusModule, 'fastify')],
  ...PLATFORMS.map((each) => [`Vite on ${each}`, () => tryVite(each)] as const),
  ...PLATFORMS.map((each) => [`plain ws on ${each}`, () => tryPlainWs(each)] as const),
];

for (const [name, run] of TRIES) {
  const begun = performance.now();
  await run();
  console.log(`The recipe works: ${name} (${Math.round(performance.now() - begun)} ms)`);
}
