#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// `npx dmactl` in this directory: compiles what has changed, then runs it.
import './build.mjs';

// Not there before it is compiled.
const main = new URL('../dist/services/cli/main.js', import.meta.url);
await import(main.href);
