import { SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway } from 'nest-secure-ws';
import { interval, map, type Observable } from 'rxjs';

@SecureGateway({ path: '/prices' })
export class PricesGateway {
  /** An observable, which is unsubscribed when the connection ends. */
  @SubscribeMessage('subscribe')
  subscribe(): Observable<{ event: string; data: number }> {
    return interval(500).pipe(map((n) => ({ event: 'price', data: 100 + (n % 10) })));
  }
}
