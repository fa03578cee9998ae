// @ts-nocheck
import { Controller, Get } from '@nestjs/common';

@Controller()
export class PageController {
  @Get()
  page(): string {
    return 'An ordinary page, through the same proxy.\n';
  }
}
