import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { SecureWsModule } from 'nest-secure-ws';
import { attempt, connectTo, expectRefusal } from 'nest-secure-ws/testing';
import { BlockedGuard, ChatGateway, TokenGuard } from './chat.gateway';

interface Events {
  said: { text: string; by: string };
}

describe('ChatGateway', () => {
  let app: INestApplication;

  beforeAll(async () => {
    const testing = await Test.createTestingModule({
      imports: [SecureWsModule.forRoot()],
      providers: [ChatGateway, TokenGuard, BlockedGuard],
    }).compile();
    app = testing.createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
  });
  afterAll(() => app.close());

  it('broadcasts a message', async () => {
    const client = await connectTo<Events>(app, '/chat?token=ada');
    client.send('say', { text: 'hi' });
    expect(await client.nextEvent('said')).toMatchObject({ text: 'hi', by: 'ada' });
    await expect(client.nextEvent('said', { timeout: 1 })).rejects.toThrow("no event 'said' within 1 ms");
    await client.close();
  });

  it('refuses a connection without a token', async () => {
    await expectRefusal(app, { path: '/chat' }, { status: 401, reason: 'guard' });
    await expect(expectRefusal(app, { path: '/chat' }, { status: 403 })).rejects.toThrow(
      /refused with 401, reason guard/,
    );
  });

  it('has a guard that can be tested alone', () => {
    expect(new TokenGuard().admit(attempt())).toMatchObject({ decision: 'refuse', status: 401 });
    expect(new TokenGuard().admit(attempt({ path: '/chat?token=ada' }))).toMatchObject({ decision: 'allow' });
  });
});
