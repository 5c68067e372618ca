// Forms: what a person asks for, with and without a script.
import { until } from "./master.mjs";
import { open } from "./live.mjs";

export async function forms(test) {
  const { checks, master } = test;
  const page = await open(test, "/builders/broken/force");
  await page.evaluate(() => document.querySelector("[name=jobs]").setAttribute("type", "text"));
  await page.fill("[name=jobs]", "many");
  await page.click("button.primary");
  await page.waitForSelector(".field.wrong");
  checks.ok("force: a wrong field says so beside it", (await page.textContent(".field.wrong .error")).length > 3, await page.textContent(".field.wrong .error"));
  checks.equal("force: and has the focus", await page.evaluate(() => document.activeElement.name), "jobs");
  await page.fill("[name=jobs]", "3");
  await page.click("button.primary");
  await page.waitForURL(/\/builders\/broken\/1$/, { timeout: 20_000 });
  await page.waitForFunction(() => document.querySelector("h1").textContent.includes("failure"), null, { timeout: 20_000 });
  const excerpt = await page.textContent(".excerpt");
  checks.ok("a failed build opens at its error", excerpt.includes("error: no such thing") && (await page.locator(".l.err").count()) > 0);
  checks.ok("what a worker prints is text", excerpt.includes("<script>alert(1)</script>"));
  await page.screenshot({ path: test.shots + "/build-failed.png", caret: "initial" });
  await page.click("#rebuild");
  await page.waitForURL(/\/builders\/broken\/2$/, { timeout: 20_000 });
  checks.ok("rebuild leads to the new build", true);

  await master.force("hang");
  const hang = await open(test, "/builders/hang");
  await hang.waitForSelector("tbody .row", { timeout: 20_000 });
  await hang.click("tbody .row");
  await hang.waitForSelector("#stop summary");
  await hang.click("#stop summary");
  await hang.fill("#stop input[name=reason]", "enough <b>waiting</b>");
  await hang.click("#stop button");
  await hang.waitForFunction(() => document.querySelector("h1").textContent.includes("cancelled"), null, { timeout: 30_000 });
  checks.ok("stop: the build ends as cancelled and says why", (await hang.textContent(".facts")).includes("enough <b>waiting</b>"));

  const workers = await open(test, "/workers");
  await workers.click("details.menu[id^=pause] summary");
  await workers.fill("details.menu[id^=pause] input[name=reason]", "new disk");
  await workers.click("details.menu[id^=pause] form button");
  await workers.goto(master.url + "/workers");
  checks.ok("pause: the worker is paused, with the reason", /paused.*new disk/s.test(await workers.textContent("tbody")));
  const request = await master.force("demo");
  const queue = await open(test, "/queue");
  checks.ok("queue: says why a request waits", /paused/.test(await queue.textContent("#r-" + request)), (await queue.textContent(`#r-${request} .say`)).trim());
  await queue.screenshot({ path: test.shots + "/queue.png", caret: "initial" });
  const waiting = await open(test, "/r/" + request);
  checks.ok("request: says why it waits", /paused/.test(await waiting.textContent("main")));
  await queue.check(`#r-${request} input`);
  await queue.click(".bulk button");
  await queue.waitForFunction((id) => !document.querySelector("#r-" + id), request);
  await waiting.bringToFront();
  await waiting.waitForFunction(() => document.querySelector("h1").textContent.includes("cancelled"), null, { timeout: 10_000 });
  checks.ok("queue: a request that was ticked is cancelled, and its own page shows it", true);
  await workers.click("tbody form button");
  await until(async () => !(await master.get("/workers")).workers[0].paused, 5000, "the worker to be resumed");
  checks.ok("resume: the worker builds again", true);
  for (const p of [page, hang, workers, queue, waiting]) await p.close();
}

export async function withoutScript(test) {
  const { checks, master } = test;
  const context = await test.browser.newContext({ javaScriptEnabled: false, viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(master.url + "/builders/broken/force");
  await page.click("button.primary");
  checks.ok("without a script: a build can be forced", /\/(r\/\d+|builders\/broken\/\d+)$/.test(new URL(page.url()).pathname));
  await page.goto(master.url + "/builders/broken/1/compile/stdio");
  checks.ok("without a script: a log can be read", (await page.textContent("main")).includes("error: no such thing"));
  await page.goto(master.url + "/");
  await page.click("#more summary");
  await page.click("button[name=theme][value=dark]");
  checks.equal("without a script: the theme can be chosen", await page.getAttribute("html", "data-theme"), "dark");
  await context.close();
}
