// This node as a control plane is told of it, with what heddle.yaml does not say looked up: the environment, the files of the downward API, the interfaces.
import { readFileSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import type { BootstrapConfig } from '../../state/bootstrap-config.ts'
import type { Node } from '../proto/core.ts'
import { type Environment, readIstioEnvironment } from './istio-environment.ts'
import { clusterIdOf, nodeIdentity } from './node-identity.ts'

export interface OwnNode {
  readonly node: Node
  readonly clusterId: string
  /** What could not be read, in words. */
  readonly problems: readonly string[]
}

/** `version`: of heddle. */
export function ownNode(bootstrap: BootstrapConfig, env: Environment, version: string): OwnNode {
  const { xds } = bootstrap
  const istio = readIstioEnvironment(env, {
    labels: textOrNull(xds.podLabels),
    annotations: textOrNull(xds.podAnnotations),
  })
  const input = { bootstrap, env, istio, addresses: ownAddresses(), hostname: hostname(), version }
  return { node: nodeIdentity(input), clusterId: clusterIdOf(input), problems: istio.problems }
}

function textOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}

/** All by which others may reach this network namespace. */
function ownAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !/^(169\.254\.|fe[89ab][0-9a-f]:)/i.test(address))
    .map(({ address }) => address)
}
