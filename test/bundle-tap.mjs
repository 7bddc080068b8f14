// Tap in one file, where the compiled tests find it before the package: it consists of 270 files, and to look for them and to read them takes each test file
// 0.2 seconds of a core. Without it (`rm -rf build/node_modules`) tests run as well.
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'

/** Into the folder `build` of a tree. */
export async function bundleTap(root) {
  const modules = path.join(root, 'build/node_modules')
  await build({
    absWorkingDir: root,
    entryPoints: ['node_modules/tap/dist/esm/index.js'],
    // Stacks leave out what lies in a folder of this name: they are to begin with the line of the test.
    outfile: path.join(modules, '@tapjs/tap.js'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    banner: { js: "import { createRequire as requireFrom } from 'node:module'\nconst require = requireFrom(import.meta.url)" },
    logLevel: 'warning',
  })
  mkdirSync(path.join(modules, 'tap'), { recursive: true })
  writeFileSync(path.join(modules, 'tap/package.json'), '{ "name": "tap", "type": "module", "exports": "./index.js" }\n')
  writeFileSync(path.join(modules, 'tap/index.js'), "export * from '../@tapjs/tap.js'\nexport { default } from '../@tapjs/tap.js'\n")
}
