import { deepStrictEqual as equal } from 'node:assert';
import { ExpressSessionModule } from './recipes/express-session.js';
import { PassportExampleModule } from './recipes/passport.js';
import { closeCode, Recipe, tokenFor } from './support.js';

export async function tryPassport(platform: 'express' | 'fastify'): Promise<void> {
  const recipe = await Recipe.start(PassportExampleModule, platform);
  const who = (headers: Record<string, string>) => recipe.who('/chat', headers);
  const token = await tokenFor('ada');
  equal(await who({ Authorization: `Bearer ${token}` }), 'ada');
  equal(await who({ Cookie: `a=b; session=${token}` }), 'ada');
  const [, claims, signature] = token.split('.');
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  for (const bad of [
    '',
    'garbage',
    `${none}.${claims}.`,
    `${none}.${claims}.${signature}`,
    await tokenFor('ada', Math.floor(Date.now() / 1000) - 60),
    await tokenFor('ada', '5m', 'another secret of more than 32 bytes'),
  ])
    equal([bad, await who({ Authorization: `Bearer ${bad}` })], [bad, 401]);
  equal(await who({}), 401);
  await recipe.close();
}

export async function tryExpressSession(): Promise<void> {
  const recipe = await Recipe.start(ExpressSessionModule);
  const login = async (name: string, headers?: Record<string, string>): Promise<string> => {
    const response = await recipe.post('/login', { name, password: 'correct horse' }, headers);
    equal(response.status, 201);
    return response.headers.getSetCookie()[0]!.split(';')[0]!;
  };
  equal((await recipe.post('/login', { name: 'ada', password: 'wrong' })).status, 401);
  const ada = await login('ada');
  const eve = await login('eve');
  equal([await recipe.who('/chat', { Cookie: ada }), await recipe.who('/chat', { Cookie: eve })], ['ada', 'eve']);
  equal(await recipe.who('/chat', {}), 403);
  // Neither another signature nor another id with the same signature is accepted.
  equal(await recipe.who('/chat', { Cookie: `${ada.slice(0, -4)}AAAA` }), 403);
  equal(await recipe.who('/chat', { Cookie: ada.replace(/s%3A..../, 's%3AAAAA') }), 403);
  equal(await recipe.who('/chat', { Cookie: ada, Origin: 'https://evil.example' }), 403);
  // A new login has a new id; the old one is invalid.
  const again = await login('ada', { Cookie: ada });
  equal(await recipe.who('/chat', { Cookie: ada }), 403);

  const [open, other] = [
    await recipe.mustOpen('/chat', { Cookie: again }),
    await recipe.mustOpen('/chat', { Cookie: eve }),
  ];
  const closed = closeCode(open);
  equal((await recipe.post('/logout', {}, { Cookie: again })).status, 201);
  equal(await closed, 4401);
  equal(await recipe.who('/chat', { Cookie: again }), 403);
  equal(other.readyState, other.OPEN);
  equal(await recipe.who('/chat', { Cookie: eve }), 'eve');
  await recipe.close();
}
