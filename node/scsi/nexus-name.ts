/**
 * Names of I_T nexuses, as persistent reservations keep them. A nexus by the first target port is named by its
 * initiator port alone (iSCSI name, ",i,0x", ISID), one by another port with that port behind it.
 */
const FIRST_TARGET_PORT = 1;
const NAME = /^(?<initiatorPort>.*,i,0x[0-9a-f]{12})(?:,t,0x(?<targetPort>[0-9a-f]{4}))?$/i;

/** @param targetPort relative target port identifier */
export function nexusName(initiatorPort: string, targetPort: number): string {
  if (targetPort === FIRST_TARGET_PORT) return initiatorPort;
  return `${initiatorPort},t,0x${targetPort.toString(16).padStart(4, '0')}`;
}

export function partsOfNexus(name: string): { readonly initiatorPort: string; readonly targetPort: number } {
  const { initiatorPort = name, targetPort } = NAME.exec(name)?.groups ?? {};
  return {
    initiatorPort,
    targetPort: targetPort === undefined ? FIRST_TARGET_PORT : Number.parseInt(targetPort, 16),
  };
}
