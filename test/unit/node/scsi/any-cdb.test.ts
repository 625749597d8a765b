import fc from 'fast-check';
import { expect, test } from 'vitest';
import { commandTable } from '../../../../node/scsi/command-table.ts';
import { dataInBytes, dataOutBytes } from '../../../../node/scsi/prepared-command.ts';
import { encodeDescriptorSense, encodeSense, sense } from '../../../../node/scsi/sense.ts';
import { UnitFixture } from './unit-fixture.ts';

const KINDS = new Set(['good', 'check-condition', 'reservation-conflict']);

/** Half of them near enough to a command to get past its first checks. */
const cdb = fc.oneof(
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc
    .record({
      row: fc.constantFrom(...commandTable),
      noise: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      keep: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      small: fc.boolean(),
    })
    .map(({ row, noise, keep, small }) => {
      const bytes = Uint8Array.from(noise, (byte, i) => byte & (row.usage[i] ?? 0));
      if (small) for (let i = 2; i < 16; i++) bytes[i] = (bytes[i] as number) & (keep[i] as number) & 3;
      bytes[0] = row.opcode;
      if (row.serviceAction !== undefined) bytes[1] = ((bytes[1] as number) & 0xe0) | row.serviceAction;
      return bytes;
    }),
);

test('any CDB, with any data, ends with a status, and leaves the unit working', async () => {
  const fixture = new UnitFixture();
  const units = [fixture.initiator(1), fixture.initiator(2)];
  const command = fc.record({ who: fc.nat(1), bytes: cdb, data: fc.uint8Array({ maxLength: 2100 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 12 }), async (commands) => {
      await Promise.all(
        commands.map(async ({ who, bytes, data }) => {
          const unit = units[who] as (typeof units)[0];
          const prepared = unit.prepare(bytes, 0);
          const wanted = dataOutBytes(prepared);
          expect(wanted).toBeLessThanOrEqual(fixture.device.bytes.length * 2);
          expect(dataInBytes(prepared)).toBeLessThanOrEqual(fixture.device.bytes.length);
          const given = Buffer.alloc(wanted);
          given.set(data.subarray(0, wanted));
          const outcome = await unit.run(prepared, [given]);
          expect(KINDS).toContain(outcome.kind);
          if (outcome.kind !== 'check-condition') return;
          expect(outcome.sense).not.toMatchObject(sense.internalTargetFailure);
          expect(encodeSense(outcome.sense)).toHaveLength(18);
          expect(encodeDescriptorSense(outcome.sense).length).toBeLessThan(252);
        }),
      );
    }),
    { numRuns: 400 },
  );
  // Whatever they have left behind is undone by the usual means.
  for (const unit of units) {
    for (let i = 0; i < 8; i++) unit.takeAttention();
    unit.resetReservation();
  }
  await fixture.state.close();
  const [unit] = units as [(typeof units)[0]];
  const ready = await unit.run(unit.prepare(new Uint8Array(16), 0), []);
  expect(KINDS).toContain(ready.kind);
});

test('a bit that the usage data does not name is refused, and named', () => {
  const unit = new UnitFixture().initiator();
  for (const row of commandTable) {
    for (let byte = 1; byte < row.usage.length; byte++) {
      for (let bit = 0; bit < 8; bit++) {
        if ((((row.usage[byte] as number) >> bit) & 1) === 1) continue;
        const bytes = new Uint8Array(16);
        bytes[0] = row.opcode;
        if (row.serviceAction !== undefined) bytes[1] = row.serviceAction;
        bytes[byte] = (bytes[byte] as number) | (1 << bit);
        const prepared = unit.prepare(bytes, 0);
        const field = { inCdb: true, byte, bit };
        expect(prepared, `${row.name} byte ${byte} bit ${bit}`).toMatchObject({
          kind: 'done',
          outcome: { kind: 'check-condition', sense: { ...sense.invalidFieldInCdb, field } },
        });
      }
    }
  }
});
