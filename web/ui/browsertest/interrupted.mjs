// A build that goes on while the master is killed: its pages say since when they are out of
// touch, and where that falls in the log.
import fs from "node:fs";
import path from "node:path";
import { open, same } from "./live.mjs";
import { until } from "./master.mjs";

const shows = (page, selector, text) => page.waitForFunction(([s, t]) => document.querySelector(s)?.textContent.includes(t), [selector, text], { timeout: 30_000 });
const rows = (page) => page.evaluate(() => Array.from(document.querySelectorAll(".pane .l:not(.off):not(.foldrow):not(.s-h) .t"), (t) => t.textContent));

export async function interrupted(test) {
  const { checks, master } = test;
  const worker = master.worker();
  try {
    const request = await master.force("far");
    const first = await master.built(request, (b) => !b.complete);
    const where = `/builders/far/${first.number}`;
    await until(async () => (await master.get(where)).steps.find((s) => s.name === "count" && s.logs.length > 0), 20_000, "the step to start");
    const build = await open(test, where);
    const log = await open(test, where + "/count/stdio");
    await log.waitForFunction(() => Array.from(document.querySelectorAll(".pane .t")).some((t) => t.textContent === "line 50"));

    worker.signal("SIGSTOP"); // so that there is time to look
    await master.kill("SIGKILL");
    await master.start();
    await build.bringToFront();
    await shows(build, ".facts .what", "master restarted, worker own still building");
    checks.ok("restarted: the build says that its worker still builds", true);
    await shows(build, ".facts .gaps", "out of touch with worker own since");
    await log.bringToFront();
    await shows(log, ".pane .markrow", "master restarted, out of touch with worker own since");
    checks.equal("restarted: the log ends with that", (await rows(log)).at(-2), "line 50");
    worker.signal("SIGCONT");
    await shows(log, ".pane .markrow", " UTC (");
    fs.writeFileSync(path.join(worker.dir, "far", "go"), "");
    await shows(log, "h1", "success");
    await log.waitForFunction(() => Array.from(document.querySelectorAll(".pane .t")).some((t) => t.textContent === "line 100"));
    await log.click(".gaps summary");
    await log.click("#log-gaps a");
    await log.waitForFunction(() => document.querySelector(".pane .l.sel .t")?.textContent === "line 51");
    const all = await rows(log);
    const at = all.findIndex((t) => t.startsWith("master restarted"));
    checks.ok("restarted: the log says so between the lines", all[at - 1] === "line 50" && all[at + 1] === "line 51", all.slice(Math.max(0, at - 1), at + 2).join(" | "));
    await checks.axe("restarted, log: axe finds nothing", log);
    await log.screenshot({ path: test.shots + "/interrupted-log.png", caret: "initial" });
    const raw = await (await fetch(master.url + (await log.getAttribute("a[href$=raw_inline]", "href")))).text();
    const lines = raw.split("\n").filter((l) => /^(line|master)/.test(l));
    checks.ok("restarted: the text of the log does not", lines.length === 100 && lines.every((l, i) => l === `line ${i + 1}`), `${lines.length} lines`);
    await build.bringToFront();
    await shows(build, "h1", "success");
    await checks.axe("restarted, build: axe finds nothing", build);
    await build.screenshot({ path: test.shots + "/interrupted-build.png", caret: "initial" });
    await same(test, "restarted, build", build);
    await build.close();
    await log.close();
  } finally {
    worker.signal("SIGCONT");
    worker.signal("SIGKILL");
  }
}
