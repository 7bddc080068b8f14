// Reading TypeScript sources as text, for tests about the sources themselves.
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

export interface Import {
  /** As written: `../state/route.ts`, `node:net`, `yaml`. */
  readonly specifier: string
  /** `import type` or `export type … from`. */
  readonly typeOnly: boolean
  /** `import(…)`. */
  readonly dynamic: boolean
  /** 1-based. */
  readonly line: number
}

/** Files below a folder with these endings, relative to `root`, sorted. */
export function filesBelow(root: string, folder: string, endings: readonly string[]): string[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true })
    .flatMap((e) => {
      const at = `${folder}/${e.name}`
      if (e.isDirectory()) return e.name === 'node_modules' ? [] : filesBelow(root, at, endings)
      return endings.some((x) => e.name.endsWith(x)) ? [at] : []
    })
    .sort()
}

export function readText(root: string, file: string): string {
  return readFileSync(path.join(root, file), 'utf8')
}

const STATIC_IMPORT =
  /^[ \t]*(?:import|export)\b(?<type>[ \t]+type\b(?![ \t]*,|[ \t]+from\b))?(?:[^'";]*?\bfrom)?[ \t\n]*(['"])(?<spec>[^'"\n]+)\2/gm
const DYNAMIC_IMPORT = /\bimport\(\s*(['"])(?<spec>[^'"\n]+)\1/g

export function importsOf(text: string): Import[] {
  const code = blank(text, false)
  const at = (index: number) => code.slice(0, index).split('\n').length
  const statics = [...code.matchAll(STATIC_IMPORT)].map((m) => ({
    specifier: m.groups?.['spec'] as string,
    typeOnly: m.groups?.['type'] !== undefined,
    dynamic: false,
    line: at(m.index + m[0].search(/\S/)),
  }))
  const dynamics = [...code.matchAll(DYNAMIC_IMPORT)].map((m) => ({
    specifier: m.groups?.['spec'] as string,
    typeOnly: false,
    dynamic: true,
    line: at(m.index),
  }))
  return [...statics, ...dynamics]
}

/** The code alone: comments and the insides of strings and regular expressions become spaces; lines stay where they are. */
export function codeOnly(text: string): string {
  return blank(text, true)
}

const TOKEN =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`|(?<=(?:[(,=:[!&|?{};+\n]|\breturn|=>)\s*)\/(?![*/])(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/g

function blank(text: string, strings: boolean): string {
  return text.replace(TOKEN, (token) => {
    const isComment = token.startsWith('//') || token.startsWith('/*')
    if (!isComment && !strings) return token
    // What a template interpolates is code.
    if (token.startsWith('`')) return token.replace(/(?<=^|\})[^$]*?(?=\$\{|`$)/g, (s) => s.replace(/[^\n`]/g, ' '))
    return token.replace(/[^\n]/g, ' ')
  })
}

/** The comment that a file begins with, without its slashes; empty when it begins with code. */
export function firstComment(text: string): string {
  const block = /^\s*\/\*([\s\S]*?)\*\//.exec(text)
  if (block !== null) return block[1] as string
  return (/^\s*((?:\/\/[^\n]*\n)+)/.exec(text)?.[1] ?? '').replace(/^\/\/ ?/gm, '')
}
