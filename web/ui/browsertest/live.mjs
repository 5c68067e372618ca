// Pages that nobody reloads: each shows the end of a build, and is then the same
// document as one that was just loaded.
import { until } from "./master.mjs";

// settled waits until a page has shown all it knows.
export async function settled(page) {
  await page.waitForFunction(() => document.querySelector("#live")?.dataset.state === "live", null, { timeout: 20_000 });
  let last = "";
  await until(
    async () => {
      const now = await page.evaluate(() => document.body.outerHTML);
      const same = now === last;
      last = now;
      if (!same) await page.waitForTimeout(700);
      return same;
    },
    20_000,
    "the page to settle",
  );
  return last;
}

// open opens a tab and marks it, so that a reload would be noticed.
export async function open(test, where) {
  const page = await test.context.newPage();
  await page.goto(test.master.url + where);
  await page.evaluate(() => (window.untouched = true));
  return page;
}

// same compares a tab with a fresh load of its address.
export async function same(test, name, page) {
  await page.bringToFront();
  const lived = await settled(page);
  test.checks.ok(`${name}: was not reloaded`, await page.evaluate(() => window.untouched === true));
  const fresh = await test.context.newPage();
  await fresh.goto(page.url());
  const loaded = await settled(fresh);
  const again = await settled(page);
  test.checks.equal(`${name}: its document equals that of a fresh load`, again === loaded ? again : lived, loaded);
  test.checks.equal(`${name}: so do its title and icon`, await head(page), await head(fresh));
  await fresh.close();
}

const head = (page) => page.evaluate(() => document.title + " " + document.querySelector("link[rel=icon]").href);

const shows = (page, selector, text) => page.waitForFunction(([s, t]) => document.querySelector(s)?.textContent.includes(t), [selector, text], { timeout: 30_000 });

export async function liveThroughBuild(test) {
  const { checks, master } = test;
  const overview = await open(test, "/");
  checks.ok("an empty master says what to do first", (await overview.textContent(".first")).includes("Force a build"));
  const builder = await open(test, "/builders/demo");

  const form = await open(test, "/builders/demo/force?reason=from+the+page&jobs=4");
  checks.equal("the form is filled from its address", await form.inputValue("[name=jobs]"), "4");
  await form.click("button.primary");
  await form.waitForURL(/\/(r\/\d+|builders\/demo\/1)$/);
  await form.waitForURL(/\/builders\/demo\/1$/, { timeout: 20_000 });
  checks.ok("forcing leads to the build by itself", true);
  await form.close();

  const build = await open(test, "/builders/demo/1");
  await until(async () => (await master.get("/builders/demo/1")).steps.find((s) => s.name === "count" && s.logs.length > 0), 20_000, "the step to start");
  const log = await open(test, "/builders/demo/1/count/stdio");
  await log.bringToFront();
  await log.waitForFunction(() => document.querySelectorAll(".pane .t").length > 5);
  // How old a line is when it is drawn: it carries the time it was printed.
  await log.evaluate(() => {
    window.ages = [];
    // Lines that were there already say nothing.
    const number = /^line (\d+) (\d{13})$/;
    const seen = new Set(Array.from(document.querySelectorAll(".pane .t"), (t) => number.exec(t.textContent)?.[1]));
    new MutationObserver(() => {
      for (const row of document.querySelectorAll(".pane .t")) {
        const m = number.exec(row.textContent);
        if (m && !seen.has(m[1])) {
          seen.add(m[1]);
          window.ages.push(Date.now() - Number(m[2]));
        }
      }
    }).observe(document.querySelector(".viewer"), { childList: true, subtree: true, characterData: true });
  });
  await shows(build, "h1", "running");
  await build.screenshot({ path: test.shots + "/build-running.png", caret: "initial" });
  await overview.bringToFront();
  await shows(overview, "[aria-labelledby=running-title]", "demo");
  checks.ok("overview: shows the build that runs", true);
  await overview.screenshot({ path: test.shots + "/overview-running.png", caret: "initial" });
  await log.bringToFront();
  await log.waitForTimeout(2500);
  const ages = (await log.evaluate(() => window.ages)).sort((a, b) => a - b);
  checks.ok("log: lines are drawn soon after they are printed", ages.length > 10 && ages[Math.floor(ages.length * 0.95)] < 400,
    `${ages.length} lines, median ${ages[Math.floor(ages.length / 2)]} ms, p95 ${ages[Math.floor(ages.length * 0.95)]} ms`);
  checks.ok("log: follows", (await log.textContent(".pane")).includes("line "));

  await shows(log, "h1", "success");
  await build.bringToFront();
  await shows(build, "h1", "success");
  await builder.bringToFront();
  await shows(builder, "#b-1", "success");
  await overview.bringToFront();
  await shows(overview, "[aria-labelledby=finished-title]", "demo");
  for (const [name, page] of Object.entries({ overview, builder, build, log })) await same(test, `after a build, ${name}`, page);
  checks.ok("build: its marks of step and time are there", (await build.locator(".steps li").count()) === 4);
  for (const page of [overview, builder, build, log]) await page.close();
}

export async function liveThroughKill(test) {
  const { checks, master } = test;
  const request = await master.force("demo");
  const first = await master.built(request, (b) => !b.complete);
  const where = `/builders/demo/${first.number}`;
  await until(async () => (await master.get(where)).steps.find((s) => s.name === "count" && s.logs.length > 0), 20_000, "the step to start");
  const tabs = { overview: await open(test, "/"), builder: await open(test, "/builders/demo"), build: await open(test, where), log: await open(test, where + "/count/stdio") };
  await tabs.log.waitForFunction(() => document.querySelectorAll(".pane .t").length > 5);
  await tabs.log.waitForTimeout(1200);
  const seen = await tabs.log.evaluate(() => Array.from(document.querySelectorAll(".pane .l:not(.off) .t"), (t) => t.textContent).filter((t) => t.startsWith("line ")));

  await master.kill("SIGKILL");
  for (const [name, page] of Object.entries(tabs)) {
    await page.waitForFunction(() => document.querySelector("#live").dataset.state === "offline", null, { timeout: 10_000 });
    checks.ok(`killed, ${name}: says it is offline`, /offline since .*retrying/.test(await page.textContent("#live")), await page.textContent("#live"));
  }
  await tabs.overview.screenshot({ path: test.shots + "/offline.png", caret: "initial" });
  await master.start();
  const second = await master.built(request, (b) => b.complete && b.number !== first.number);
  checks.equal("killed: the build was made again", second.results, 0);
  await tabs.build.bringToFront();
  await shows(tabs.build, "h1", "retry");
  checks.ok("killed: the interrupted build says RETRY and names the next", (await tabs.build.textContent(".facts")).includes("#" + second.number));
  await tabs.builder.bringToFront();
  await shows(tabs.builder, "#b-" + second.buildid, "success");
  const raw = await (await fetch(master.url + (await master.get(where + "/count/stdio")).inline)).text();
  const lost = seen.filter((line) => !raw.includes(line + "\n"));
  checks.ok("killed: no line that a page has shown is gone", seen.length > 5 && lost.length === 0, `${seen.length} lines seen, ${lost.length} lost`);
  for (const [name, page] of Object.entries(tabs)) await same(test, `after a kill, ${name}`, page);
  for (const page of Object.values(tabs)) await page.close();
}
