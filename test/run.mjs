#!/usr/bin/env node
// Runs the compiled tests and ends with the line `N passed, N failed`.
//
//   node test/run.mjs                                  every test/**/*.test.ts, as compiled into build/
//   node test/run.mjs test/unit/http test/docs.test.ts files or folders, as in the sources
//
// Each file is one child process in a process group of its own, one more at once than there are cores; of a run of many, unit tests share one (TOGETHER). What is counted are the
// assertions (the leaves of the TAP that a file prints). A file that crashes, prints no assertion, or is not done after
// HEDDLE_TEST_FILE_TIMEOUT seconds (180) counts as one failure. What was skipped is listed before the last line.
// Each has a folder for temporary files (TMPDIR) of its own, which ends with it, also when the file was killed.
//
// A run of all files has the machine to itself at no moment, and a few tests race with it. So up to MAX_AGAIN files that failed run once more
// at the end, alone; what counts is the second run, and what failed in the first is printed as UNSTEADY. HEDDLE_TEST_AGAIN=0 switches that off.
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundleTap } from './bundle-tap.mjs'

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const FILE_TIMEOUT_MS = Number(process.env['HEDDLE_TEST_FILE_TIMEOUT'] ?? 180) * 1000
/** More than this is no matter of luck. */
const MAX_AGAIN = 4
const AGAIN = process.env['HEDDLE_TEST_AGAIN'] !== '0'
/** Unit tests in groups of so many: to start a process and to load the same files again takes longer than most of them. */
const TOGETHER = 12
/** Not those that change or hold what others would notice. */
const ALONE = /^t\.(?:before|after|teardown|setTimeout)|\bt\.plan\(|process\.(?:env|on|chdir|exit)|globalThis|setFlagsFromString|new Worker\(/m
/** So many files at most are run with source maps at once; of more, those that run once more. */
const FEW = 20
/** One more than there are cores: a good part of what files do is waiting. */
const JOBS = Math.max(1, Number(process.env['HEDDLE_TEST_JOBS'] ?? os.availableParallelism() + 1))
/** Files that take longest start first, so that the end of a run is not one file alone. */
const SLOW_FIRST = [/\/conformance\//, /\/chaos\//, /\/e2e\//, /\/fuzz\//, /\/integration\//]

/** Counts a TAP stream: leaves only, since the point that closes a subtest says nothing new. */
class TapCount {
  constructor() {
    this.passed = 0
    /** @type {{name: string, details: string[]}[]} */
    this.failures = []
    /** @type {string[]} */
    this.skipped = []
    this.todo = 0
    /** Whether the whole file was skipped: `1..0 # reason`. */
    this.skippedWhole = null
    /** Lines that are not TAP. */
    this.noise = []
    this.path = []
    this.depths = []
    this.yamlEnd = null
    this.target = null
  }

  line(text) {
    if (this.yamlEnd !== null) {
      if (text === this.yamlEnd) this.yamlEnd = null
      else this.target?.details.push(text)
      return
    }
    const yaml = /^( *) {2}---$/.exec(text)
    if (yaml) {
      this.yamlEnd = `${yaml[1]}  ...`
      return
    }
    const point = /^( *)(not ok|ok)(?: +\d+)?(?: -)?(?: (.*))?$/.exec(text)
    if (point && point[1].length % 4 === 0) return this.point(point[1].length / 4, point[2] === 'ok', point[3] ?? '')
    const subtest = /^( *)# Subtest: (.*)$/.exec(text)
    if (subtest) {
      // The comment stands at the indentation of the point that will close it.
      const depth = subtest[1].length / 4
      this.path.length = depth
      this.path[depth] = unescape(subtest[2])
      this.depths.push({ depth, failures: this.failures.length })
      this.target = null
      return
    }
    const plan = /^1\.\.0(?: # ?(?:SKIP)? ?(.*))?$/i.exec(text)
    if (plan) this.skippedWhole = plan[1] || 'no reason given'
    else if (/^ *1\.\.\d+|^TAP version|^ *# (time=|\{ total)|^ *Bail out!|^\s*\}?$/.test(text)) {
      if (/Bail out!/.test(text)) this.noise.push(text)
    } else this.noise.push(text)
  }

  point(depth, ok, rest) {
    const open = this.depths.at(-1)
    const closes = open !== undefined && open.depth === depth ? this.depths.pop() : undefined
    const directive = /(?:^|[^\\])# (SKIP|TODO)\b ?(.*)$/i.exec(rest)
    const name = unescape(rest.replace(/(^|[^\\])# (?:time=|SKIP|TODO).*$/i, '$1').trim())
    const full = [...this.path.slice(0, depth), name].filter(Boolean).join(' › ')
    this.target = null
    if (directive?.[1].toUpperCase() === 'SKIP') this.skipped.push(directive[2] ? `${full}: ${unescape(directive[2])}` : full)
    else if (directive) this.todo++
    else if (closes) {
      // A failed subtest without a failed leaf (a broken plan, an exception outside of an assertion) is a failure of its own.
      if (!ok && closes.failures === this.failures.length) this.fail(full)
    } else if (ok) this.passed++
    else this.fail(full)
  }

  fail(name) {
    this.target = { name, details: [] }
    this.failures.push(this.target)
  }
}

const unescape = (s) => s.replace(/\\([#\\])/g, '$1')

function testFiles(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((e) => {
    const at = path.join(dir, e.name)
    if (e.isDirectory()) return testFiles(at)
    return e.name.endsWith('.test.ts') ? [path.relative(ROOT, at)] : []
  })
}

/** The sources that the arguments name; an argument that names nothing is a mistake worth stopping for. */
function chosen(args) {
  const all = testFiles(path.join(ROOT, 'test')).sort()
  if (args.length === 0) return all
  const out = new Set()
  for (const arg of args) {
    const source = path
      .relative(ROOT, path.resolve(arg))
      .replace(/^build\//, '')
      .replace(/\.js$/, '.ts')
    const found = all.filter((f) => f === source || f.startsWith(`${source}/`) || f.startsWith(`${source}.`))
    if (found.length === 0) {
      console.error(`no test file ${arg}`)
      finish(0, 1)
    }
    for (const f of found) out.add(f)
  }
  return [...out]
}

const running = new Set()
/** For temporary files. */
const folders = new Set()
process.on('exit', () => folders.forEach(remove))

/** Resolves with a result for each file. `lines`: what fails is shown with the lines of the sources. To read the maps takes each file a tenth of a second of a core. */
function runFiles(sources, lines) {
  const compiled = sources.map((source) => path.join(ROOT, 'build', source.replace(/\.ts$/, '.js')))
  const missing = sources.filter((_, i) => !existsSync(compiled[i]))
  if (missing.length > 0) return Promise.resolve(missing.map((source) => failed(source, `${source} is not compiled: run npm run build first`)))
  return new Promise((resolve) => {
    let begun = Date.now()
    const results = []
    const begin = (source) => {
      if (results.length > 0) results.at(-1).ms = Date.now() - begun
      begun = Date.now()
      results.push({ source, tap: new TapCount(), stderr: '', ms: 0 })
    }
    if (sources.length === 1) begin(sources[0])
    const line = (text) => {
      const file = sources.length === 1 ? null : /^# file: (.*)$/.exec(text)
      if (file !== null) begin(sources[compiled.indexOf(file[1])])
      else results.at(-1)?.tap.line(text)
    }
    const temporary = temporaryFolder()
    // The files are no arguments: tap names folders by those.
    const args = sources.length === 1 ? compiled : [path.join(ROOT, 'build/test/support/several.js'), path.basename(sources[0], '.test.ts')]
    const child = spawn(process.execPath, [...(lines ? ['--enable-source-maps'] : []), ...args], {
      cwd: ROOT,
      detached: true, // a process group of its own: what a test starts ends with it
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, HEDDLE_TEST_FILES: compiled.join(':'), TMPDIR: temporary, TAP: '1', NO_COLOR: '1', TAP_TIMEOUT: process.env['TAP_TIMEOUT'] ?? '120', FORCE_COLOR: '0' },
    })
    running.add(child)
    let stderr = ''
    let rest = ''
    let timedOut = false
    child.stdout.setEncoding('utf8').on('data', (d) => {
      const lines = (rest + d).split('\n')
      rest = lines.pop() ?? ''
      for (const l of lines) line(l)
    })
    child.stderr.setEncoding('utf8').on('data', (d) => {
      stderr = (stderr + d).slice(-20000)
    })
    const timer = setTimeout(() => {
      timedOut = true
      endGroup(child)
    }, FILE_TIMEOUT_MS)
    child.on('exit', () => endGroup(child)) // whatever the file left behind; it may hold our pipes open
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      running.delete(child)
      remove(temporary)
      if (rest !== '') line(rest)
      const last = results.at(-1) ?? failed(sources[0], 'nothing was said')
      if (results.length === 0) results.push(last)
      last.ms = Date.now() - begun
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`
      if (timedOut) last.tap.fail(`${last.source} was not done after ${FILE_TIMEOUT_MS / 1000} s`)
      else if ((code !== 0 || signal !== null) && results.every((r) => r.tap.failures.length === 0)) last.tap.fail(`${last.source} ended with ${how}`)
      for (const r of results) judge(r, stderr)
      // Behind a crash there are some that were not begun.
      resolve([...results, ...sources.slice(results.length).map((source) => failed(source, `${source} was not begun`))])
    })
  })
}

function failed(source, why) {
  const tap = new TapCount()
  tap.fail(why)
  return { source, tap, stderr: '', ms: 0 }
}

function judge(result, stderr) {
  const { source, tap } = result
  result.stderr = stderr
  if (tap.passed + tap.failures.length + tap.skipped.length + tap.todo === 0 && tap.skippedWhole === null) tap.fail(`${source} asserted nothing`)
  if (tap.skippedWhole !== null && tap.passed === 0) tap.skipped.push(tap.skippedWhole)
}

/** Programs that run as somebody else pass through it; sockets have short paths. */
function temporaryFolder() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-'))
  chmodSync(folder, 0o711)
  folders.add(folder)
  return folder
}

function remove(folder) {
  try {
    rmSync(folder, { recursive: true, force: true })
    folders.delete(folder)
  } catch {
    // something still writes into it; once more at the end
  }
}

function endGroup(child) {
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // nobody left
  }
}

function report({ source, tap, stderr, ms }) {
  const bad = tap.failures.length
  const notes = [`${tap.passed} passed`, bad ? `${bad} FAILED` : '', tap.skipped.length ? `${tap.skipped.length} skipped` : '', tap.todo ? `${tap.todo} todo` : '']
  console.log(`${bad ? '✗' : '✓'} ${source} (${notes.filter(Boolean).join(', ')}, ${(ms / 1000).toFixed(1)} s)`)
  if (bad === 0) return
  for (const f of tap.failures) {
    console.log(`\n  ✗ ${f.name}`)
    const indent = Math.min(...f.details.filter((l) => l.trim() !== '').map((l) => l.search(/\S/)))
    for (const l of f.details.slice(0, 60)) console.log(`    ${l.slice(indent)}`)
  }
  const said = [...tap.noise.slice(-30), ...stderr.trimEnd().split('\n').slice(-40)].filter((l) => l.trim() !== '')
  if (said.length) console.log(`\n  output of ${source}:\n${said.map((l) => `    | ${l}`).join('\n')}`)
  console.log('')
}

function finish(passed, failed) {
  console.log(`${passed} passed, ${failed} failed`)
  process.exit(failed === 0 && passed > 0 ? 0 : 1)
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const c of running) endGroup(c)
    process.exit(130)
  })
}

/** In the order in which they are begun. */
function grouped(files) {
  const rank = (f) => SLOW_FIRST.findIndex((r) => r.test(f)) >>> 0
  if (files.length < FEW) return files.map((f) => [f])
  const fits = (f) => f.startsWith('test/unit/') && !ALONE.test(readFileSync(path.join(ROOT, f), 'utf8'))
  const together = files.filter(fits)
  const groups = Array.from({ length: Math.ceil(together.length / TOGETHER) }, (_, i) => together.slice(i * TOGETHER, (i + 1) * TOGETHER))
  const alone = files.filter((f) => !together.includes(f)).sort((a, b) => rank(a) - rank(b))
  const slow = alone.filter((f) => rank(f) < SLOW_FIRST.length)
  return [...slow.map((f) => [f]), ...groups, ...alone.slice(slow.length).map((f) => [f])]
}

async function main() {
  const files = chosen(process.argv.slice(2))
  const queue = grouped(files)
  await bundleTap(ROOT)
  const results = []
  const lane = async () => {
    for (let group = queue.shift(); group !== undefined; group = queue.shift()) {
      for (const r of await runFiles(group, files.length < FEW)) {
        results.push(r)
        report(r)
      }
    }
  }
  await Promise.all(Array.from({ length: JOBS }, lane))
  const unsteady = AGAIN && results.length > 1 ? await runAgain(results) : []
  const skipped = results.flatMap((r) => r.tap.skipped.map((s) => `${r.source}: ${s}`))
  if (skipped.length) {
    console.log(`\n${'='.repeat(20)} SKIPPED: ${skipped.length} ${'='.repeat(20)}`)
    for (const s of skipped.sort()) console.log(`  ${s}`)
  }
  if (unsteady.length) {
    console.log(`\n${'='.repeat(20)} UNSTEADY: ${unsteady.length} ${'='.repeat(20)}`)
    for (const u of unsteady) console.log(`  ${u}`)
  }
  const failed = results.filter((r) => r.tap.failures.length)
  if (failed.length) console.log(`\nfailed files: ${failed.map((r) => r.source).join(' ')}`)
  console.log('')
  finish(sum(results, (r) => r.tap.passed), sum(results, (r) => r.tap.failures.length))
}

/** Puts the second run of a failed file in the place of the first. Returns what failed in the first run and not in the second. */
async function runAgain(results) {
  const failed = results.filter((r) => r.tap.failures.length > 0)
  if (failed.length > MAX_AGAIN) return []
  const unsteady = []
  for (const first of failed) {
    console.log(`once more, alone: ${first.source}`)
    const [second] = await runFiles([first.source], true)
    report(second)
    results[results.indexOf(first)] = second
    if (second.tap.failures.length === 0) unsteady.push(...first.tap.failures.map((f) => `${first.source}: ${f.name}`))
  }
  return unsteady
}

const sum = (list, of) => list.reduce((n, x) => n + of(x), 0)

await main()
