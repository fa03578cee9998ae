import { ConnectedSocket, SubscribeMessage } from '@nestjs/websockets';
import { allow, ClientIp, Principal, SecureGateway, type SecureSocket, type UpgradeAttempt } from 'nest-secure-ws';

/** Further values of the PROXY header: the requested server name, and the name in the client's certificate. */
const fromProxy = ({ proxy }: UpgradeAttempt) =>
  allow({ principal: { name: proxy?.authority, device: proxy?.commonName } });

@SecureGateway({ path: '/who', guards: [fromProxy] })
export class WhoGateway {
  @SubscribeMessage('who')
  who(@ClientIp() ip: string, @Principal() said: object, @ConnectedSocket() { secure }: SecureSocket) {
    return { event: 'who', data: { ip, secure, ...said } };
  }
}
