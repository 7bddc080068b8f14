// What of this machine, or of a network namespace on it, decides about rules, and whether we may change them.
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import type { HostFacts } from './read-settings.ts'
import type { RunCommand } from './system-command.ts'

/** capabilities(7) */
const CAP_NET_ADMIN = 12

/** `networkNamespace`: whether `run` runs in another one, whose addresses `ip` has to tell. */
export async function hostFacts(run: RunCommand, networkNamespace: boolean): Promise<HostFacts> {
  return {
    ipv6: networkNamespace ? await otherHasIpv6(run) : ownHasIpv6(),
    nameservers: nameserversIn(readOr('/etc/resolv.conf')),
    groupId: (name) => groupIn(readOr('/etc/group'), name),
  }
}

function ownHasIpv6(): boolean {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  return addresses.some((a) => a.family === 'IPv6' && !a.internal && !a.address.toLowerCase().startsWith('fe80:'))
}

async function otherHasIpv6(run: RunCommand): Promise<boolean> {
  const { code, stdout } = await run('ip', ['-6', '-o', 'addr', 'show', 'scope', 'global'])
  // ::6 on the loopback interface may be there from an earlier run.
  return code === 0 && stdout.split('\n').some((line) => line.trim() !== '' && !/^\d+: lo\b/.test(line))
}

export function nameserversIn(resolvConf: string): readonly string[] {
  return [...resolvConf.matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm)].map((m) => m[1]!)
}

/** Null for a group that is not there. */
export function groupIn(etcGroup: string, name: string): number | null {
  const line = etcGroup.split('\n').find((l) => l.startsWith(`${name}:`))
  const id = line?.split(':')[2] ?? ''
  return /^\d+$/.test(id) ? Number(id) : null
}

/** Null where the kernel does not say. */
export function mayChangeRules(): boolean | null {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readOr('/proc/self/status'))?.[1]
  return effective === undefined ? null : ((BigInt(`0x${effective}`) >> BigInt(CAP_NET_ADMIN)) & 1n) === 1n
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
