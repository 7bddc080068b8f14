// The source `files`: certificates that somebody mounts and replaces, such as a Kubernetes secret (whose files are links that are
// swapped together), cert-manager's CSI driver, or `heddle ca issue`. The three files are read together and are good together, or what
// was good before stays in force.
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { FileWatch } from '../../base/file-watch.ts'
import { openCertificate, pemBlocks } from '../chain.ts'
import { checkCertificate } from './certificate-check.ts'
import { type DeliveringSource, type Delivery, type DeliverySink, SourceError } from './certificate-source.ts'
import { toPem } from './der-to-pem.ts'

export interface FileSourceOptions {
  /** Absolute paths. Leaf first, then intermediates. */
  readonly certificateChain: string
  readonly privateKey: string
  readonly roots: string
  /** Our own, to which the certificate must belong. */
  readonly trustDomain: string
  /** Epoch milliseconds. */
  readonly now: () => number
  /** A root that cannot be read among others that can. */
  readonly warn: (message: string) => void
  /** Milliseconds without further changes before the files are read. 100, as Istio's agent does. */
  readonly debounceMs?: number
  /** Milliseconds between looks when the system tells nothing. 500; 0: never. */
  readonly rescanMs?: number
}

export class FileSource implements DeliveringSource {
  readonly kind: 'delivers'
  readonly name: string
  readonly #options: FileSourceOptions
  readonly #watch: FileWatch
  #sink: DeliverySink | null
  /** What was told last: an unchanged fault is not told again. */
  #told: string

  constructor(options: FileSourceOptions) {
    const { certificateChain, privateKey, roots, debounceMs = 100, rescanMs = 500 } = options
    this.kind = 'delivers'
    this.name = `files ${certificateChain}, ${privateKey} and ${roots}`
    this.#options = options
    this.#sink = null
    this.#told = ''
    this.#watch = new FileWatch({
      paths: [certificateChain, privateKey, roots],
      onChange: () => this.#read(),
      debounceMs,
      rescanMs,
    })
  }

  start(sink: DeliverySink): void {
    this.#sink = sink
    // Before the first reading, so that no change falls between the two.
    this.#watch.start()
    this.#read()
  }

  close(): void {
    this.#watch.close()
    this.#sink = null
  }

  #read(): void {
    const sink = this.#sink
    if (sink === null) return
    const result = readDelivery(this.#options)
    if (typeof result !== 'string') {
      this.#told = ''
      sink.deliver(result)
    } else if (result !== this.#told) {
      this.#told = result
      sink.failed(new SourceError('invalid', result))
    }
  }
}

/** A sentence when the files cannot be used: which, and why. */
function readDelivery(options: FileSourceOptions): Delivery | string {
  const { certificateChain, privateKey, roots, trustDomain, now, warn } = options
  const [chainText, keyText, rootText] = [certificateChain, privateKey, roots].map(read) as [Read, Read, Read]
  for (const text of [chainText, keyText, rootText]) if (text.error !== '') return text.error
  let key: KeyObject
  try {
    key = createPrivateKey(keyText.text)
  } catch {
    // OpenSSL's own words may quote what it read.
    return `${privateKey}: not a private key in PEM without a passphrase`
  }
  const rootsPem = goodRoots(rootText.text, (index, count) =>
    warn(`${roots}: certificate ${index + 1} of ${count} cannot be read; the others are used`),
  )
  if (rootsPem.length === 0) return `${roots}: no certificate in it can be read`
  const checked = checkCertificate({
    certificateChainPem: chainText.text,
    key,
    rootsPem,
    expectedIdentity: null,
    trustDomain,
    nowMs: now(),
  })
  if (!checked.ok) return `${certificateChain}: ${checked.error} (with ${privateKey} and ${roots})`
  return {
    certificates: [{ certificateChainPem: chainText.text, privateKeyPem: keyText.text }],
    bundles: [{ trustDomain, rootsPem }],
  }
}

/** Istio's agent: a bad certificate in a file of roots is skipped. */
function goodRoots(text: string, skipped: (index: number, count: number) => void): string[] {
  const blocks = pemBlocks(text)
  const readable = blocks.map((der) => openCertificate(der) !== null)
  if (readable.includes(true)) for (const [index, good] of readable.entries()) if (!good) skipped(index, blocks.length)
  return blocks.flatMap((der, index) => (readable[index] === true ? [toPem('CERTIFICATE', der)] : []))
}

interface Read {
  readonly text: string
  /** A sentence; '' when it could be read. */
  readonly error: string
}

function read(file: string): Read {
  try {
    return { text: readFileSync(file, 'utf8'), error: '' }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return { text: '', error: `${file}: ${code === 'ENOENT' ? 'no such file' : message}` }
  }
}
