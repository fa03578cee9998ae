import { once } from 'node:events';
import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { SecureWsModule } from 'nest-secure-ws';
import { attempt, connectTo } from 'nest-secure-ws/testing';
import { BlockedGuard, ChatGateway, TokenGuard } from './chat.gateway';

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

  it('says', async () => {
    const socket = await connectTo(app, '/chat?token=ada');
    const reply = once(socket, 'message');
    socket.sendEvent('say', { text: 'hi' });
    expect(JSON.parse(String((await reply)[0]))).toMatchObject({ event: 'said', data: { text: 'hi', by: 'ada' } });
    socket.close();
    await socket.closed;
  });

  it('has a guard', () => {
    expect(new TokenGuard().admit(attempt())).toMatchObject({ decision: 'refuse', status: 401 });
    expect(new TokenGuard().admit(attempt({ path: '/chat?token=ada' }))).toMatchObject({ decision: 'allow' });
  });
});
