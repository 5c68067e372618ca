// Instances of a latent worker: the page follows one from its start until it is gone, shows
// in red what cannot be stopped, and has stray ones stopped by hand.
import fs from "node:fs";
import path from "node:path";
import { open } from "./live.mjs";

export async function instances(test) {
  const { checks, master } = test;
  const provider = (name) => path.join(master.dir, "provider-" + name);
  const page = await open(test, "/instances");
  checks.ok("instances: none at first", (await page.textContent("main")).includes("No instance exists"));
  const says = (text) => page.waitForFunction((t) => document.querySelector("main").textContent.includes(t), text, { timeout: 20_000 });
  const request = await master.force("virtual");
  await says("its worker is to connect");
  const costs = await page.evaluate(() => document.querySelector("tbody .ticking").shadowRoot?.textContent ?? "");
  await page.waitForFunction((was) => (document.querySelector("tbody .ticking").shadowRoot?.textContent ?? was) !== was, costs, { timeout: 20_000 });
  checks.ok("instances: one that starts is shown live, and its cost counts", true);
  const worker = await open(test, "/workers/vm");
  await worker.click("#start summary");
  checks.ok("instances: the worker's page has the log of the start", (await worker.textContent("#start pre")).includes("<b>booting</b>"));
  await page.screenshot({ path: test.shots + "/instances-starting.png" });

  fs.writeFileSync(provider("stuck"), "");
  const build = await master.built(request, () => true);
  await fetch(`${master.url}/api/v2/builds/${build.buildid}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ id: 1, jsonrpc: "2.0", method: "stop", params: {} }),
  });
  await says("cannot be stopped");
  checks.ok("instances: what cannot be stopped says why", (await page.textContent(".st-failure:has-text('failed')")).includes("the provider is down"));
  await checks.axe("instances: axe finds nothing when one cannot be stopped", page);
  await page.screenshot({ path: test.shots + "/instances-stuck.png" });

  fs.writeFileSync(provider("stray"), "");
  await page.click("form[action='/instances/plan'] button");
  await says("the ledger does not know it");
  await page.click("#reap summary");
  await page.click("#reap button");
  checks.ok("instances: stray ones are not stopped without being sure", fs.existsSync(provider("stray")));
  await page.check("#reap input[name=sure]");
  await checks.axe("instances: axe finds nothing before stray ones are stopped", page);
  await page.screenshot({ path: test.shots + "/instances-stray.png" });
  fs.rmSync(provider("stuck"));
  fs.writeFileSync(provider("sure"), ""); // until now the provider does not let it go: the master looks by itself, too
  await page.click("#reap button");
  await says("Stray instances that were stopped");
  checks.ok("instances: a stray one is stopped", !fs.existsSync(provider("stray")));
  await says("No instance exists");
  checks.ok("instances: the one that could not be stopped is gone once it can", true);
  for (const p of [page, worker]) await p.close();
}
