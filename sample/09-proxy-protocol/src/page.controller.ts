import { Controller, Get, Ip } from '@nestjs/common';

@Controller()
export class PageController {
  @Get()
  page(@Ip() ip: string): string {
    return `An ordinary page for ${ip}, through the same proxy.\n`;
  }
}
