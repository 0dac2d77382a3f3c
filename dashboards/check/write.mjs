// SPDX-License-Identifier: Apache-2.0
// Writes each dashboard as a TypeScript literal: only in a literal does the compiler refuse unknown keys.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const generated = join(here, 'generated');
rmSync(generated, { recursive: true, force: true });
mkdirSync(generated);
const files = readdirSync(join(here, '..')).filter((name) => name.endsWith('.json'));
if (files.length === 0) {
  throw new Error('no dashboards');
}
for (const name of files) {
  const text = readFileSync(join(here, '..', name), 'utf8');
  JSON.parse(text);
  const module = `import type { DashboardJson } from '../schema';\nexport default ${text.trim()} satisfies DashboardJson;\n`;
  writeFileSync(join(generated, name.replace(/\.json$/, '.ts')), module);
}
console.log(`type-checking ${files.length} dashboards`);
