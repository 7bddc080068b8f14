import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Command, JSON_FLAG } from './command.ts'
import { EXIT_OK } from './exit-codes.ts'

/** Folder with package.json: this module lies two levels below it as a source, three when compiled. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) folder = dirname(folder)
  return folder
}

export function heddleVersion(): string {
  const manifest = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version?: unknown }
  return typeof manifest.version === 'string' ? manifest.version : 'unknown'
}

export const versionCommand: Command = {
  name: 'version',
  summary: 'which heddle this is',
  usage: ['version [--json]'],
  description: 'Prints the version of heddle, of Node.js and of the platform.',
  flags: { json: JSON_FLAG },
  async run(args, { stdout }) {
    const facts = { version: heddleVersion(), node: process.versions.node, platform: `${process.platform}-${process.arch}` }
    stdout.write(
      args.has('json') ? `${JSON.stringify(facts)}\n` : `heddle ${facts.version} (Node.js ${facts.node}, ${facts.platform})\n`,
    )
    return EXIT_OK
  },
}
