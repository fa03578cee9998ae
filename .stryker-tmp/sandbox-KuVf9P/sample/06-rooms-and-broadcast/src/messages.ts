// @ts-nocheck
import { IsString, Length, Matches } from 'class-validator';

export class RoomDto {
  @Matches(/^[\w-]{1,32}$/, { message: 'room must be 1 to 32 letters, digits, _ or -' })
  room!: string;
}

export class SayDto extends RoomDto {
  @IsString()
  @Length(1, 500)
  text!: string;
}
