import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { FileWatch } from '../../../lib/base/file-watch.ts'
import type { Teardown } from '../../support/teardown.ts'

interface Timing {
  readonly debounceMs?: number
  readonly rescanMs?: number
}

/** A folder, a watch on some of it, and how to wait for the change that it tells of. */
function watched(t: Teardown, prepare: (folder: string) => string[], timing: Timing = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-watch-'))
  let tell = () => {}
  const seen = { changes: 0 }
  const watch = new FileWatch({
    paths: prepare(folder),
    onChange: () => {
      seen.changes++
      tell()
    },
    ...timing,
  })
  watch.start()
  // The watch keeps no process alive; the test does while it waits.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => {
    clearInterval(alive)
    watch.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const told = (change: () => void) =>
    new Promise<void>((resolve) => {
      tell = resolve
      change()
    })
  return { folder, told, seen }
}

const EVENTS_ONLY: Timing = { debounceMs: 5, rescanMs: 0 }
const RESCAN_ONLY: Timing = { debounceMs: 3_600_000, rescanMs: 20 }

for (const [how, timing] of [
  ['told by events', EVENTS_ONLY],
  ['seen by looking', RESCAN_ONLY],
] as const) {
  t.test(how, async (t) => {
    t.test('a file of a folder is written, added, replaced and removed', async (t) => {
      const { folder, told } = watched(
        t,
        (folder) => {
          writeFileSync(join(folder, 'a.yaml'), 'a: 1')
          return [folder]
        },
        timing,
      )
      await told(() => writeFileSync(join(folder, 'a.yaml'), 'a: 22'))
      await told(() => writeFileSync(join(folder, 'b.yaml'), 'b: 1'))
      await told(() => {
        writeFileSync(join(folder, '.c.partial'), 'b: 2')
        renameSync(join(folder, '.c.partial'), join(folder, 'b.yaml'))
      })
      await told(() => rmSync(join(folder, 'b.yaml')))
    })

    t.test('a folder that is new, and a file in it', async (t) => {
      const { folder, told } = watched(t, (folder) => [folder], timing)
      await told(() => {
        mkdirSync(join(folder, 'sub'))
        writeFileSync(join(folder, 'sub', 'a.yaml'), 'a: 1')
      })
      await told(() => writeFileSync(join(folder, 'sub', 'a.yaml'), 'a: 22'))
    })

    t.test('a single file, replaced by renaming', async (t) => {
      const { folder, told } = watched(
        t,
        (folder) => {
          writeFileSync(join(folder, 'a.yaml'), 'a: 1')
          return [join(folder, 'a.yaml')]
        },
        timing,
      )
      await told(() => {
        writeFileSync(join(folder, 'other'), 'a: 2')
        renameSync(join(folder, 'other'), join(folder, 'a.yaml'))
      })
    })

    t.test('a ConfigMap: the link to the folder with the data is swapped', async (t) => {
      const version = (folder: string, name: string, text: string) => {
        mkdirSync(join(folder, name))
        writeFileSync(join(folder, name, 'a.yaml'), text)
      }
      const { folder, told } = watched(
        t,
        (folder) => {
          version(folder, '..2026_01_01', 'a: 1')
          symlinkSync('..2026_01_01', join(folder, '..data'))
          symlinkSync('..data/a.yaml', join(folder, 'a.yaml'))
          return [folder]
        },
        timing,
      )
      await told(() => {
        version(folder, '..2026_01_02', 'a: 2')
        symlinkSync('..2026_01_02', join(folder, '..data_tmp'))
        renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
      })
    })
  })
}

t.test('what is not there yet is waited for', async (t) => {
  const { folder, told } = watched(t, (folder) => [join(folder, 'mesh')], EVENTS_ONLY)
  await told(() => {
    mkdirSync(join(folder, 'mesh'))
    writeFileSync(join(folder, 'mesh', 'a.yaml'), 'a: 1')
  })
})

t.test('several writes in a row are one change', async (t) => {
  const { folder, told, seen } = watched(t, (folder) => [folder], { debounceMs: 100, rescanMs: 0 })
  await told(() => {
    for (let i = 0; i < 20; i++) writeFileSync(join(folder, `${i}.yaml`), 'a: 1')
  })
  t.equal(seen.changes, 1)
})

t.test('hidden files are nobody’s configuration', async (t) => {
  const { folder, told, seen } = watched(t, (folder) => [folder], EVENTS_ONLY)
  writeFileSync(join(folder, '.a.yaml.swp'), 'x')
  await new Promise(setImmediate)
  await told(() => writeFileSync(join(folder, 'a.yaml'), 'a: 1'))
  t.equal(seen.changes, 1)
})
