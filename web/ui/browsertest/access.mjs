// Every page, in both themes and at two widths: nothing that axe finds, nothing that
// does not fit.

const pages = {
  overview: "/",
  builders: "/builders",
  "no builder matches": "/builders?q=zzz",
  builder: "/builders/demo",
  "builder without builds": "/builders/never",
  "force form": "/builders/demo/force",
  "failed build": "/builders/broken/1",
  properties: "/builders/broken/1?tab=properties",
  build: "/builders/demo/1",
  log: "/builders/broken/1/compile/stdio",
  queue: "/queue",
  changes: "/changes",
  schedulers: "/schedulers",
  workers: "/workers",
  worker: "/workers/here",
  instances: "/instances",
  about: "/about",
  "no such page": "/builders/demoo",
};

const shown = (page) => page.waitForFunction(() => {
  const viewer = document.querySelector("[data-viewer]");
  return document.querySelector("#live").dataset.state === "live" && (!viewer || viewer.querySelector(".pane .t"));
});

export async function accessibility(test) {
  const { checks, master } = test;
  for (const colorScheme of ["light", "dark"]) {
    const context = await test.watch({ colorScheme });
    const page = await context.newPage();
    for (const [name, where] of Object.entries(pages)) {
      await page.goto(master.url + where);
      await shown(page);
      await checks.axe(`${colorScheme}, ${name}: axe finds nothing`, page);
      await page.screenshot({ path: `${test.shots}/${colorScheme}-${name.replaceAll(" ", "-")}.png` });
    }
    await page.goto(master.url + "/");
    await page.click("#more summary");
    await checks.axe(`${colorScheme}, open menu: axe finds nothing`, page);
    await context.close();
  }
  const phone = await test.watch({ viewport: { width: 390, height: 844 }, hasTouch: true });
  const page = await phone.newPage();
  for (const [name, where] of Object.entries(pages)) {
    await page.goto(master.url + where);
    await shown(page);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    checks.ok(`phone, ${name}: fits`, wide <= 390, wide > 390 ? `${wide} px` : "");
    await page.screenshot({ path: `${test.shots}/phone-${name.replaceAll(" ", "-")}.png` });
  }
  await checks.axe("phone: axe finds nothing", page);
  await phone.close();
}
