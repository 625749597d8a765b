import { expect, it } from 'vitest';
import type { PeerTransport } from '../../../../base/peer-transport.ts';
import { decodeFrame } from '../../../../storage/replication/frame.ts';
import { NOTICE_REPEAT_MS } from '../../../../storage/replication/limits.ts';
import { Notices } from '../../../../storage/replication/notices.ts';
import { Driver, group, identity } from './machine-driver.ts';

const NOTICE = Buffer.from('initiators');

/** Of the primary "a" of epoch 3, which has links to "b" and "c". */
function primary() {
  const driver = new Driver();
  driver.state(group(3, 'a', ['a', 'b']));
  const sent: string[] = [];
  const transport = {
    send: (to, parts) => {
      const frame = decodeFrame(Buffer.concat(parts));
      sent.push(
        frame.kind === 'notice' ? `${to} ${frame.epoch} ${Buffer.from(frame.notice).toString()}` : frame.kind,
      );
      return true;
    },
  } as Partial<PeerTransport> as PeerTransport;
  const notices = new Notices({
    core: driver.core,
    transport,
    clock: { monotonicMs: () => driver.nowMs, wallMs: () => 0 },
    primary: () => driver.primary,
    onNotice: () => {},
  });
  return { driver, notices, sent, taken: () => sent.splice(0) };
}

it('a notice goes to all that there are links to, and again after a while', () => {
  const { driver, notices, taken } = primary();
  notices.publish(NOTICE);
  expect(taken()).toEqual(['b 3 initiators', 'c 3 initiators']);
  notices.tick(driver.nowMs + NOTICE_REPEAT_MS - 1);
  expect(taken()).toEqual([]);
  notices.tick(driver.nowMs + NOTICE_REPEAT_MS);
  expect(taken()).toHaveLength(2);
});

it('a member has it with its first answer in each epoch, since it may have taken none before', () => {
  const { driver, notices, taken } = primary();
  notices.publish(NOTICE);
  taken();
  notices.answered(identity('c'));
  notices.answered(identity('c'));
  expect(taken()).toEqual(['c 3 initiators']);
  driver.state(group(4, 'a', ['a', 'b', 'c']));
  notices.answered(identity('c'));
  notices.answered(identity('b'));
  notices.answered(identity('c'));
  expect(taken()).toEqual(['c 4 initiators', 'b 4 initiators']);
});

it('a member has it again when its link has broken, or its process is another one', () => {
  const { driver, notices, taken } = primary();
  notices.publish(NOTICE);
  notices.answered(identity('c'));
  taken();
  notices.linkUp(identity('c'));
  notices.answered(identity('c'));
  expect(taken()).toEqual(['c 3 initiators']);
  const later = { nodeId: 'c', incarnation: 'c.2' };
  notices.answered(later);
  expect(taken(), 'no member yet').toEqual([]);
  driver.step({ kind: 'link', peer: later, up: true });
  notices.answered(later);
  expect(taken()).toEqual(['c 3 initiators']);
});

it('whoever is primary no longer tells nobody anything', () => {
  const { driver, notices, taken } = primary();
  notices.publish(NOTICE);
  taken();
  driver.state(group(4, 'b', ['a', 'b']));
  notices.answered(identity('c'));
  notices.forget();
  notices.answered(identity('c'));
  notices.tick(driver.nowMs + NOTICE_REPEAT_MS);
  expect(taken()).toEqual([]);
});
