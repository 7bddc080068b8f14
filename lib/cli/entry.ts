// What bin/heddle runs. The compiler's own output of this file leads to the modules beside it; `npm run build` then puts in its
// place one that leads to the bundle (lib/bundle.mjs), so that whoever compiles runs what was compiled last.
export { main } from './main.ts'
