// The browser test: a real master, a real browser.
//
//	node run.mjs --binary PATH [--chromium PATH] [--shots DIR]
//
// It prints one line per check and "N passed, N failed", and exits with 1 if one
// failed.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { Checks } from "./checks.mjs";
import { Master } from "./master.mjs";
import { accessibility } from "./access.mjs";
import { keyboard } from "./keyboard.mjs";
import { interrupted } from "./interrupted.mjs";
import { liveThroughBuild, liveThroughKill } from "./live.mjs";
import { logViewer } from "./logviewer.mjs";
import { forms, withoutScript } from "./forms.mjs";
import { instances } from "./instances.mjs";

const { values: flags } = parseArgs({
  options: { binary: { type: "string" }, chromium: { type: "string", default: "/usr/bin/chromium" }, shots: { type: "string" } },
});
if (!flags.binary) {
  console.error("usage: node run.mjs --binary PATH");
  process.exit(2);
}
if (!fs.existsSync(flags.chromium)) {
  console.error(`no browser at ${flags.chromium}: install it (apt-get install chromium) or name one with --chromium`);
  process.exit(2);
}

const shots = flags.shots ?? fs.mkdtempSync(path.join(os.tmpdir(), "buildstar-shots-"));
fs.mkdirSync(shots, { recursive: true });
const profile = fs.mkdtempSync(path.join(os.tmpdir(), "buildstar-chromium-"));
const checks = new Checks();
const master = new Master(flags.binary);
const violations = [];

// watch makes a context whose pages report what the policy of the page forbids.
async function watch(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  await context.exposeBinding("reportViolation", (_source, text) => violations.push(text));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (e) => window.reportViolation(`${e.violatedDirective} ${e.blockedURI} at ${location.pathname}`));
  });
  context.on("page", (page) => page.on("pageerror", (err) => violations.push(`error at ${page.url()}: ${err.message}`)));
  return context;
}

let browser;
try {
  await master.start();
  browser = await chromium.launch({
    executablePath: flags.chromium,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", `--disk-cache-dir=${profile}`],
  });
  const context = await watch(browser);
  const test = { checks, master, context, browser, shots, watch: (options) => watch(browser, options) };
  for (const part of [liveThroughBuild, liveThroughKill, forms, instances, logViewer, interrupted, keyboard, withoutScript, accessibility]) {
    const started = Date.now();
    await checks.run(part.name, () => part(test));
    console.log(`     ${part.name} took ${((Date.now() - started) / 1000).toFixed(1)} s`);
  }
  checks.ok("no violation of the content security policy and no error in a script", violations.length === 0, violations.slice(0, 5).join(" | "));
} catch (err) {
  checks.ok("the test ran", false, err.stack);
} finally {
  await browser?.close();
  if (master.process && master.process.exitCode === null) await master.kill("SIGKILL");
  if (checks.failed > 0) console.log("the master said:\n" + master.log.split("\n").slice(-30).join("\n"));
  master.remove();
  fs.rmSync(profile, { recursive: true, force: true });
}
console.log(`screenshots are in ${shots}`);
console.log(`${checks.passed} passed, ${checks.failed} failed`);
process.exit(checks.failed > 0 ? 1 : 0);
