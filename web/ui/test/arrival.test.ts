import { expect, test } from 'vitest';
import { arrivalOf } from '../src/queue/arrival';

test.each([
  ['', null],
  ['#', null],
  ['#top', null],
  ['#email=ada@example.com', null],
  ['#invite=', null],
  ['#handover=Ab-3_x', { handover: 'Ab-3_x' }],
  ['#invite=a.b-c_d.e', { invite: 'a.b-c_d.e' }],
  ['#invite=a.b.c&email=ada%2Bx%40example.com', { invite: 'a.b.c', email: 'ada+x@example.com' }],
  ['#invite=a.b.c&email=ada+x@example.com', { invite: 'a.b.c', email: 'ada+x@example.com' }],
  ['#user_token=x.y.z&other=1', { user_token: 'x.y.z' }],
])('%s', (hash, arrival) => expect(arrivalOf(hash)).toEqual(arrival));
