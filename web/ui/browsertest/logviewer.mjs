// The log viewer, on a log of 200,000 lines.
import { open } from "./live.mjs";

const first = (page) => page.evaluate(() => Number(document.querySelector(".pane .l:not(.off) a.n")?.dataset.n));
const text = (page) => page.evaluate(() => Array.from(document.querySelectorAll(".pane .l:not(.off) .t"), (t) => t.textContent));

export async function logViewer(test) {
  const { checks, master } = test;
  const build = await master.built(await master.force("long"));
  const page = await open(test, `/builders/long/${build.number}/print/stdio`);
  await page.waitForFunction(() => Array.from(document.querySelectorAll(".pane .t")).some((t) => t.textContent === "red end"), null, { timeout: 10_000 });
  checks.ok("a log of 200,000 lines opens at its end", true, `${Math.round(await page.evaluate(() => performance.now()))} ms after it was asked for`);
  checks.equal("colours are classes", await page.evaluate(() => document.querySelector(".pane .a1")?.textContent), "red");
  checks.ok("few rows are drawn", (await page.locator(".pane .l").count()) < 80, String(await page.locator(".pane .l").count()));

  await page.keyboard.press("Home");
  await page.waitForFunction(() => document.querySelector(".pane .foldrow"));
  checks.ok("Home shows the command, its environment folded", (await page.textContent(".pane .foldrow")).includes("command and environment"));
  checks.equal("and following ends", await page.getAttribute("[data-log=follow]", "aria-pressed"), "false");
  const was = await page.evaluate(() => document.querySelectorAll(".pane .l.s-h:not(.off)").length);
  await page.click(".foldrow button");
  await page.waitForFunction((n) => document.querySelectorAll(".pane .l.s-h:not(.off)").length > n, was);
  checks.ok("the fold opens", true);
  await page.click(".foldrow button");

  await page.evaluate(() => (document.querySelector(".pane").scrollTop = 1_800_000));
  await page.waitForFunction(() => /^line \d+ of many$/.test(document.querySelector(".pane .l:not(.off) .t")?.textContent ?? ""), null, { timeout: 5000 });
  const middle = await first(page);
  checks.ok("dragging goes to the middle", middle > 90_000 && middle < 110_000, String(middle));
  const before = await first(page);
  await page.hover(".pane");
  await page.mouse.wheel(0, 180);
  await page.waitForFunction((n) => Number(document.querySelector(".pane .l:not(.off) a.n").dataset.n) > n, before);
  checks.equal("the wheel moves by lines", (await first(page)) - before, 10);

  await page.click('.pane a.n[data-n="' + (before + 15) + '"]');
  await page.click('.pane a.n[data-n="' + (before + 18) + '"]', { modifiers: ["Shift"] });
  checks.ok("clicks on numbers make a link to lines", page.url().endsWith(`#L${before + 15}-L${before + 18}`), page.url());
  const linked = await open(test, new URL(page.url()).pathname + "#L500-L510");
  await linked.waitForFunction(() => document.querySelectorAll(".pane .l.sel .t").length === 11 && document.querySelector(".pane .l.sel .t").textContent.startsWith("line "));
  checks.ok("a link to lines shows and marks them", (await text(linked)).some((t) => t.startsWith("line 4")));
  await page.keyboard.press("End");
  await page.waitForFunction(() => Array.from(document.querySelectorAll(".pane .t")).some((t) => t.textContent === "red end"));
  await page.keyboard.press("w");
  checks.equal("w wraps", await page.getAttribute("[data-log=wrap]", "aria-pressed"), "true");
  await page.waitForFunction(() => Array.from(document.querySelectorAll(".pane .t")).some((t) => t.textContent === "red end"));
  await page.keyboard.press("w");
  await page.keyboard.press("t");
  await page.waitForFunction(() => /^\d\d:\d\d:\d\d\.\d{3}$/.test(document.querySelector(".pane .l:not(.off) .c")?.textContent ?? ""));
  checks.ok("t shows when each line came", true);
  await page.screenshot({ path: test.shots + "/log.png", caret: "initial" });
  await page.keyboard.press("t");
  const raw = await fetch(master.url + (await page.getAttribute("a[href$=raw_inline]", "href")));
  checks.ok("the raw log is whole", (await raw.text()).includes("line 200000 of many\n"));
  await page.close();
  await linked.close();
}
