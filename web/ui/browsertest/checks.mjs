// What is counted and printed: one line per check.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export class Checks {
  passed = 0;
  failed = 0;

  ok(name, good, detail = "") {
    if (good) this.passed++;
    else this.failed++;
    console.log(`${good ? "ok  " : "FAIL"} ${name}${detail === "" ? "" : ": " + detail}`);
    return good;
  }

  equal(name, got, want) {
    return this.ok(name, got === want, got === want ? "" : difference(String(got), String(want)));
  }

  // run turns an error into a failed check.
  async run(name, fn) {
    try {
      await fn();
    } catch (err) {
      this.ok(name, false, String(err.message ?? err).split("\n").slice(0, 6).join(" | "));
    }
  }

  // axe finds what readers with other eyes, ears and hands stumble over.
  async axe(name, page) {
    await page.evaluate(axeSource);
    const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    this.ok(name, violations.length === 0, violations.map((v) => `${v.id} ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join("; ")}`).join(" | "));
  }
}

// difference shows where two texts part.
export function difference(got, want) {
  let at = 0;
  while (at < got.length && got[at] === want[at]) at++;
  const around = (s) => JSON.stringify(s.slice(Math.max(0, at - 60), at + 120));
  return `at ${at} of ${want.length}: got ${around(got)}, want ${around(want)}`;
}
