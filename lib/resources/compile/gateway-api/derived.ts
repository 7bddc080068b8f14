// What objects of the Gateway API come to in Istio's own words: VirtualServices and Gateways that nobody wrote, each part of which remembers who wrote it
// (istiod does the same). Everything that reads those kinds needs to know no others.
import type { Origin } from '../../../state/origin.ts'
import type { ResourceState } from '../../../state/snapshot.ts'
import type { Path } from '../../finding.ts'
import type { Kind, KindSpecs } from '../../kinds.ts'
import { ResourceObject, type WrittenPart } from '../../resource-object.ts'
import type { ParentLink } from './parent-links.ts'

/** Of an object that was made of others; `written` is the oldest of these. */
export class DerivedObject<K extends Kind = Kind> extends ResourceObject<K> {
  readonly #written: ResourceObject
  readonly #locate: (path: Path) => WrittenPart
  readonly #links: readonly ParentLink[]

  /** `locate`: whose a part of `spec` is. `links`: of the routes that are in it. */
  constructor(
    named: { readonly kind: K; readonly namespace: string; readonly name: string; readonly spec: KindSpecs[K] },
    written: ResourceObject,
    locate: (path: Path) => WrittenPart,
    links: readonly ParentLink[],
  ) {
    const { createdMs, owners, source } = written
    super({ ...named, labels: {}, annotations: {}, createdMs, owners, specPath: ['spec'] }, source)
    this.#written = written
    this.#locate = locate
    this.#links = links
    for (const link of links) link.expect(this)
  }

  override get written(): ResourceObject {
    return this.#written
  }

  override writtenAt(path: Path): WrittenPart {
    return this.#locate(path)
  }

  override origin(path: Path = []): Origin {
    if (path.length === 0) return this.#written.origin()
    const { object, path: at } = this.#locate(path)
    return object.origin(at)
  }

  /** As a whole it takes no effect. */
  lose(state: Extract<ResourceState, 'shadowed' | 'waiting'>, reason: string): void {
    for (const link of this.#links) link.lost(this, state, reason)
  }
}

/** Whether the rules of an object are those of the Gateway API: paths by segments, 500 for what leads nowhere. */
export function isGatewayApi(object: ResourceObject): boolean {
  return object instanceof DerivedObject
}
