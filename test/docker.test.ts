// docker/: manifests are what Kubernetes takes, and fit together and to heddle; the Dockerfile copies what is there.
// The schema is the OpenAPI schema of Kubernetes, compiled into validators by the package kubernetes-models.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { ROOT, runHeddle } from './support/proxy.ts'
import { filesBelow, readText } from './support/source-text.ts'

/** Objects as YAML makes them. */
interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly data?: Readonly<Record<string, string>>
  readonly spec?: {
    readonly selector?: Readonly<Record<string, unknown>>
    readonly template?: { readonly metadata: { readonly labels: Labels }; readonly spec: PodSpec }
  }
}

type Labels = Readonly<Record<string, string>>

interface PodSpec {
  readonly serviceAccountName: string
  readonly initContainers?: readonly Container[]
  readonly containers: readonly Container[]
  readonly volumes: readonly {
    readonly name: string
    readonly configMap?: { readonly name: string; readonly optional?: boolean }
  }[]
}

interface Container {
  readonly name: string
  readonly image: string
  readonly args?: readonly string[]
  readonly restartPolicy?: string
  readonly env?: readonly { readonly name: string }[]
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly securityContext: {
    readonly runAsUser: number
    readonly runAsNonRoot: boolean
    readonly readOnlyRootFilesystem?: boolean
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] }
  }
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[]
  readonly startupProbe?: Probe
  readonly readinessProbe?: Probe
  readonly livenessProbe?: Probe
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}

/** A compiled validator of a schema, as ajv makes them. */
interface Validate {
  (data: unknown): boolean
  errors?: readonly { readonly instancePath: string; readonly keyword: string; readonly params: object }[] | null
}

const SCHEMAS: Readonly<Record<string, string>> = {
  'v1 ConfigMap': 'CoreV1ConfigMap',
  'v1 Namespace': 'CoreV1Namespace',
  'v1 Service': 'CoreV1Service',
  'v1 ServiceAccount': 'CoreV1ServiceAccount',
  'apps/v1 DaemonSet': 'AppsV1DaemonSet',
  'apps/v1 Deployment': 'AppsV1Deployment',
}

/** What is wrong with an object: by the schema, and fields that the schema does not have. */
function problemsOf(object: Manifest): readonly string[] {
  const schema = SCHEMAS[`${object.apiVersion} ${object.kind}`]
  if (schema === undefined) return [`no schema for ${object.apiVersion} ${object.kind}`]
  // By its path: the package's models copy an object before they look at it, which hides what they look at.
  const file = path.join(ROOT, `node_modules/kubernetes-models/_schemas/IoK8sApi${schema}.js`)
  const { validate } = createRequire(import.meta.url)(file) as { validate: Validate }
  const unread = new Map<object, Set<string>>()
  const places = new Map<object, string>()
  const valid = validate(watched(object, object.kind, unread, places))
  const unknown = [...unread].flatMap(([at, keys]) => [...keys].map((key) => `unknown field ${places.get(at)}.${key}`))
  return valid ? unknown : (validate.errors ?? []).map((e) => `${e.instancePath}: ${e.keyword} ${JSON.stringify(e.params)}`)
}

/** A validator looks at each field that its schema has, and passes by the others: OpenAPI lets them be. So what is never read is unknown. */
function watched(value: unknown, place: string, unread: Map<object, Set<string>>, places: Map<object, string>): unknown {
  if (typeof value !== 'object' || value === null) return value
  const inner = Object.entries(value).map(([key, v]): [string, unknown] => [key, watched(v, `${place}.${key}`, unread, places)])
  if (Array.isArray(value)) return inner.map(([, v]) => v)
  const copy = Object.fromEntries(inner)
  const keys = new Set(Object.keys(copy))
  unread.set(copy, keys)
  places.set(copy, place)
  return new Proxy(copy, {
    get: (target, key) => {
      if (typeof key === 'string') keys.delete(key)
      return Reflect.get(target, key)
    },
  })
}

const files = filesBelow(ROOT, 'docker/manifests', ['.yaml'])

function manifestsIn(file: string): readonly Manifest[] {
  return parseAllDocuments(readText(ROOT, file)).map((document) => {
    if (document.errors.length > 0) throw document.errors[0]
    return document.toJS() as Manifest
  })
}

