import { ConnectedSocket, SubscribeMessage } from '@nestjs/websockets';
import { allow, ClientIp, Principal, SecureGateway, type SecureSocket, type UpgradeAttempt } from 'nest-secure-ws';

/** What the proxy said beside the address: the name that the client asked for, and who it is by its certificate. */
const fromProxy = ({ proxy }: UpgradeAttempt) =>
  allow({ principal: { name: proxy?.authority, device: proxy?.commonName } });

@SecureGateway({ path: '/who', guards: [fromProxy] })
export class WhoGateway {
  @SubscribeMessage('who')
  who(@ClientIp() ip: string, @Principal() said: object, @ConnectedSocket() { secure }: SecureSocket) {
    return { event: 'who', data: { ip, secure, ...said } };
  }
}
