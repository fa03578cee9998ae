import { deepStrictEqual as equal, ok } from 'node:assert';
import type { Type } from '@nestjs/common';
import { type Client, createClient } from 'graphql-ws';
import { SecureWsStats } from 'nest-secure-ws';
import { ORIGIN, Recipe, rawStatus, tokenFor, webSocketWith } from './support.js';

const COUNT = (number: number) => ({ query: `subscription { countTo(number: ${number}) }` });

/** Nest's GraphQL module with the client of graphql-ws. */
export async function tryGraphql(module: Type, platform: 'express' | 'fastify'): Promise<void> {
  const recipe = await Recipe.start(module, platform);
  const token = await tokenFor('ada');
  const good = { Authorization: `Bearer ${token}`, Origin: ORIGIN };
  const client = (headers: Record<string, string>, lazy = true): Client =>
    createClient({
      url: recipe.url('/graphql'),
      webSocketImpl: webSocketWith(headers),
      retryAttempts: 0,
      lazy,
      onNonLazyError: () => undefined,
    });
  const count = async (made: Client): Promise<unknown[]> => {
    const results: unknown[] = [];
    for await (const { data } of made.iterate(COUNT(3))) results.push(data);
    return results;
  };
  const expected = [1, 2, 3].map((i) => ({ countTo: `${i} for ada` }));

  // Ordinary queries are unaffected.
  const answer = await recipe.post('/graphql', { query: '{ version }' });
  equal(await answer.json(), { data: { version: '1' } });

  for (const headers of [good, { Cookie: `session=${token}`, Origin: ORIGIN }]) {
    const made = client(headers);
    equal(await count(made), expected);
    await made.dispose();
    await recipe.untilSlots(0);
  }

  // Refused before the 101; to the client the connection has failed.
  const refusals: [Record<string, string>, number][] = [
    [{ Origin: ORIGIN }, 401],
    [{ ...good, Authorization: `Bearer ${await tokenFor('ada', '5m', 'another secret of more than 32 bytes')}` }, 401],
    [{ ...good, Authorization: `Bearer ${await tokenFor('ada', Math.floor(Date.now() / 1000) - 60)}` }, 401],
    [{ ...good, Origin: 'https://evil.example' }, 403],
    [{ ...good, Origin: 'http://app.example' }, 403],
  ];
  for (const [headers, status] of refusals) {
    equal(await recipe.open('/graphql', headers, ['graphql-transport-ws']), status);
    ok(
      await count(client(headers)).then(
        () => false,
        () => true,
      ),
    );
  }
  // Fastify's router decodes a path before matching it: other spellings of the path are refused.
  for (const path of ['/%67raphql', '/graphql/', '/x/../graphql', '//graphql', '/GraphQL'])
    equal([path, await rawStatus(recipe.port, path, 'graphql-transport-ws')], [path, 404]);
  await recipe.untilSlots(0);

  // maxPerUser: two connections, and another when one has closed.
  const open = await Promise.all(
    [1, 2].map(
      () =>
        new Promise<Client>((resolve, reject) => {
          const made = client(good, false);
          made.on('connected', () => resolve(made));
          made.on('error', reject);
        }),
    ),
  );
  await recipe.untilSlots(2);
  equal(await recipe.open('/graphql', good, ['graphql-transport-ws']), 429);
  ok(
    await count(client(good)).then(
      () => false,
      () => true,
    ),
  );
  // Another user is not limited by these.
  const other = client({ Authorization: `Bearer ${await tokenFor('eve')}`, Origin: ORIGIN });
  equal(
    await count(other),
    [1, 2, 3].map((i) => ({ countTo: `${i} for eve` })),
  );
  await other.dispose();
  await open[0]!.dispose();
  await recipe.untilSlots(1);
  const next = client(good);
  equal(await count(next), expected);
  await next.dispose();
  open[1]!.terminate();
  await recipe.untilSlots(0);
  const { refused } = recipe.app.get(SecureWsStats).snapshot();
  equal([refused['origin'], refused['guard']], [4, 6]);
  await recipe.close();
}
