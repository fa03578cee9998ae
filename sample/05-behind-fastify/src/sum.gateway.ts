import { BadRequestException } from '@nestjs/common';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway } from 'nest-secure-ws';

@SecureGateway({ path: '/sum', messages: { maxSize: '4kb', rate: '100/1s' } })
export class SumGateway {
  @SubscribeMessage('sum')
  sum(@MessageBody() numbers: unknown) {
    const isList = Array.isArray(numbers) && numbers.every((each) => typeof each === 'number');
    if (!isList) throw new BadRequestException('data must be a list of numbers');
    return { event: 'sum', data: numbers.reduce((sum, each) => sum + each, 0) };
  }
}
