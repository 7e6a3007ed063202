#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// `npx dmactl` in this directory: compiles what has changed, then runs it.
import './build.mjs';

await import('../dist/services/cli/main.js');