t.test('what the schema finds', async (t) => {
  const container = (fields: object) => ({
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'x' },
    spec: {
      selector: { matchLabels: { a: 'b' } },
      template: {
        metadata: { labels: { a: 'b' } },
        spec: { serviceAccountName: 'x', volumes: [], containers: [{ name: 'x', ...fields }] },
      },
    },
  })
  const cases: readonly [object, RegExp | null][] = [
    [{ securityContext: { runAsUser: 1337 } }, null],
    [{ securityContext: { runAsUser: '1337' } }, /runAsUser: type {"type":"integer"}/],
    [
      { securityContext: { runAsUsr: 1337 } },
      /^unknown field DaemonSet.spec.template.spec.containers.0.securityContext.runAsUsr/,
    ],
    [{ livenessProbe: { httpGet: { path: '/' } } }, /httpGet: required {"missingProperty":"port"}/],
    [{ volumeMounts: [{ name: 'x', mountpath: '/' }] }, /required {"missingProperty":"mountPath"}/],
    [{ env: { a: 'b' } }, /env: type {"type":"array"}/],
  ]
  for (const [fields, expected] of cases) {
    const problems = problemsOf(container(fields) as unknown as Manifest)
    if (expected === null) t.same(problems, [])
    else t.match(problems, [expected])
  }
})

for (const file of files) {
  t.test(file, async (t) => {
    const manifests = manifestsIn(file)
    for (const object of manifests) t.same(problemsOf(object), [], `${object.kind} ${object.metadata.name}`)
    const names = (kind: string) => manifests.filter((m) => m.kind === kind).map((m) => m.metadata.name)
    const pods = manifests.flatMap((m) =>
      m.spec?.template === undefined ? [] : [{ ...m.spec.template, selector: m.spec.selector }],
    )
    t.equal(pods.length, 1)
    const pod = pods[0]!
    const labels = Object.entries(pod.metadata.labels).map(String)
    t.same(
      Object.entries(pod.selector?.['matchLabels'] as Labels).filter((l) => !labels.includes(String(l))),
      [],
      'the selector finds its pods',
    )
    for (const service of manifests.filter((m) => m.kind === 'Service'))
      t.same(
        Object.entries(service.spec?.selector as Labels).filter((l) => !labels.includes(String(l))),
        [],
        'the service finds them',
      )
    t.ok(names('ServiceAccount').includes(pod.spec.serviceAccountName))
    t.same(new Set(manifests.map((m) => m.metadata.namespace ?? m.metadata.name)).size, 1, 'one namespace')

    const containers = [...(pod.spec.initContainers ?? []), ...pod.spec.containers]
    for (const { name, configMap } of pod.spec.volumes) {
      t.ok(
        containers.some((c) => c.volumeMounts?.some((m) => m.name === name)),
        `volume ${name} is used`,
      )
      if (configMap !== undefined && configMap.optional !== true)
        t.ok(names('ConfigMap').includes(configMap.name), `its ConfigMap is there`)
    }
    for (const { name, volumeMounts = [], securityContext } of containers) {
      for (const mount of volumeMounts)
        t.ok(
          pod.spec.volumes.some((v) => v.name === mount.name),
          `${name} mounts a volume`,
        )
      const paths = volumeMounts.map((m) => m.mountPath)
      t.notOk(
        paths.some((a) => paths.some((b) => b.startsWith(`${a}/`))),
        `${name}: no volume within a read-only one`,
      )
      t.same(securityContext.capabilities.drop, ['ALL'], `${name} has only the capabilities that it names`)
      t.equal(securityContext.runAsNonRoot, securityContext.runAsUser !== 0, `${name} says who it is`)
      if (securityContext.capabilities.add !== undefined) t.equal(securityContext.runAsUser, 0, 'nobody else would get them')
    }

    const proxy = containers.find((c) => c.name === 'heddle')!
    const health = proxy.ports!.find((p) => p.name === 'health')!
    t.equal(health.containerPort, 15021)
    t.match(proxy, {
      securityContext: { readOnlyRootFilesystem: true },
      startupProbe: { httpGet: { path: '/healthz/ready', port: 'health' } },
      readinessProbe: { httpGet: { path: '/healthz/ready', port: 'health' } },
      livenessProbe: { httpGet: { path: '/healthz/live', port: 'health' } },
    })
    t.same(proxy.args, ['run', '--config', '/etc/heddle/heddle.yaml'])
  })

  t.test(`${file}: heddle takes its configuration`, async (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'heddle-docker-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    const texts = manifestsIn(file).flatMap((m) => Object.entries(m.data ?? {}))
    // As they are mounted.
    const config = texts.find(([name]) => name === 'heddle.yaml')![1].replace('/etc/mesh', path.join(folder, 'mesh.yaml'))
    for (const [name, text] of [...texts, ['heddle.yaml', config] as const]) writeFileSync(path.join(folder, name), text)
    const proxy = manifestsIn(file)
      .flatMap((m) => m.spec?.template ?? [])
      .flatMap(({ spec }) => [...(spec.initContainers ?? []), ...spec.containers])
      .find((c) => c.name === 'heddle')!
    const env = Object.fromEntries(proxy.env!.map(({ name }) => [name, name.endsWith('ADDRESS') ? '10.0.0.7' : 'web']))
    const { code, stdout, stderr } = await runHeddle(['check', '--config', path.join(folder, 'heddle.yaml')], { env })
    t.equal(code, 0, `${stdout}${stderr}`)
    t.notMatch(stderr, 'environment', 'each variable is a field of heddle.yaml')
  })
}

