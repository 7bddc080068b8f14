// The Sidecar (networking.istio.io) that lets a workload know what it has used, and no more.
import type { UsedHost } from '../admin/config-use-page.ts'

export interface WorkloadName {
  readonly namespace: string
  readonly name: string
  /** The label `app`; empty: it has none, and the Sidecar is for all of its namespace. */
  readonly app: string
}

/** YAML. `about`: a sentence for its first line. */
export function sidecarYaml({ namespace, name, app }: WorkloadName, used: readonly UsedHost[], about: string): string {
  // `~/*`: nothing at all (istio Sidecar egress hosts).
  const hosts =
    used.length === 0
      ? ['~/*']
      : used.map((u) => `${u.namespace === '' ? '*' : u.namespace === namespace ? '.' : u.namespace}/${u.host}`)
  const byNamespace = [...new Set(hosts)].sort()
  return [
    `# ${about}`,
    'apiVersion: networking.istio.io/v1',
    'kind: Sidecar',
    'metadata:',
    `  name: ${quoted(app === '' ? 'default' : name)}`,
    `  namespace: ${quoted(namespace)}`,
    'spec:',
    ...(app === '' ? [] : ['  workloadSelector:', '    labels:', `      app: ${quoted(app)}`]),
    '  egress:',
    '    - hosts:',
    ...byNamespace.map((host) => `        - ${quoted(host)}`),
    '',
  ].join('\n')
}

/** JSON texts are YAML (YAML 1.2 §1.3); what is plain stays plain. */
function quoted(text: string): string {
  return /^[a-z][a-z0-9./-]*$/.test(text) && !/^(?:true|false|null|yes|no|on|off|y|n)$/.test(text) ? text : JSON.stringify(text)
}
