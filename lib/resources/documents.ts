// Files and folders of YAML and JSON to documents, one at a time: a document with a syntax error is refused alone, and one
// whose text did not change since the last reading is not parsed again (the parser reads about 2.5 MB a second).
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { Document } from './document.ts'

const EXTENSIONS = new Set(['.yaml', '.yml', '.json'])
/** Bytes of one file. `kubectl get -A -o yaml` of a large cluster fits. */
const MAX_FILE_BYTES = 32 * 1024 * 1024
const MAX_FOLDER_DEPTH = 16

/** A document where it stands. */
export interface PlacedDocument {
  readonly file: string
  /** Lines of the file before the document. */
  readonly linesBefore: number
  readonly document: Document
}

/** A file or folder that could not be read. `root`: it is one that the operator named, not one found inside. */
export interface UnreadableFile {
  readonly file: string
  readonly root: boolean
  readonly message: string
}

export interface ReadResult {
  readonly documents: readonly PlacedDocument[]
  readonly unreadable: readonly UnreadableFile[]
  /** Every file that was read or tried, sorted within its root. */
  readonly files: readonly string[]
}

/** Reads the same roots again and again, remembering what it parsed. */
export class DocumentReader {
  private readonly roots: readonly string[]
  /** By text. Only what the last reading used is kept. */
  private known: Map<string, Document>

  constructor(roots: readonly string[]) {
    this.roots = roots
    this.known = new Map()
  }

  /** As if the last reading had met this document. */
  remember(document: Document): void {
    this.known.set(document.text, document)
  }

  read(): ReadResult {
    const documents: PlacedDocument[] = []
    const unreadable: UnreadableFile[] = []
    const files: string[] = []
    for (const root of this.roots) listFiles(root, root, 0, files, unreadable)
    const used = new Map<string, Document>()
    for (const file of new Set(files)) {
      const text = readText(file, unreadable)
      if (text === null) continue
      for (const chunk of splitDocuments(text)) {
        const document = this.known.get(chunk.text) ?? used.get(chunk.text) ?? new Document(chunk.text)
        used.set(chunk.text, document)
        documents.push({ file, linesBefore: chunk.linesBefore, document })
      }
    }
    this.known = used
    return { documents, unreadable, files }
  }
}

/**
 * Cuts at the markers `---` and `...` at the beginning of a line, which cannot stand inside a document whatever the quoting
 * (YAML 1.2.2 §9.1.4). Pieces of comments, blanks and directives alone are left out.
 */
export function splitDocuments(text: string): { text: string; linesBefore: number }[] {
  const chunks: { text: string; linesBefore: number }[] = []
  let lines: string[] = []
  let first = 0
  const close = (next: number): void => {
    if (lines.some((l) => !/^\s*(#.*)?$|^%|^---\s*(#.*)?$/.test(l))) chunks.push({ text: lines.join('\n'), linesBefore: first })
    lines = []
    first = next
  }
  const all = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/)
  for (const [i, line] of all.entries()) {
    if (/^\.\.\.(\s|$)/.test(line)) {
      close(i + 1)
      continue
    }
    if (/^---(\s|$)/.test(line)) close(i)
    lines.push(line)
  }
  close(all.length)
  return chunks
}

function listFiles(root: string, path: string, depth: number, files: string[], unreadable: UnreadableFile[]): void {
  try {
    if (!statSync(path).isDirectory()) {
      if (path === root || EXTENSIONS.has(extname(path))) files.push(path)
      return
    }
    if (depth > MAX_FOLDER_DEPTH) {
      unreadable.push({ file: path, root: false, message: `folders deeper than ${MAX_FOLDER_DEPTH} levels are not read` })
      return
    }
    // A mounted ConfigMap keeps its versions in `..data` folders beside the links to them; hidden files are an editor's.
    const names = readdirSync(path).filter((name) => !name.startsWith('.'))
    for (const name of names.sort()) listFiles(root, join(path, name), depth + 1, files, unreadable)
  } catch (error) {
    unreadable.push({ file: path, root: path === root, message: readError(error) })
  }
}

function readText(file: string, unreadable: UnreadableFile[]): string | null {
  try {
    const size = statSync(file).size
    if (size > MAX_FILE_BYTES) {
      unreadable.push({ file, root: false, message: `the file has ${size} bytes; at most ${MAX_FILE_BYTES} are read, split it` })
      return null
    }
    return readFileSync(file, 'utf8')
  } catch (error) {
    unreadable.push({ file, root: false, message: readError(error) })
    return null
  }
}

function readError(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT') return 'no such file or folder'
  if (code === 'EACCES' || code === 'EPERM') return 'not readable: permission denied'
  return error instanceof Error ? error.message : String(error)
}