t.test('who gets through the rules, and who makes them', async (t) => {
  for (const file of files.filter((f) => f.includes('sidecar'))) {
    const { spec } = manifestsIn(file).find((m) => m.kind === 'Deployment')!.spec!.template!
    const { args = [], securityContext } = spec.initContainers!.find((c) => c.name === 'heddle-init')!
    t.same(securityContext.capabilities.add, ['NET_ADMIN', 'NET_RAW'])
    const folder = mkdtempSync(path.join(tmpdir(), 'heddle-docker-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    writeFileSync(path.join(folder, 'annotations'), 'traffic.sidecar.istio.io/excludeOutboundPorts="9418"\n')
    const own = args.map((a) => (a === 'apply' ? 'print' : a.replace('/etc/podinfo', folder)))
    const { code, stdout } = await runHeddle(own)
    t.equal(code, 0)
    t.match(stdout, '--uid-owner 1337')
    t.match(stdout, '--dport 9418 -j RETURN')
    const all = [...spec.initContainers!, ...spec.containers]
    t.same(
      all.filter((c) => c.securityContext.runAsUser === 1337).map((c) => c.name),
      ['heddle'],
      'the proxy alone is not captured',
    )
    const ownInit = all.filter((c) => c.restartPolicy === 'Always').map((c) => c.name)
    t.same(ownInit, file.includes('native') ? ['heddle'] : [])
  }
})

t.test('the Dockerfile', async (t) => {
  const text = readText(ROOT, 'docker/Dockerfile').replace(/\\\n/g, ' ')
  const stages = [...text.matchAll(/^FROM (\S+) AS (\S+)$/gm)].map((m) => ({ base: m[1], name: m[2] }))
  t.same(
    stages.map((s) => s.name),
    ['build', 'init', 'istio', 'proxy'],
    'the last is what is built unless another is named',
  )
  t.equal(stages[2]!.base, 'init', 'the injector gives rules and proxy one image')
  t.match(stages[3]!.base, /distroless/)
  t.match(text.slice(text.lastIndexOf('FROM ')), /^USER 1337:1337$/m)
  const copied = [...text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap((m) => m[1]!.split(' '))
  t.ok(copied.length > 3)
  for (const source of copied) t.ok(existsSync(path.join(ROOT, source)), source)
  t.match(text, /^CMD \["iptables", "apply"\]$/m)
  t.match(text, /apt-get install .*\biptables nftables iproute2\b/)
})

t.test('by the name of pilot-agent, as the image for the injector has it', async (t) => {
  const [, target = '', name = ''] = /^RUN ln -s (\S+) (\S+)$/m.exec(readText(ROOT, 'docker/Dockerfile')) ?? []
  t.same([target, name], ['/opt/heddle/bin/heddle', '/usr/local/bin/pilot-agent'])
  const dir = mkdtempSync(path.join(tmpdir(), 'heddle-image-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  symlinkSync(path.join(ROOT, target.slice('/opt/heddle/'.length)), path.join(dir, 'pilot-agent'))
  const env = { ...process.env, PATH: `${dir}:${path.dirname(process.execPath)}:${process.env['PATH']}` }
  for (const args of [['version'], ['request', '--help'], ['wait', '--help'], ['istio-iptables', '--dry-run', '-p', '15001']])
    t.equal(spawnSync('pilot-agent', args, { env, stdio: 'ignore' }).status, 0, args.join(' '))
})
