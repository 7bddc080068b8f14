// A CA as files, with the names of Istio's plugged-in CA, so that istiod can take the same folder (its secret `cacerts`):
//
//   root-cert.pem    the root, which everybody trusts
//   root-key.pem     its key, when there is an intermediate; only another intermediate needs it
//   ca-cert.pem      who signs workloads: the root or an intermediate
//   ca-key.pem       its key
//   cert-chain.pem   from ca-cert.pem to the root
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { IdentityConfig } from '../../state/bootstrap-config.ts'
import { type AuthorityMaterial, CertificateAuthority } from './certificate-authority.ts'
import { DevCaSource } from './dev-ca-source.ts'

const ROOT = 'root-cert.pem'
const ROOT_KEY = 'root-key.pem'
const CA = 'ca-cert.pem'
const CA_KEY = 'ca-key.pem'
const CHAIN = 'cert-chain.pem'

/** Names of the files of a workload, as Istio's agent mounts them. */
export const WORKLOAD_FILES = { certificateChain: 'cert-chain.pem', privateKey: 'key.pem', roots: 'root-cert.pem' } as const

/** True when the folder has a CA, or parts of one. */
export function hasAuthority(folder: string): boolean {
  return [ROOT, ROOT_KEY, CA, CA_KEY].some((name) => existsSync(path.join(folder, name)))
}

/** Returns the paths. Throws what the file system says. */
export function writeAuthority(folder: string, material: AuthorityMaterial): string[] {
  const { rootPem, rootKeyPem, issuerPem, issuerKeyPem } = material
  const isRoot = issuerPem === rootPem
  return writeAll(folder, [
    [ROOT, rootPem, false],
    ...(isRoot || rootKeyPem === null ? [] : ([[ROOT_KEY, rootKeyPem, true]] as const)),
    [CA, issuerPem, false],
    [CA_KEY, issuerKeyPem, true],
    [CHAIN, isRoot ? rootPem : issuerPem + rootPem, false],
  ])
}

/** Throws an Error whose message is a sentence. */
export async function readAuthority(folder: string): Promise<CertificateAuthority> {
  const [rootPem, issuerPem, issuerKeyPem] = [ROOT, CA, CA_KEY].map((name) => {
    try {
      return readFileSync(path.join(folder, name), 'utf8')
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      throw new Error(code === 'ENOENT' ? `${folder} has no ${name}; heddle ca init makes a CA` : message)
    }
  }) as [string, string, string]
  const rootKey = path.join(folder, ROOT_KEY)
  const rootKeyPem = existsSync(rootKey) ? readFileSync(rootKey, 'utf8') : null
  try {
    return await CertificateAuthority.load({ rootPem, rootKeyPem, issuerPem, issuerKeyPem })
  } catch (error) {
    throw new Error(`${folder}: ${(error as Error).message}`)
  }
}

/** The three files of a workload, each replaced at once; the key is readable for its owner only. Returns the paths. */
export function writeWorkload(folder: string, chainPem: string, keyPem: string, rootPem: string): string[] {
  return writeAll(folder, [
    [WORKLOAD_FILES.roots, rootPem, false],
    [WORKLOAD_FILES.privateKey, keyPem, true],
    [WORKLOAD_FILES.certificateChain, chainPem, false],
  ])
}

/** The source `dev-ca`. Throws an Error whose message is a sentence with the field of heddle.yaml. */
export async function openDevCa(identity: IdentityConfig, now: () => number): Promise<DevCaSource> {
  const { devCa, trustDomain, key: keyKind } = identity
  if (devCa.folder === '') {
    const authority = await CertificateAuthority.create({ trustDomain, intermediate: false, keyKind, nowMs: now() })
    return new DevCaSource({ authority, name: 'the CA of this process', now })
  }
  const authority = await readAuthority(devCa.folder).catch((error: Error) => {
    throw new Error(`identity.devCa.folder: ${error.message}`)
  })
  if (authority.trustDomain !== trustDomain) {
    const theirs = authority.trustDomain === '' ? 'names none' : `is for ${authority.trustDomain}`
    throw new Error(`identity.devCa.folder: the CA in ${devCa.folder} ${theirs}, and identity.trustDomain is ${trustDomain}`)
  }
  return new DevCaSource({ authority, name: `the CA in ${devCa.folder}`, now })
}

function writeAll(folder: string, files: readonly (readonly [name: string, text: string, secret: boolean])[]): string[] {
  mkdirSync(folder, { recursive: true })
  const written = files.map(([name, text, secret]) => {
    const file = path.join(folder, name)
    const fresh = `${file}.new`
    // The mode counts only for a file that is not there yet.
    writeFileSync(fresh, text, { mode: secret ? 0o600 : 0o644 })
    chmodSync(fresh, secret ? 0o600 : 0o644)
    return [fresh, file] as const
  })
  // All are written before the first is in its place.
  for (const [fresh, file] of written) renameSync(fresh, file)
  return written.map(([, file]) => file)
}
