#!/usr/bin/env node
// How late a timer fires: a machine that is starved or swaps is late. Lives on (mode = "stream") and
// prints when it likes: once a second, the worst of ten timers.

'use strict';

const STEP = 100; // ms
let worst = 0;
let count = 0;
let due = performance.now() + STEP;

setInterval(() => {
  const now = performance.now();
  worst = Math.max(worst, now - due);
  due = now + STEP;
  count += 1;
  if (count === 10) {
    console.log(JSON.stringify({ name: 'timer_late', value: Math.max(0, worst), type: 'float', unit: 'ms' }));
    worst = 0;
    count = 0;
  }
}, STEP);

// The end of the input means stop.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
