// heddle in ztunnel's place, as in a cluster: a control plane feeds it, a CA trusts it with the names of its pods, and an agent hands them over.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { FakeControlPlane } from './fake-control-plane.ts'
import { CA_SERVER_NAME, type IstioCaServer } from './istio-ca-server.ts'
import type { NodeMesh, Pod } from './node-mesh.ts'
import { type HeddleProcess, startProxy } from './proxy.ts'
import type { SigningCa } from './signing-ca.ts'
import type { Teardown } from './teardown.ts'
import { ZdsAgent } from './zds-agent.ts'

/** By which the fake CA knows a node. */
export const NODE_TOKEN = 'node'

export interface FedNodeOptions {
  readonly mesh: NodeMesh
  readonly plane: FakeControlPlane
  readonly ca: IstioCaServer
  /** Whose root it is told to trust. */
  readonly authority: SigningCa
  readonly pods: readonly Pod[]
}

/** On the machine itself, where control plane and CA are. */
export async function startFedNode(t: Teardown, { mesh, plane, ca, authority, pods }: FedNodeOptions): Promise<HeddleProcess> {
  const agent = await ZdsAgent.start(t)
  const [roots, token] = [path.join(mesh.folder, 'root.pem'), path.join(mesh.folder, 'token')]
  writeFileSync(roots, authority.rootPem)
  writeFileSync(token, NODE_TOKEN)
  const istioCa = { address: `127.0.0.1:${ca.address.port}`, serverName: CA_SERVER_NAME, roots, token }
  const proxy = await startProxy(t, {
    listeners: [],
    bootstrap: {
      role: 'node',
      resources: [],
      xds: { address: plane.hostAndPort, transport: 'plaintext' },
      identity: { source: 'istio-ca', istioCa },
      node: { agentSocket: agent.socket },
      drain: { deadline: '5s' },
    },
  })
  await handOver(agent, pods)
  return proxy
}

/** All pods of a node, and that these are all. */
export async function handOver(agent: ZdsAgent, pods: readonly Pod[], connection = 1): Promise<void> {
  await agent.connected(connection)
  for (const { name, namespace } of pods) {
    const error = await agent.add({ uid: `uid-${name}`, name, netns: namespace.path })
    if (error !== '') throw new Error(`${name}: ${error}`)
  }
  const error = await agent.snapshotSent()
  if (error !== '') throw new Error(error)
}
