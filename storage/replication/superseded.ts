import type { ReplicaEffect } from './core.ts';
import type { LunList } from './group-meta.ts';

/** Something of the shell's own that has to take its turn among the effects. */
export interface OwnEffect {
  readonly kind: 'trim';
  readonly baseIndex: number;
  readonly list: LunList;
  readonly cut: number;
}

const LAST_COUNTS: ReadonlySet<WaitingEffect['kind']> = new Set(['sync', 'commit', 'propose']);

export type WaitingEffect = ReplicaEffect | OwnEffect;

/**
 * What is left of effects that wait, in their order. Where each says or asks all that the ones before it did, only the last
 * counts: messages may be lost and are never answered one by one, and a promise is given by the newest alone. Nothing is
 * carried out earlier than it would have been. Of what changes the log or the meta file everything stays, but for a table of
 * epochs and a grant that another one follows at once: nothing can have rested on them.
 */
export function withoutSuperseded(effects: readonly WaitingEffect[]): WaitingEffect[] {
  const later = new Set<string>();
  const left: WaitingEffect[] = [];
  for (let i = effects.length - 1; i >= 0; i--) {
    const effect = effects[i] as WaitingEffect;
    const subject = subjectOf(effect);
    const isSuperseded =
      subject === undefined
        ? effect.kind === 'persist' && left.at(-1)?.kind === 'persist'
        : later.has(subject);
    if (isSuperseded) continue;
    if (subject !== undefined) later.add(subject);
    left.push(effect);
  }
  return left.reverse();
}

/** Of effects of one subject the last is enough; undefined: each of them counts. */
function subjectOf(effect: WaitingEffect): string | undefined {
  if (effect.kind === 'send') return `send ${effect.frame.kind} ${effect.to}`;
  if (effect.kind === 'sendReset') return `sendReset ${effect.to}`;
  if (effect.kind === 'stream') return `stream ${effect.to.nodeId} ${effect.to.incarnation}`;
  return LAST_COUNTS.has(effect.kind) ? effect.kind : undefined;
}
