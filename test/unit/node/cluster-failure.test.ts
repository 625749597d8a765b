import { describe, expect, it } from 'vitest';
import { InvariantError, OperationError } from '../../../base/errors.ts';
import { EXIT_CODE } from '../../../base/exit-code.ts';
import { LogFailure } from '../../../base/record-log.ts';
import { endAfter } from '../../../node/cluster-failure.ts';

const io = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
const invariant = new InvariantError('entries up to 7 are kept');

describe('a node whose part in the cluster log has failed', () => {
  it.each([
    ['a failed fsync', new LogFailure('fdatasync failed', { cause: io })],
    ['a log that failed by whatever it was', new LogFailure('append failed', { cause: invariant })],
    ['the disk under the applied state', new Error('the applied state cannot be written', { cause: io })],
    [
      'what the database says in words of its own',
      new Error('the applied state cannot be written', { cause: new Error('IO error: 000012.log') }),
    ],
    ['what is no error', 'gone'],
    [
      'a slip after which the device turned out to be at fault',
      Object.assign(new TypeError('read'), { cause: io }),
    ],
  ])('is not started again over %s', (_name, error) => {
    expect(endAfter(error)).toMatchObject({ code: EXIT_CODE.storage, fields: { cause: 'storage' } });
  });

  it.each([
    ['an invariant', invariant],
    ['a slip', new TypeError('Cannot read properties of undefined')],
    ['either under another word', new Error('the applied state cannot be written', { cause: invariant })],
  ])('is started again after %s, and says where it was', (_name, error) => {
    expect(endAfter(error)).toEqual({
      code: EXIT_CODE.again,
      event: 'node.failed',
      fields: { cause: 'bug', reason: error.stack },
    });
  });

  it('is refused where an administrator has to do something', () => {
    const error = new OperationError('too old', { kind: 'conflict', code: 'program-too-old' });
    expect(endAfter(error)).toMatchObject({ code: EXIT_CODE.refused, event: 'node.refused' });
  });
});
