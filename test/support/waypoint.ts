// heddle as a waypoint for one test, with certificates that the test made.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { HboneIdentity } from './hbone-peer.ts'
import { type HeddleProcess, startProxy } from './proxy.ts'
import type { Teardown } from './teardown.ts'

/** Of namespace `shop`. Its port is that of the listener `connect_terminate`. */
export function startWaypoint(
  t: Teardown,
  as: HboneIdentity,
  resources: string,
  bootstrap: Readonly<Record<string, unknown>> = {},
): Promise<HeddleProcess> {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-waypoint-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const files = {
    certificateChain: path.join(dir, 'cert.pem'),
    privateKey: path.join(dir, 'key.pem'),
    roots: path.join(dir, 'roots.pem'),
  }
  writeFileSync(files.certificateChain, as.issued.chain)
  writeFileSync(files.privateKey, as.issued.key)
  writeFileSync(files.roots, as.roots.join('\n'))
  return startProxy(t, {
    resources,
    listeners: [],
    bootstrap: {
      role: 'waypoint',
      concurrency: 1,
      drain: { deadline: '500ms' },
      workload: { namespace: 'shop', serviceAccount: 'waypoint', name: 'waypoint-1', labels: { app: 'waypoint' } },
      waypoint: { address: '127.0.0.1', port: 0, serves: 'all', detectionTimeout: '200ms' },
      identity: { source: 'files', files },
      ...bootstrap,
    },
  })
}
