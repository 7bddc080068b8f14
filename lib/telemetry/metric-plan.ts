// Hot lane, where metrics are not as they are by default (istio.stats): which of a group's metrics there are, and with which labels.
import type { MetricChange, MetricTerms, MetricValue } from '../state/metric-terms.ts'
import type { FamilyGroup } from './families.ts'
import { MAX_PEER_LABEL_CHARS, renderLabels } from './labels.ts'

type Labels = readonly (readonly [name: string, value: string])[]

/** What values of labels are made of. A TCP session has none of a request's. */
export interface MetricSource {
  readonly method: string
  /** Path and query. */
  readonly originalPath: string
  readonly authority: string
  readonly scheme?: string
  readonly protocol: string
  readonly responseCode: number
  readonly routeName: string
  readonly upstreamCluster: string
  readonly requestedServerName: string
  readonly downstreamLocalAddress: string
  /** By lower-case name. */
  readonly requestHeaders?: { get(name: string): string | null }
}

const UNKNOWN = 'unknown'

/** null: all is as it is by default. The same for the same terms. */
export function planOf(terms: MetricTerms): MetricPlan | null {
  if (terms.on && terms.changes.length === 0) return null
  let plan = plans.get(terms)
  if (plan === undefined) {
    plan = new MetricPlan(terms)
    plans.set(terms, plan)
  }
  return plan
}

const plans = new WeakMap<MetricTerms, MetricPlan>()

export class MetricPlan {
  readonly on: boolean
  readonly #changes: readonly MetricChange[]
  /** Each once. */
  readonly #values: readonly MetricValue[]

  constructor({ on, changes }: MetricTerms) {
    this.on = on
    this.#changes = changes
    this.#values = changes.flatMap((c) => c.set.map(([, value]) => value)).filter((v) => v.kind !== 'text')
  }

  /** What values there are in this request: two with the same have the same series. */
  keyOf(source: MetricSource): string {
    let key = ''
    for (const value of this.#values) key += `\n${textOf(value, source)}`
    return key
  }

  /** Of each family of the group its labels as text; null: it is not there. `labels`: those by default. */
  labelsOf(group: FamilyGroup, labels: Labels, source: MetricSource): (string | null)[] {
    return group.families.map(({ name }) => {
      const metric = name.replace(/^istio_/, '')
      const changes = this.#changes.filter((c) => c.metric === '' || c.metric === metric)
      return changes.some((c) => c.drop) ? null : renderLabels(changed(labels, changes, source))
    })
  }
}

/** New labels stand behind the others, in the order of their names. */
function changed(labels: Labels, changes: readonly MetricChange[], source: MetricSource): Labels {
  const set = new Map<string, string | null>()
  for (const change of changes) {
    for (const name of change.remove) set.set(name, null)
    for (const [name, value] of change.set) set.set(name, textOf(value, source))
  }
  const kept = labels.flatMap(([name, value]): Labels => {
    const other = set.get(name)
    set.delete(name)
    return other === null ? [] : [[name, other ?? value]]
  })
  const added = [...set].flatMap(([name, value]): Labels => (value === null ? [] : [[name, value]]))
  return [...kept, ...added.toSorted(([a], [b]) => (a < b ? -1 : 1))]
}

function textOf(value: MetricValue, source: MetricSource): string {
  const text = rawText(value, source)
  return text === '' ? UNKNOWN : text.slice(0, MAX_PEER_LABEL_CHARS)
}

function rawText(value: MetricValue, source: MetricSource): string {
  switch (value.kind) {
    case 'text':
      return value.text
    case 'header':
      return source.requestHeaders?.get(value.name) ?? ''
    case 'code':
      return source.responseCode === 0 ? '' : String(source.responseCode)
    case 'port': {
      const { downstreamLocalAddress: at } = source
      return at.slice(at.lastIndexOf(':') + 1)
    }
    case 'route':
      return source.routeName
    case 'cluster':
      return source.upstreamCluster
    case 'serverName':
      return source.requestedServerName
    default:
      return requestText(value.what, source)
  }
}

function requestText(what: string, source: MetricSource): string {
  const { originalPath: path } = source
  const query = path.indexOf('?')
  switch (what) {
    case 'host':
      return source.authority
    case 'method':
      return source.method
    case 'path':
      return path
    case 'url_path':
      return query < 0 ? path : path.slice(0, query)
    case 'query':
      return query < 0 ? '' : path.slice(query + 1)
    case 'scheme':
      return source.scheme ?? ''
    case 'protocol':
      return source.protocol
    default:
      return source.requestHeaders?.get(what === 'id' ? 'x-request-id' : 'user-agent') ?? ''
  }
}
