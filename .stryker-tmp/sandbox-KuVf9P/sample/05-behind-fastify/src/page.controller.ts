// @ts-nocheck
import { Controller, Get } from '@nestjs/common';

@Controller()
export class PageController {
  @Get()
  page(): string {
    return 'Served by Fastify.\n';
  }
}
