#!/usr/bin/env node
// Bytes and packets by network interface.
//
// Shows: JavaScript, counters with tags, and settings with defaults read from $TALAIA_CONFIG.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

const settings = process.env.TALAIA_CONFIG
  ? JSON.parse(fs.readFileSync(process.env.TALAIA_CONFIG, "utf8"))
  : {};
const ignore = new Set(settings.ignore ?? ["lo"]);

const root = "/sys/class/net";
const metrics = [];
for (const name of fs.readdirSync(root)) {
  if (ignore.has(name)) continue;
  for (const [counter, unit] of [["rx_bytes", "B"], ["tx_bytes", "B"], ["rx_errors", "errors"]]) {
    let text;
    try {
      text = fs.readFileSync(path.join(root, name, "statistics", counter), "utf8");
    } catch (error) {
      // An interface may go while we look; diagnostics go to stderr, JSON alone to stdout.
      console.error(`W! ${name}: ${error.message}`);
      continue;
    }
    metrics.push({
      name: `network_${counter}`,
      type: "counter",
      unit,
      value: Number(text),
      tags: { interface: name },
    });
  }
}
console.log(JSON.stringify({ metrics }));
