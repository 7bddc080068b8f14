// What Istio's injector takes away from the application's container, and gives to its own by variables: probes, and where metrics are.

/** ISTIO_KUBE_APP_PROBERS: probes of Kubernetes by path, as heddle.yaml has them; the application would never be ready without them. */
export function appProbersOf(text: string, problems: string[]): Record<string, never> {
  if (text.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, never>
  } catch {
    // Told below.
  }
  problems.push('ISTIO_KUBE_APP_PROBERS is no JSON object')
  return {}
}

/** ISTIO_PROMETHEUS_ANNOTATIONS: `port/path` of each target, as heddle.yaml has it. @param ownPort which would be asked for itself */
export function scrapeTargetsOf(text: string, ownPort: number, notes: string[]): readonly string[] {
  if (text.trim() === '') return []
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch {
    given = null
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    notes.push("ISTIO_PROMETHEUS_ANNOTATIONS is no JSON object: the application's metrics are left out")
    return []
  }
  const { scrape, targets, port, path } = given as Readonly<Record<string, unknown>>
  if (String(scrape) !== 'true') return []
  const several = Array.isArray(targets) && targets.length > 0 ? (targets as readonly unknown[]) : [{ port, path }]
  return several.flatMap((target) => {
    const { port = '', path = '' } = (target ?? {}) as Readonly<Record<string, unknown>>
    const number = String(port) === '' ? 80 : Number(port)
    const way = String(path) === '' ? '/metrics' : String(path)
    if (Number.isInteger(number) && number >= 1 && number <= 65_535 && number !== ownPort && !/[^!-~]/.test(way))
      return [`${number}${way.startsWith('/') ? way : `/${way}`}`]
    notes.push(
      `the application's metrics at port ${String(port)}, path ${way}, are left out: ${number === ownPort ? 'that is this proxy' : 'that is no port or no path'}`,
    )
    return []
  })
}
