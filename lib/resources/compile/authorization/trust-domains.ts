// Other names of our own trust domain: whoever is allowed under one of them is allowed under all (istiod pilot/pkg/security/trustdomain).

/** Stands for whatever the trust domain of the mesh is called. */
const ANY_MESH = 'cluster.local'

type Values = readonly string[] | undefined

export class TrustDomains {
  readonly #names: readonly string[]

  constructor(own: string, aliases: readonly string[]) {
    this.#names = [own, ...aliases]
  }

  /** Principals `<td>/ns/<namespace>/sa/<name>`; what is not of that form, or of a trust domain of others, stays as it is. */
  replace(principals: Values): Values {
    return principals?.flatMap((principal) => this.#allOf(principal))
  }

  /** Trust domains by themselves. */
  expand(values: Values): Values {
    if (values === undefined) return undefined
    return [...new Set(values.flatMap((value) => (this.#names.includes(value) ? this.#names : [value])))]
  }

  #allOf(principal: string): readonly string[] {
    const [domain = '', ...rest] = principal.split('/')
    if (rest.length !== 4 || domain === '*') return [principal]
    if (domain !== ANY_MESH && !this.#names.some((name) => fits(name, domain) || fits(domain, name))) return [principal]
    const tail = rest.join('/')
    return [...new Set(this.#names.map((name) => (endsLike(name, domain) ? principal : `${name}/${tail}`)))]
  }
}

/** `*-td`, `td-*` and `td`. */
function fits(name: string, pattern: string): boolean {
  if (pattern.startsWith('*')) return name.endsWith(pattern.slice(1))
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}

function endsLike(name: string, pattern: string): boolean {
  return pattern.startsWith('*') && name.endsWith(pattern.slice(1))
}
